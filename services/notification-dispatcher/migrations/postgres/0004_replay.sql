-- Jobs that make deliveries due again, done in steps.
CREATE TABLE replay (
    -- rpl_…
    id             TEXT PRIMARY KEY,
    destination_id TEXT NOT NULL REFERENCES destination (id),
    -- one, range, failed or never-attempted
    kind           TEXT NOT NULL,
    -- of kind one: which delivery
    delivery_id    TEXT,
    -- running, done or cancelled
    state          TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    -- events that happened at or after this, microseconds UTC
    since          BIGINT NOT NULL,
    -- and before this
    until          BIGINT NOT NULL,
    -- the last position that was looked at
    cursor         BIGINT NOT NULL,
    -- deliveries made due so far
    replayed       BIGINT NOT NULL,
    -- when it was wanted, microseconds UTC
    created_at     BIGINT NOT NULL,
    -- when it ended, microseconds UTC
    finished_at    BIGINT
);
CREATE INDEX replay_running ON replay (created_at) WHERE state = 'running';
CREATE INDEX replay_destination ON replay (destination_id, created_at);
