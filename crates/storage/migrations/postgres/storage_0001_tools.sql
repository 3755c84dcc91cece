-- Facts on their way out. `position` is the order of insertion, `sequence` is given after the commit and has no gaps.
CREATE TABLE outbox (
    position           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE,
    type               TEXT NOT NULL,
    aggregate          TEXT NOT NULL,
    aggregate_sequence BIGINT NOT NULL,
    payload            BYTEA NOT NULL,
    traceparent        TEXT,
    occurred_at        BIGINT NOT NULL,
    sequence           BIGINT UNIQUE,
    published_at       BIGINT,
    UNIQUE (aggregate, aggregate_sequence)
);
CREATE INDEX outbox_unsequenced ON outbox (position) WHERE sequence IS NULL;
CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE published_at IS NULL;

-- The one row whose lock makes the sequencer the only one.
CREATE TABLE outbox_head (
    id            BIGINT PRIMARY KEY CHECK (id = 1),
    last_sequence BIGINT NOT NULL
);
INSERT INTO outbox_head (id, last_sequence) VALUES (1, 0);

-- Answers to commands that were carried out, so that a repetition gets the same one.
CREATE TABLE command (
    caller     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    method     TEXT NOT NULL,
    body_hash  BYTEA NOT NULL,
    answer     BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (caller, request_id)
);
CREATE INDEX command_created_at ON command (created_at);

-- Events that this service took in, by id.
CREATE TABLE inbox_event (
    consumer TEXT NOT NULL,
    event_id TEXT NOT NULL,
    taken_at BIGINT NOT NULL,
    PRIMARY KEY (consumer, event_id)
);

-- How far a consumer has read each source without a gap.
CREATE TABLE inbox_cursor (
    consumer       TEXT NOT NULL,
    source         TEXT NOT NULL,
    after_sequence BIGINT NOT NULL,
    PRIMARY KEY (consumer, source)
);

-- Who does a periodic job at the moment.
CREATE TABLE lease (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
