-- Receivers of notifications.
CREATE TABLE destination (
    -- dst_…
    id             TEXT PRIMARY KEY,
    -- how it is reached; webhook is the only one so far
    transmission   TEXT NOT NULL,
    -- https://…
    url            TEXT NOT NULL,
    -- JSON array of event types such as lictor.license.*; empty for all
    types          TEXT NOT NULL,
    -- enabled or disabled
    state          TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    -- when it was disabled, microseconds UTC; null while enabled
    disabled_at    BIGINT,
    -- why it is disabled, or what the last failed attempt said
    note           TEXT NOT NULL,
    -- first failure since the last success, microseconds UTC; null when the last attempt was taken
    failing_since  BIGINT,
    -- failures since the last success
    failures       BIGINT NOT NULL,
    -- the receiver asked to be left alone until then, microseconds UTC
    rests_until    BIGINT,
    -- when it was added, microseconds UTC
    created_at     BIGINT NOT NULL
);

-- Secrets that sign for a destination; several while one replaces another.
CREATE TABLE destination_secret (
    destination_id TEXT NOT NULL REFERENCES destination (id),
    -- 1, 2, 3 … per destination; the newest signs first
    number         BIGINT NOT NULL,
    -- whsec_…
    secret         TEXT NOT NULL,
    -- when it stops to sign, microseconds UTC; null for the current one
    expires_at     BIGINT,
    PRIMARY KEY (destination_id, number)
);
