-- Firms that this service holds keys for. The private keys themselves lie in the key store, never here.
CREATE TABLE vendor (
    -- The firm; every other table carries it.
    firm_code    BIGINT PRIMARY KEY CHECK (firm_code BETWEEN 1 AND 4294967295),
    -- Name of the firm for people, as its root document states it.
    name         TEXT NOT NULL,
    -- Newest root document of the firm.
    root_version BIGINT NOT NULL CHECK (root_version >= 1),
    -- Microseconds UTC.
    created_at   BIGINT NOT NULL
);

-- Every root document that a firm ever had, as signed.
CREATE TABLE root_document (
    firm_code BIGINT NOT NULL REFERENCES vendor (firm_code),
    -- 1, 2, 3 ... per firm.
    version   BIGINT NOT NULL CHECK (version >= 1),
    -- The signed envelope, byte for byte as containers get it.
    envelope  BLOB NOT NULL,
    -- SHA-256 of the document, hex: what people compare by eye.
    digest    TEXT NOT NULL,
    PRIMARY KEY (firm_code, version)
);

-- One chain: a container as one firm knows it.
CREATE TABLE container (
    -- SHA-256 of the device public key, hex.
    container_id      TEXT NOT NULL,
    firm_code         BIGINT NOT NULL REFERENCES vendor (firm_code),
    -- Display name; a second device key under the same name is refused.
    serial            TEXT NOT NULL,
    -- folder, machine, volume, kubernetes, token or cloud.
    kind              TEXT NOT NULL,
    -- 1 when a machine container says that it lies in a virtual machine.
    virtual_machine   BIGINT NOT NULL,
    -- Version of the program that held it last, such as 1.4.0.
    runtime           TEXT NOT NULL,
    -- Ed25519 public key that signs contexts and receipts.
    device_key        BLOB NOT NULL,
    -- X25519 public key that segment bodies are sealed to.
    sealing_key       BLOB NOT NULL,
    -- Ed25519 public key of its seats' grants.
    lease_key         BLOB NOT NULL,
    -- Rises with a rebase only.
    epoch             BIGINT NOT NULL CHECK (epoch >= 0),
    -- H_0 of the epoch.
    genesis_head      BLOB NOT NULL,
    -- Counter up to which the container proved what it took.
    confirmed         BIGINT NOT NULL CHECK (confirmed >= 0),
    -- Newest counter whose segment is signed, stored and announced.
    issued            BIGINT NOT NULL CHECK (issued >= confirmed),
    -- Newest counter whose bytes are fixed; above `issued` while a segment is on its way through the signer.
    reserved          BIGINT NOT NULL CHECK (reserved >= issued),
    -- Counter before the newest checkpoint segment of the epoch, 0 without one: no update file needs older segments.
    file_base         BIGINT NOT NULL CHECK (file_base >= 0 AND file_base <= reserved),
    -- Vendor-owned state that the container will have at `reserved`.
    state             BLOB NOT NULL,
    -- Digest of the empty state, the place in the chain at counter 0.
    genesis_digest    BLOB NOT NULL,
    -- Root version that the container proved to know.
    root_version      BIGINT NOT NULL,
    -- Highest context sequence number seen, and the counter that this context showed.
    context_sequence  BIGINT NOT NULL,
    context_counter   BIGINT NOT NULL,
    -- fork, rollback, clone, separated by commas; empty when all is well.
    suspicion         TEXT NOT NULL,
    -- Highest device-owned counters that the container ever reported: what a rebase makes it remember.
    device_counters   BLOB NOT NULL,
    -- Name of the segment that took everything out when the container was blocked; empty for one that is not.
    block_reference   TEXT NOT NULL DEFAULT '',
    -- Number of the newest event about this chain.
    version           BIGINT NOT NULL CHECK (version >= 0),
    -- Microseconds UTC.
    first_seen_at     BIGINT NOT NULL,
    last_contact_at   BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code),
    -- Not the firm first: to a planner without statistics every index that begins with the firm looks as good as the key.
    UNIQUE (serial, firm_code)
);

-- Segments: what they do and how far they are. The bytes to sign are fixed by the row's first transaction.
CREATE TABLE segment (
    container_id  TEXT NOT NULL,
    firm_code     BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    -- Counter after this segment.
    k             BIGINT NOT NULL CHECK (k >= 1),
    -- Counter before it; k - 1 for an ordinary segment.
    from_k        BIGINT NOT NULL CHECK (from_k >= 0 AND from_k < k),
    -- Chain head before it.
    prev_head     BLOB NOT NULL,
    -- The same as from_k, empty for the first segment of an epoch: makes the chain a foreign key.
    follows       BIGINT CHECK (COALESCE(follows, 0) = from_k),
    -- Chain head after it.
    head          BLOB NOT NULL,
    -- Digest of the vendor-owned state after it.
    state_digest  BLOB NOT NULL,
    -- What the caller named it by; one segment per reference and firm.
    reference     TEXT NOT NULL,
    -- SHA-256 of what was asked for: the same reference with other operations is refused.
    request_hash  BLOB NOT NULL,
    -- update, block or rebase: what it is for, and so which role signs it and what is announced with it.
    purpose       TEXT NOT NULL CHECK (purpose IN ('update', 'block', 'rebase')),
    -- Exact bytes that the vendor signs: header in clear, body sealed.
    payload       BLOB NOT NULL,
    -- What it does to the vendor-owned state, without key material: enough to predict the state again.
    operations    BLOB NOT NULL,
    -- The update file that answers this reference starts above this counter.
    file_from     BIGINT NOT NULL CHECK (file_from >= 0 AND file_from <= from_k),
    -- The update file carries the root documents above this version,
    file_root     BIGINT NOT NULL,
    -- up to this one, the newest when the segment was signed.
    root_through  BIGINT,
    -- One line for people.
    summary       TEXT NOT NULL,
    -- reserved, issued or confirmed.
    state         TEXT NOT NULL CHECK (state IN ('reserved', 'issued', 'confirmed')),
    -- Microseconds UTC.
    reserved_at   BIGINT NOT NULL,
    issued_at     BIGINT,
    confirmed_at  BIGINT,
    PRIMARY KEY (container_id, firm_code, epoch, k),
    UNIQUE (container_id, firm_code, epoch, k, head),
    UNIQUE (reference, firm_code),
    FOREIGN KEY (container_id, firm_code) REFERENCES container (container_id, firm_code),
    FOREIGN KEY (container_id, firm_code, epoch, follows, prev_head)
        REFERENCES segment (container_id, firm_code, epoch, k, head)
);
CREATE INDEX segment_reserved ON segment (reserved_at) WHERE state = 'reserved';

-- Challenges that a rebase has answered; each is good for one.
CREATE TABLE rebase (
    firm_code    BIGINT NOT NULL,
    -- The 32 bytes as they were given out.
    challenge    BLOB NOT NULL,
    container_id TEXT NOT NULL,
    -- The epoch that the rebase began.
    epoch        BIGINT NOT NULL CHECK (epoch >= 1),
    -- For people: why.
    reason       TEXT NOT NULL,
    -- Microseconds UTC.
    made_at      BIGINT NOT NULL,
    PRIMARY KEY (firm_code, challenge),
    FOREIGN KEY (container_id, firm_code) REFERENCES container (container_id, firm_code)
);

-- What was signed, for ever. The archive outside of this database holds the same.
CREATE TABLE segment_envelope (
    container_id TEXT NOT NULL,
    firm_code    BIGINT NOT NULL,
    epoch        BIGINT NOT NULL,
    k            BIGINT NOT NULL,
    -- The signed envelope, byte for byte as update files carry it.
    envelope     BLOB NOT NULL,
    -- Microseconds UTC.
    stored_at    BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code, epoch, k),
    FOREIGN KEY (container_id, firm_code, epoch, k) REFERENCES segment (container_id, firm_code, epoch, k)
);

-- Contexts and receipts that came in, so that the same file twice is no news.
CREATE TABLE context (
    container_id TEXT NOT NULL,
    firm_code    BIGINT NOT NULL,
    -- SHA-256 of the file's signed payload, hex.
    digest       TEXT NOT NULL,
    -- The container's own number of this context.
    sequence     BIGINT NOT NULL,
    epoch        BIGINT NOT NULL,
    -- The counter that it showed.
    counter      BIGINT NOT NULL,
    -- ok, old, rollback-suspected or fork-reported.
    verdict      TEXT NOT NULL,
    -- Microseconds UTC.
    taken_at     BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code, digest),
    FOREIGN KEY (container_id, firm_code) REFERENCES container (container_id, firm_code)
);
CREATE INDEX context_sequence ON context (container_id, firm_code, sequence);

-- The context that the modified context starts from: the newest whose state was taken.
CREATE TABLE accepted_context (
    container_id TEXT NOT NULL,
    firm_code    BIGINT NOT NULL,
    -- The file as it came.
    file         BLOB NOT NULL,
    -- Microseconds UTC.
    taken_at     BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code),
    FOREIGN KEY (container_id, firm_code) REFERENCES container (container_id, firm_code)
);

-- What speaks for a fork or a rollback, kept for support; at most 64 rows per chain.
CREATE TABLE evidence (
    container_id TEXT NOT NULL,
    firm_code    BIGINT NOT NULL,
    -- SHA-256 of the file that showed it, hex.
    digest       TEXT NOT NULL,
    -- fork, rollback or clone.
    suspicion    TEXT NOT NULL,
    -- One sentence: what was seen.
    finding      TEXT NOT NULL,
    -- The file as it came.
    file         BLOB NOT NULL,
    -- Microseconds UTC.
    seen_at      BIGINT NOT NULL,
    PRIMARY KEY (container_id, firm_code, digest, suspicion),
    FOREIGN KEY (container_id, firm_code) REFERENCES container (container_id, firm_code)
);

-- Issued bytes never change: the engine refuses it, whoever asks.
CREATE TRIGGER segment_envelope_immutable BEFORE UPDATE ON segment_envelope
BEGIN SELECT RAISE(ABORT, 'rows of segment_envelope are written once'); END;
CREATE TRIGGER segment_envelope_not_deleted BEFORE DELETE ON segment_envelope
BEGIN SELECT RAISE(ABORT, 'rows of segment_envelope are written once'); END;
CREATE TRIGGER root_document_immutable BEFORE UPDATE ON root_document
BEGIN SELECT RAISE(ABORT, 'rows of root_document are written once'); END;
CREATE TRIGGER root_document_not_deleted BEFORE DELETE ON root_document
BEGIN SELECT RAISE(ABORT, 'rows of root_document are written once'); END;
CREATE TRIGGER segment_not_deleted BEFORE DELETE ON segment
BEGIN SELECT RAISE(ABORT, 'rows of segment are written once'); END;
-- Of a segment only its progress moves, and only forward.
CREATE TRIGGER segment_immutable BEFORE UPDATE ON segment
WHEN (OLD.container_id, OLD.firm_code, OLD.epoch, OLD.k, OLD.from_k, OLD.prev_head, OLD.head, OLD.state_digest,
      OLD.reference, OLD.request_hash, OLD.purpose, OLD.payload, OLD.operations, OLD.file_from, OLD.file_root, OLD.summary, OLD.reserved_at)
     IS NOT
     (NEW.container_id, NEW.firm_code, NEW.epoch, NEW.k, NEW.from_k, NEW.prev_head, NEW.head, NEW.state_digest,
      NEW.reference, NEW.request_hash, NEW.purpose, NEW.payload, NEW.operations, NEW.file_from, NEW.file_root, NEW.summary, NEW.reserved_at)
     OR NOT ((OLD.state = 'reserved' AND NEW.state = 'issued') OR (OLD.state = 'issued' AND NEW.state = 'confirmed'))
     OR (OLD.state <> 'reserved' AND OLD.root_through IS NOT NEW.root_through)
BEGIN SELECT RAISE(ABORT, 'of a segment only its progress moves, and only forward'); END;
