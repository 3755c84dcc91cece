-- What happened to licenses, one row per fact. Rows never change and never go.
CREATE TABLE license_history (
    -- Ascending in the order of the facts of a license.
    history_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The license.
    license_id    TEXT NOT NULL REFERENCES license (license_id),
    -- When, microseconds UTC.
    happened_at   BIGINT NOT NULL,
    -- created, planned, issued, lessened, leaving, proven, gone, returned, released, withdrawn, merged, renewed, cancelled,
    -- resumed, transferred, written-off …
    what          TEXT NOT NULL,
    -- SHA-256 of the container's device key, hex; empty when no container is concerned.
    container_id  TEXT NOT NULL,
    -- Display serial of that container.
    serial        TEXT NOT NULL,
    -- Seats that the container holds after this; 0 when the license is not counted, or nothing is left.
    quantity      BIGINT NOT NULL,
    -- The activation that did it; empty when none.
    activation_id TEXT,
    -- Counter of the segment; 0 when none is involved.
    counter       BIGINT NOT NULL,
    -- When the entry ends by date after this, microseconds UTC; empty when it does not.
    expires_at    BIGINT,
    -- One sentence; may be empty.
    why           TEXT NOT NULL
);
CREATE INDEX license_history_license ON license_history (license_id, history_id);
CREATE INDEX license_history_serial ON license_history (serial, history_id) WHERE serial <> '';
CREATE INDEX license_history_renewed ON license_history (activation_id) WHERE what = 'renewed';
CREATE TRIGGER license_history_stays BEFORE UPDATE ON license_history
BEGIN
    SELECT RAISE(ABORT, 'the history of a license never changes');
END;
CREATE TRIGGER license_history_remains BEFORE DELETE ON license_history
BEGIN
    SELECT RAISE(ABORT, 'the history of a license never goes');
END;

-- Which customer a container belongs to.
CREATE TABLE assignment (
    -- The vendor.
    firm_code   BIGINT NOT NULL,
    -- Display serial of the container; it may not have been seen yet.
    serial      TEXT NOT NULL,
    -- Its customer.
    customer_id TEXT NOT NULL REFERENCES customer (customer_id),
    -- Number of its last event: 1 when first assigned, one more each time it goes to somebody else.
    version     BIGINT NOT NULL,
    -- Since when it belongs to this customer, microseconds UTC.
    assigned_at BIGINT NOT NULL,
    PRIMARY KEY (firm_code, serial)
);
CREATE INDEX assignment_customer ON assignment (customer_id, serial);

-- When the sweeper looks at the license again, microseconds UTC: 0 as soon as it can, empty when nothing will be announced.
ALTER TABLE license ADD COLUMN notice_at BIGINT DEFAULT 0;
-- The end that was announced or will be, microseconds UTC; empty when the license does not end by date.
ALTER TABLE license ADD COLUMN noticed_end BIGINT;
-- The fewest days ahead of that end that were announced; 0 when the end itself was; empty when nothing was.
ALTER TABLE license ADD COLUMN noticed_days BIGINT;
CREATE INDEX license_notice ON license (notice_at) WHERE notice_at IS NOT NULL;
-- The leads that the dates above were computed with; other ones make the sweeper look at everything again.
CREATE TABLE expiry_leads (
    -- Always 1: there is one row.
    place BIGINT PRIMARY KEY,
    -- Days ahead, largest first, with commas.
    leads TEXT NOT NULL
);
-- Whatever moves the end of an entry makes the sweeper look at its license again.
CREATE TRIGGER allocation_dates_change AFTER UPDATE OF state, expires_at ON allocation
    WHEN (NEW.expires_at IS NOT NULL OR OLD.expires_at IS NOT NULL)
     AND (NEW.state <> OLD.state OR NEW.expires_at IS NOT OLD.expires_at)
     AND NOT (OLD.state = 'reserved' AND NEW.state = 'ended')
BEGIN
    UPDATE license SET notice_at = 0 WHERE license_id = NEW.license_id;
END;

-- How long before its technical end a license is renewed, in microseconds; empty when it is not renewed by itself.
ALTER TABLE item_version ADD COLUMN renewal_lead BIGINT;
-- From when on the entry is to be renewed, microseconds UTC; empty when it is not. Always what follows from the columns
-- expires_at and renewal_lead.
ALTER TABLE allocation ADD COLUMN renew_at BIGINT;
CREATE INDEX allocation_renew ON allocation (renew_at) WHERE state = 'confirmed' AND renew_at IS NOT NULL;
CREATE TRIGGER allocation_renew_new AFTER INSERT ON allocation WHEN NEW.expires_at IS NOT NULL
BEGIN
    UPDATE allocation SET renew_at = NEW.expires_at - (
        SELECT v.renewal_lead FROM license l
        JOIN item_version v ON v.item_id = l.item_id AND v.version = l.item_version
        WHERE l.license_id = NEW.license_id
    ) WHERE allocation_id = NEW.allocation_id;
END;
CREATE TRIGGER allocation_renew_moved AFTER UPDATE OF expires_at ON allocation
    WHEN NEW.expires_at IS NOT OLD.expires_at
BEGIN
    UPDATE allocation SET renew_at = NEW.expires_at - (
        SELECT v.renewal_lead FROM license l
        JOIN item_version v ON v.item_id = l.item_id AND v.version = l.item_version
        WHERE l.license_id = NEW.license_id
    ) WHERE allocation_id = NEW.allocation_id;
END;

-- One row per container that subscriptions went into: held while a plan looks at what runs there.
CREATE TABLE subscription_place (
    -- The vendor.
    firm_code    BIGINT NOT NULL,
    -- SHA-256 of the container's device key, hex.
    container_id TEXT NOT NULL,
    PRIMARY KEY (firm_code, container_id)
);
