-- References whose segment was refused for good. The caller gives back what it set aside for them, so a copy of the same
-- request that arrives later must not be issued, whatever the container holds by then.
CREATE TABLE refused_reference (
    firm_code    BIGINT NOT NULL,
    -- The caller's name for the segment that was never made.
    reference    TEXT NOT NULL,
    -- SHA-256 of what was asked for.
    request_hash BYTEA NOT NULL,
    -- Code of the refusal, its sentence, and what to do about it: what every copy of the request is told.
    code         TEXT NOT NULL,
    message      TEXT NOT NULL,
    next         TEXT NOT NULL,
    -- Microseconds UTC.
    refused_at   BIGINT NOT NULL,
    PRIMARY KEY (firm_code, reference)
);
