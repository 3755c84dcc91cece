-- The write-once archive: everything that left the house, in another database than the one that is worked with. Rows are
-- only ever added. From it a database that was restored from a backup is brought back to what it was.

-- Root documents of the firms, as signed.
CREATE TABLE archived_root (
    firm_code   BIGINT NOT NULL CHECK (firm_code BETWEEN 1 AND 4294967295),
    -- 1, 2, 3 ... per firm.
    version     BIGINT NOT NULL CHECK (version >= 1),
    -- The signed envelope, byte for byte as containers get it.
    envelope    BLOB NOT NULL,
    -- Microseconds UTC.
    archived_at BIGINT NOT NULL,
    PRIMARY KEY (firm_code, version)
);

-- Containers, as they were known when their first segment was signed.
CREATE TABLE archived_chain (
    -- SHA-256 of the device public key, hex.
    container_id  TEXT NOT NULL,
    firm_code     BIGINT NOT NULL,
    -- The context that the chain's first state was taken from, as it came.
    context       BLOB NOT NULL,
    -- When the container was first seen, microseconds UTC.
    first_seen_at BIGINT NOT NULL,
    -- Microseconds UTC.
    archived_at   BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code)
);

-- Segments, as signed, with what is needed to predict the state after them again.
CREATE TABLE archived_segment (
    -- Counts what was archived; within a chain its order is that of the chain.
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    container_id TEXT NOT NULL,
    firm_code    BIGINT NOT NULL,
    epoch        BIGINT NOT NULL CHECK (epoch >= 0),
    -- Counter after this segment.
    k            BIGINT NOT NULL CHECK (k >= 1),
    -- Counter before it.
    from_k       BIGINT NOT NULL CHECK (from_k >= 0 AND from_k < k),
    -- Chain head before it.
    prev_head    BLOB NOT NULL,
    -- The same as from_k, empty for the first segment of an epoch: makes the chain a foreign key.
    follows      BIGINT CHECK (COALESCE(follows, 0) = from_k),
    -- Chain head after it.
    head         BLOB NOT NULL,
    -- Digest of the vendor-owned state after it.
    state_digest BLOB NOT NULL,
    -- What the caller named it by.
    reference    TEXT NOT NULL,
    -- SHA-256 of what was asked for.
    request_hash BLOB NOT NULL,
    -- update, block or rebase.
    purpose      TEXT NOT NULL,
    -- The signed envelope, byte for byte as update files carry it.
    envelope     BLOB NOT NULL,
    -- What it does to the vendor-owned state, without key material.
    operations   BLOB NOT NULL,
    -- The update file that answers the reference starts above this counter.
    file_from    BIGINT NOT NULL,
    -- It carries the root documents above this version,
    file_root    BIGINT NOT NULL,
    -- up to this one.
    root_through BIGINT NOT NULL,
    -- One line for people.
    summary      TEXT NOT NULL,
    -- Microseconds UTC.
    reserved_at  BIGINT NOT NULL,
    archived_at  BIGINT NOT NULL,
    UNIQUE (container_id, firm_code, epoch, k),
    UNIQUE (container_id, firm_code, epoch, k, head),
    UNIQUE (firm_code, reference),
    FOREIGN KEY (container_id, firm_code) REFERENCES archived_chain (container_id, firm_code),
    FOREIGN KEY (container_id, firm_code, epoch, follows, prev_head)
        REFERENCES archived_segment (container_id, firm_code, epoch, k, head)
);

-- Nothing here ever changes: the engine refuses it, whoever asks.
CREATE TRIGGER archived_root_immutable BEFORE UPDATE ON archived_root
BEGIN SELECT RAISE(ABORT, 'rows of archived_root are written once'); END;
CREATE TRIGGER archived_root_not_deleted BEFORE DELETE ON archived_root
BEGIN SELECT RAISE(ABORT, 'rows of archived_root are written once'); END;
CREATE TRIGGER archived_chain_immutable BEFORE UPDATE ON archived_chain
BEGIN SELECT RAISE(ABORT, 'rows of archived_chain are written once'); END;
CREATE TRIGGER archived_chain_not_deleted BEFORE DELETE ON archived_chain
BEGIN SELECT RAISE(ABORT, 'rows of archived_chain are written once'); END;
CREATE TRIGGER archived_segment_immutable BEFORE UPDATE ON archived_segment
BEGIN SELECT RAISE(ABORT, 'rows of archived_segment are written once'); END;
CREATE TRIGGER archived_segment_not_deleted BEFORE DELETE ON archived_segment
BEGIN SELECT RAISE(ABORT, 'rows of archived_segment are written once'); END;
