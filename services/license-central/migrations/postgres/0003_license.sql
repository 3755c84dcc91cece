-- One thing that was sold: a version of an item on a ticket.
CREATE TABLE license (
    -- lic_…
    license_id   TEXT PRIMARY KEY,
    -- The vendor.
    firm_code    BIGINT NOT NULL,
    -- The ticket it lies on.
    ticket_id    TEXT NOT NULL REFERENCES ticket (ticket_id),
    -- The order that made it.
    order_id     TEXT NOT NULL REFERENCES "order" (order_id),
    -- Who bought it.
    customer_id  TEXT NOT NULL REFERENCES customer (customer_id),
    -- The item it was made from …
    item_id      TEXT NOT NULL,
    -- … as it was at that time.
    item_version BIGINT NOT NULL,
    -- Line of the order, 1 and up.
    line         BIGINT NOT NULL,
    -- Seats in all; 0 when it is not counted.
    quantity     BIGINT NOT NULL,
    -- available, collected, confirmed, returning, withdrawn: always what follows from its allocations and withdrawn_at.
    state        TEXT NOT NULL,
    -- When the vendor took it back, microseconds UTC; empty when not.
    withdrawn_at BIGINT,
    -- Why the vendor took it back; empty when not.
    withdrawn_for TEXT,
    -- Number of its last event: 1 at creation, one more with each change.
    version      BIGINT NOT NULL,
    -- Microseconds UTC.
    created_at   BIGINT NOT NULL,
    FOREIGN KEY (item_id, item_version) REFERENCES item_version (item_id, version)
);
CREATE INDEX license_ticket ON license (ticket_id, line);
CREATE INDEX license_order ON license (order_id);
CREATE INDEX license_firm ON license (firm_code, license_id);
CREATE INDEX license_state ON license (firm_code, state, license_id);

-- Central's half of a saga: what one activation takes, and how far it is.
CREATE TABLE reservation (
    -- act_…, made by the activation service.
    activation_id  TEXT PRIMARY KEY,
    -- The vendor.
    firm_code      BIGINT NOT NULL,
    -- Ticket that licenses are taken from; empty when this activation only takes back.
    ticket_id      TEXT,
    -- SHA-256 of what was asked for: a repeat must ask for the same.
    asked          BYTEA NOT NULL,
    -- reserved, kept, committed, confirmed, released.
    state          TEXT NOT NULL,
    -- Until when a reserved one holds, microseconds UTC.
    reserved_until BIGINT NOT NULL,
    -- Counter that the container reaches with the update; 0 before the commit.
    counter        BIGINT NOT NULL,
    -- Why it was released; empty when not.
    reason         TEXT NOT NULL,
    -- Microseconds UTC.
    created_at     BIGINT NOT NULL,
    -- Time of the last step, microseconds UTC.
    changed_at     BIGINT NOT NULL
);

-- A part of a license's quantity that lies, or is about to lie, in one container.
CREATE TABLE allocation (
    -- alc_…
    allocation_id TEXT PRIMARY KEY,
    -- The license.
    license_id    TEXT NOT NULL REFERENCES license (license_id),
    -- The activation that puts it in.
    activation_id TEXT NOT NULL REFERENCES reservation (activation_id),
    -- The activation that takes it out; empty while none does.
    withdrawn_by  TEXT REFERENCES reservation (activation_id),
    -- SHA-256 of the container's device key, hex.
    container_id  TEXT NOT NULL,
    -- Display serial of the container.
    serial        TEXT NOT NULL,
    -- Seats in this container; 0 when the license is not counted.
    quantity      BIGINT NOT NULL,
    -- reserved, collected, confirmed, returning, ended.
    state         TEXT NOT NULL,
    -- Microseconds UTC.
    created_at    BIGINT NOT NULL,
    -- Time of the last step, microseconds UTC.
    changed_at    BIGINT NOT NULL
);
-- A license lies in one container at most: the last word against selling it twice. Splitting will relax it.
CREATE UNIQUE INDEX allocation_alive ON allocation (license_id) WHERE state <> 'ended';
CREATE INDEX allocation_activation ON allocation (activation_id);
CREATE INDEX allocation_withdrawn_by ON allocation (withdrawn_by);
CREATE INDEX allocation_serial ON allocation (serial) WHERE state <> 'ended';
