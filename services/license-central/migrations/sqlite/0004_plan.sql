-- Central's half of a saga: the plan of one activation for one container, what it sets aside, and how far it is.
CREATE TABLE reservation (
    -- act_…, made by the activation service.
    activation_id  TEXT PRIMARY KEY,
    -- The vendor.
    firm_code      BIGINT NOT NULL,
    -- activate, withdraw, return, depart, arrive, renew, replace.
    purpose        TEXT NOT NULL,
    -- SHA-256 of what was asked for: a repeat must ask for the same.
    asked          BLOB NOT NULL,
    -- The answer, encoded: a repeat gets these very bytes.
    answer         BLOB NOT NULL,
    -- reserved, kept, committed, confirmed, released.
    state          TEXT NOT NULL,
    -- Until when a reserved one holds, microseconds UTC.
    reserved_until BIGINT NOT NULL,
    -- Counter that the container reaches with the update; 0 before the commit, and when nothing had to be issued.
    counter        BIGINT NOT NULL,
    -- Why it was released; empty when not.
    reason         TEXT NOT NULL,
    -- Microseconds UTC.
    created_at     BIGINT NOT NULL,
    -- Time of the last step, microseconds UTC.
    changed_at     BIGINT NOT NULL
);

-- Seats that go from one container to another: they leave the one, provably, before they come into the other.
CREATE TABLE transfer (
    -- trf_…, made by the activation service.
    transfer_id    TEXT PRIMARY KEY,
    -- The vendor.
    firm_code      BIGINT NOT NULL,
    -- Whose seats.
    license_id     TEXT NOT NULL REFERENCES license (license_id),
    -- How many; 0 when it is not counted.
    quantity       BIGINT NOT NULL,
    -- SHA-256 of the old container's device key, hex …
    from_container TEXT NOT NULL,
    -- … and its serial.
    from_serial    TEXT NOT NULL,
    -- SHA-256 of the new container's device key, hex …
    to_container   TEXT NOT NULL,
    -- … and its serial.
    to_serial      TEXT NOT NULL,
    -- What the new container is bound to; empty when seats go back to their lender.
    to_kind        TEXT,
    -- When a loan ends, microseconds UTC; empty for a move for good.
    lend_until     BIGINT,
    -- The loan that it gives back; empty for none.
    returns        TEXT REFERENCES transfer (transfer_id),
    -- When the seats have surely left the old container by date alone, because they were lent to it; empty when only its
    -- proof counts. Microseconds UTC.
    gone_by        BIGINT,
    -- departing, departed, arriving, arrived, called-off.
    state          TEXT NOT NULL,
    -- The activation that takes the seats out.
    depart_by      TEXT NOT NULL REFERENCES reservation (activation_id),
    -- The activation that puts them in; empty while none does.
    arrive_by      TEXT REFERENCES reservation (activation_id),
    -- Microseconds UTC.
    created_at     BIGINT NOT NULL,
    -- Time of the last step, microseconds UTC.
    changed_at     BIGINT NOT NULL
);
CREATE INDEX transfer_license ON transfer (license_id, transfer_id);
CREATE INDEX transfer_firm ON transfer (firm_code, transfer_id);
CREATE INDEX transfer_depart_by ON transfer (depart_by);
CREATE INDEX transfer_arrive_by ON transfer (arrive_by);
CREATE INDEX transfer_open ON transfer (state, changed_at) WHERE state IN ('departing', 'departed', 'arriving');
CREATE INDEX transfer_lent ON transfer (lend_until) WHERE state = 'arrived' AND lend_until IS NOT NULL;

-- A part of a license's quantity that lies, or is about to lie, in one container. An entry of a container is made of all
-- parts of a license that lie in it.
CREATE TABLE allocation (
    -- alc_…
    allocation_id TEXT PRIMARY KEY,
    -- The license.
    license_id    TEXT NOT NULL REFERENCES license (license_id),
    -- The activation that puts it in; for a part that is awaited the one that took it out of the old container.
    activation_id TEXT NOT NULL REFERENCES reservation (activation_id),
    -- The activation whose issued update takes it out; empty while none does.
    withdrawn_by  TEXT REFERENCES reservation (activation_id),
    -- How it is taken out: withdrawn, returned, departed, merged, cleared, written-off; empty while it is not.
    withdrawn_as  TEXT,
    -- SHA-256 of the container's device key, hex.
    container_id  TEXT NOT NULL,
    -- Display serial of the container.
    serial        TEXT NOT NULL,
    -- Seats in this container; 0 when the license is not counted.
    quantity      BIGINT NOT NULL,
    -- awaited, reserved, collected, confirmed, returning, lost, ended, written-off.
    state         TEXT NOT NULL,
    -- When the entry ends by date, microseconds UTC; empty when it does not.
    expires_at    BIGINT,
    -- Display name of the subscription; empty when it is none.
    subscription  TEXT,
    -- The transfer by which it came; empty when it came from the vendor.
    transfer_id   TEXT REFERENCES transfer (transfer_id),
    -- How many times in a row its seats were moved.
    moves         BIGINT NOT NULL,
    -- The part in a lost container in whose place it is put; its seats count once that one is written off.
    replaces      TEXT REFERENCES allocation (allocation_id),
    -- The activation that is about to change it and has issued nothing yet; empty for none …
    planned_by    TEXT REFERENCES reservation (activation_id),
    -- … what it does: a word of withdrawn_as, or renewed …
    planned_as    TEXT,
    -- … with how many of its seats …
    planned_seats BIGINT,
    -- … and when the entry ends by date after it.
    planned_end   BIGINT,
    -- The license that its days go to when it is merged.
    merges_into   TEXT REFERENCES license (license_id),
    -- Seats of the license that it takes.
    weight        BIGINT NOT NULL GENERATED ALWAYS AS (CASE
        WHEN state IN ('ended', 'written-off') THEN 0
        WHEN state = 'reserved' AND replaces IS NOT NULL THEN 0
        WHEN quantity = 0 THEN 1
        ELSE quantity END) STORED,
    -- Microseconds UTC.
    created_at    BIGINT NOT NULL,
    -- Time of the last step, microseconds UTC.
    changed_at    BIGINT NOT NULL
);
CREATE INDEX allocation_license ON allocation (license_id);
CREATE INDEX allocation_activation ON allocation (activation_id);
CREATE INDEX allocation_withdrawn_by ON allocation (withdrawn_by) WHERE withdrawn_by IS NOT NULL;
CREATE INDEX allocation_planned_by ON allocation (planned_by) WHERE planned_by IS NOT NULL;
CREATE INDEX allocation_serial ON allocation (serial) WHERE state NOT IN ('ended', 'written-off');
CREATE INDEX allocation_subscription ON allocation (container_id)
    WHERE subscription IS NOT NULL AND state NOT IN ('ended', 'written-off');

-- A part that ends frees its seats, one that comes takes them: kept here, so that no statement can forget it.
CREATE TRIGGER allocation_put AFTER INSERT ON allocation
BEGIN
    UPDATE license SET taken = taken + NEW.weight WHERE license_id = NEW.license_id;
END;
CREATE TRIGGER allocation_changed AFTER UPDATE ON allocation WHEN NEW.weight <> OLD.weight
BEGIN
    UPDATE license SET taken = taken + NEW.weight - OLD.weight WHERE license_id = NEW.license_id;
END;
CREATE TRIGGER allocation_stays BEFORE DELETE ON allocation
BEGIN
    SELECT RAISE(ABORT, 'an allocation is never deleted');
END;
CREATE TRIGGER allocation_of_one_license BEFORE UPDATE OF license_id, allocation_id ON allocation
BEGIN
    SELECT RAISE(ABORT, 'an allocation keeps its license');
END;

-- Chains that were begun anew, counted per customer.
CREATE TABLE rebase (
    -- act_…, made by the activation service: counted once.
    activation_id TEXT PRIMARY KEY,
    -- The vendor.
    firm_code     BIGINT NOT NULL,
    -- SHA-256 of the container's device key, hex.
    container_id  TEXT NOT NULL,
    -- Display serial of the container.
    serial        TEXT NOT NULL,
    -- Customer that it is counted for; the container itself when it is assigned to nobody.
    counted_for   TEXT NOT NULL,
    -- How many there were in 365 days, this one included.
    number        BIGINT NOT NULL,
    -- Microseconds UTC.
    created_at    BIGINT NOT NULL
);
CREATE INDEX rebase_counted ON rebase (firm_code, counted_for, created_at);
