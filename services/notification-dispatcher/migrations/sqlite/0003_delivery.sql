-- One event, or one record of it, on its way to one destination. Nothing about it lives elsewhere. The engine writes event,
-- delivery and attempt together and takes them away together, the followers first, under the ledger's lock: foreign keys
-- would look at that once more for every row.
CREATE TABLE delivery (
    -- dlv_…
    id               TEXT PRIMARY KEY,
    destination_id   TEXT NOT NULL,
    event_id         TEXT NOT NULL,
    -- 0 for the whole event, else which of its records
    part             BIGINT NOT NULL,
    -- deliveries of one key reach a destination in the order of their positions
    order_key        TEXT NOT NULL,
    -- the order in which deliveries were made
    position         BIGINT NOT NULL,
    -- due, leased, done, parked or collapsed
    state            TEXT NOT NULL CHECK (state IN ('due', 'leased', 'done', 'parked', 'collapsed')),
    -- 1 when a later one of its key makes it stale as long as it was not sent
    collapses        BIGINT NOT NULL,
    -- its own body; null for that of the event
    body             BLOB,
    -- 1 when no earlier delivery of its key is open: only then may it be claimed
    head             BIGINT NOT NULL,
    -- when it may be tried next, microseconds UTC
    next_attempt_at  BIGINT NOT NULL,
    -- attempts so far
    attempts         BIGINT NOT NULL,
    -- when it was tried first, moved by the time that its destination was disabled; null before the first attempt
    first_attempt_at BIGINT,
    -- the running program that calls; null unless leased
    lease_holder     TEXT,
    -- when the lease runs out, microseconds UTC; null unless leased
    lease_until      BIGINT,
    -- when it was made, microseconds UTC
    created_at       BIGINT NOT NULL,
    UNIQUE (event_id, destination_id, part)
);
CREATE INDEX delivery_claim ON delivery (destination_id, next_attempt_at, position) WHERE state = 'due' AND head = 1;
CREATE INDEX delivery_open ON delivery (destination_id, order_key, position) WHERE state IN ('due', 'leased');
-- The conditions that always hold keep statements about other things from an index that they would have to read as a whole.
CREATE INDEX delivery_lease ON delivery (lease_until) WHERE state = 'leased' AND lease_until > 0;
CREATE INDEX delivery_parked ON delivery (destination_id, position) WHERE state = 'parked';
CREATE INDEX delivery_ended ON delivery (position) WHERE state IN ('done', 'collapsed');
CREATE INDEX delivery_position ON delivery (destination_id, position) WHERE position > 0;

-- Every attempt of every delivery.
CREATE TABLE attempt (
    delivery_id TEXT NOT NULL,
    -- 1, 2, 3 … per delivery
    number      BIGINT NOT NULL,
    -- when the call began, microseconds UTC
    at          BIGINT NOT NULL,
    -- HTTP status; 0 without an answer
    status      BIGINT NOT NULL,
    -- from the name look-up to the last byte, milliseconds
    latency_ms  BIGINT NOT NULL,
    -- taken, refused, gone, timeout, dns, connect, tls, truncated, blocked, protocol
    result      TEXT NOT NULL,
    -- first bytes of the answer, at most 2 KiB
    answer      TEXT NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

-- Events of which nobody can say yet whether a destination wants them: the license or order that they are about has not
-- been heard of.
CREATE TABLE undecided_event (
    event_id       TEXT NOT NULL REFERENCES event (id),
    destination_id TEXT NOT NULL REFERENCES destination (id),
    -- id of that license or order
    waits_for      TEXT NOT NULL,
    PRIMARY KEY (event_id, destination_id)
);
CREATE INDEX undecided_event_waits ON undecided_event (waits_for);
