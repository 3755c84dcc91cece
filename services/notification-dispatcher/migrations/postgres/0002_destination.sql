-- Receivers of notifications.
CREATE TABLE destination (
    -- dst_…
    id             TEXT PRIMARY KEY,
    -- how it is reached: webhook, sap, custom, email or file
    transmission   TEXT NOT NULL,
    -- where, for people
    address        TEXT NOT NULL,
    -- the encoded message of its transmission, sealed with the destination key because it may hold credentials
    settings       BYTEA NOT NULL,
    -- the encoded message of its options
    options        BYTEA NOT NULL,
    -- enabled, disabled, or deleted until its rows are gone
    state          TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'deleted')),
    -- when it was disabled, microseconds UTC; null while enabled
    disabled_at    BIGINT,
    -- why it is disabled, or what the last failed attempt said
    note           TEXT NOT NULL,
    -- first failure since the last success, microseconds UTC; null when the last attempt was taken
    failing_since  BIGINT,
    -- failures since the last success
    failures       BIGINT NOT NULL,
    -- nothing is sent before this, microseconds UTC
    rests_until    BIGINT,
    -- when it was added, microseconds UTC
    created_at     BIGINT NOT NULL,
    -- grows with every change by an administrator
    revision       BIGINT NOT NULL
);

-- Keys that sign for a destination; several while one replaces another.
CREATE TABLE destination_key (
    destination_id TEXT NOT NULL REFERENCES destination (id),
    -- 1, 2, 3 … per destination; the newest signs first
    number         BIGINT NOT NULL,
    -- hmac or ed25519
    kind           TEXT NOT NULL,
    -- its secret bytes, sealed with the destination key
    secret         BYTEA NOT NULL,
    -- when it was made, microseconds UTC
    created_at     BIGINT NOT NULL,
    -- when it stops to sign, microseconds UTC; null for the current one
    expires_at     BIGINT,
    PRIMARY KEY (destination_id, number)
);
