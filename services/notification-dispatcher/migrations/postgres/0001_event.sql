-- Events that were taken in, each once.
CREATE TABLE event (
    -- evt_…, made by the announcing service; receivers dedupe by it
    id                 TEXT PRIMARY KEY,
    -- lictor.<noun>.<past verb>.v1
    type               TEXT NOT NULL,
    -- the announcing service
    source             TEXT NOT NULL,
    -- 1, 2, 3 … per source without gaps
    sequence           BIGINT NOT NULL,
    -- the aggregate; deliveries of one subject keep their order
    subject            TEXT NOT NULL,
    -- 1, 2, 3 … per aggregate
    aggregate_sequence BIGINT NOT NULL,
    -- when it happened, microseconds UTC
    occurred_at        BIGINT NOT NULL,
    -- when it was taken in, microseconds UTC
    taken_at           BIGINT NOT NULL,
    -- W3C traceparent of the change; null when it was not traced
    traceparent        TEXT,
    -- the body that every destination gets, byte for byte
    body               BYTEA NOT NULL,
    -- 0 while an earlier event of the same aggregate may still be missing, then 1
    released           BIGINT NOT NULL,
    -- 1, 2, 3 … in the order in which events were let go, for receivers that fetch; null while held back
    position           BIGINT
);
CREATE UNIQUE INDEX event_position ON event (position) WHERE position IS NOT NULL;
CREATE INDEX event_sequence ON event (source, sequence);
CREATE INDEX event_subject ON event (subject, aggregate_sequence);
CREATE INDEX event_held ON event (source, sequence) WHERE released = 0;

-- Events that could not be understood, kept aside whole with the reason.
CREATE TABLE quarantined_event (
    -- the service that it came from
    source         TEXT NOT NULL,
    -- its number there; 0 when not even that could be read, then the digest tells them apart
    sequence       BIGINT NOT NULL,
    -- SHA-256 of the payload, hex
    digest         TEXT NOT NULL,
    -- one sentence
    reason         TEXT NOT NULL,
    -- the encoded event as it came
    payload        BYTEA NOT NULL,
    -- when it came, microseconds UTC
    quarantined_at BIGINT NOT NULL,
    PRIMARY KEY (source, sequence, digest)
);

-- The one row whose lock makes changes of deliveries follow each other, also between replicas.
CREATE TABLE ledger (
    id                   BIGINT PRIMARY KEY CHECK (id = 1),
    -- the highest position that was given to a delivery
    last_position        BIGINT NOT NULL,
    -- grows with every change of the destinations, so that each replica notices
    destinations_version BIGINT NOT NULL,
    -- the highest position that was given to an event
    last_event_position  BIGINT NOT NULL,
    -- events up to this position may have been forgotten, because their time was over
    gone_through         BIGINT NOT NULL
);
INSERT INTO ledger (id, last_position, destinations_version, last_event_position, gone_through) VALUES (1, 0, 0, 0, 0);
