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
    -- Seats that are set aside, on their way, or in containers; one for a license that is not counted. Only the triggers
    -- of the table allocation write it.
    taken        BIGINT NOT NULL DEFAULT 0,
    -- available, collected, confirmed, returning, withdrawn, merged: always what follows from its allocations,
    -- withdrawn_at and merged_into.
    state        TEXT NOT NULL,
    -- When the vendor took it back, microseconds UTC; empty when not.
    withdrawn_at BIGINT,
    -- Why the vendor took it back; empty when not.
    withdrawn_for TEXT,
    -- The license that its days of subscription were added to; empty when to none.
    merged_into  TEXT,
    -- What is left of a subscription that was in a container and is in none, in microseconds; empty before the first time.
    remaining    BIGINT,
    -- When its automatic renewal was cancelled, microseconds UTC; empty when not.
    renewal_cancelled_at BIGINT,
    -- When it was last put into a new container in place of a lost one, microseconds UTC; empty when never.
    replaced_at  BIGINT,
    -- The lost container of that time, by the SHA-256 of its device key, hex: it counts once.
    replaced_for TEXT,
    -- Number of its last event: 1 at creation, one more with each change.
    version      BIGINT NOT NULL,
    -- Microseconds UTC.
    created_at   BIGINT NOT NULL,
    FOREIGN KEY (item_id, item_version) REFERENCES item_version (item_id, version),
    -- The last word against selling more than there is, whatever the code does.
    CONSTRAINT license_not_oversold CHECK (taken >= 0 AND taken <= CASE WHEN quantity = 0 THEN 1 ELSE quantity END)
);
CREATE INDEX license_ticket ON license (ticket_id, line);
CREATE INDEX license_order ON license (order_id);
CREATE INDEX license_firm ON license (firm_code, license_id);
CREATE INDEX license_state ON license (firm_code, state, license_id);
