-- What is to follow the newest root document of a firm, while its signatures are gathered; at most one per firm. Of a
-- firm that people are still making it is version 1, so there is no row of the firm to refer to.
CREATE TABLE root_proposal (
    firm_code   BIGINT PRIMARY KEY CHECK (firm_code BETWEEN 1 AND 4294967295),
    version     BIGINT NOT NULL CHECK (version >= 1),
    -- The document with the signatures so far.
    envelope    BLOB NOT NULL,
    -- SHA-256 of what was asked for: the same request again finds its proposal.
    request     BLOB NOT NULL,
    -- Microseconds UTC.
    proposed_at BIGINT NOT NULL
);

-- Segments signed once more, because the key that signed them first was retired before their container took them. The
-- payload, and so the chain, is the same byte for byte; the first envelope stays where it is.
CREATE TABLE segment_resigned (
    container_id TEXT NOT NULL,
    firm_code    BIGINT NOT NULL,
    epoch        BIGINT NOT NULL,
    k            BIGINT NOT NULL,
    -- The root document under which it was needed.
    root_version BIGINT NOT NULL,
    envelope     BLOB NOT NULL,
    -- Microseconds UTC.
    stored_at    BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code, epoch, k, root_version),
    FOREIGN KEY (container_id, firm_code, epoch, k) REFERENCES segment (container_id, firm_code, epoch, k)
);
