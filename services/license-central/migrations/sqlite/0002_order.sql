-- Who buys; made by the first order that names it.
CREATE TABLE customer (
    -- cus_…
    customer_id TEXT PRIMARY KEY,
    -- The vendor whose customer it is.
    firm_code   BIGINT NOT NULL,
    -- What orders call it; unique per firm.
    name        TEXT NOT NULL,
    -- Time of the first order, microseconds UTC.
    created_at  BIGINT NOT NULL,
    UNIQUE (firm_code, name)
);

-- What a customer bought at one time.
CREATE TABLE "order" (
    -- ord_…
    order_id    TEXT PRIMARY KEY,
    -- The vendor.
    firm_code   BIGINT NOT NULL,
    -- Who bought.
    customer_id TEXT NOT NULL REFERENCES customer (customer_id),
    -- The vendor's own order number; may be empty.
    reference   TEXT NOT NULL,
    -- How many lines it has, which is how many licenses it made.
    lines       BIGINT NOT NULL,
    -- Microseconds UTC.
    created_at  BIGINT NOT NULL
);
CREATE INDEX order_firm ON "order" (firm_code, order_id);
CREATE INDEX order_customer ON "order" (customer_id, order_id);

-- The right to collect the licenses of an order. The code itself is stored nowhere.
CREATE TABLE ticket (
    -- tkt_…; the code is derived from it with the ticket key.
    ticket_id  TEXT PRIMARY KEY,
    -- The vendor.
    firm_code  BIGINT NOT NULL,
    -- The order it belongs to.
    order_id   TEXT NOT NULL REFERENCES "order" (order_id),
    -- SHA-256 of the code: how a presented ticket is found.
    code_hash  BLOB NOT NULL UNIQUE,
    -- First group of the code, for people.
    masked     TEXT NOT NULL,
    -- Which ticket key derived the code: first bytes of the key's hash, hex.
    key_id     TEXT NOT NULL,
    -- Microseconds UTC.
    created_at BIGINT NOT NULL
);
CREATE INDEX ticket_order ON ticket (order_id);
