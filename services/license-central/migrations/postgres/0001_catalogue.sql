-- What a firm sells, one row per item; the name is what orders and people use.
CREATE TABLE item (
    -- itm_…
    item_id    TEXT PRIMARY KEY,
    -- The vendor that sells it.
    firm_code  BIGINT NOT NULL,
    -- Unique per firm, 1 to 64 characters.
    name       TEXT NOT NULL,
    -- The version that orders take from now on; 1 and up.
    version    BIGINT NOT NULL,
    -- When it came into the catalogue, microseconds UTC.
    created_at BIGINT NOT NULL,
    -- When its newest version was made, microseconds UTC.
    changed_at BIGINT NOT NULL,
    UNIQUE (firm_code, name)
);

-- Every state an item ever had. Rows never change: a license keeps what it was sold with.
CREATE TABLE item_version (
    -- The item.
    item_id      TEXT NOT NULL REFERENCES item (item_id),
    -- 1, 2, 3 … per item.
    version      BIGINT NOT NULL,
    -- Product code of the product item.
    product_code BIGINT NOT NULL,
    -- Seats that the item itself has; 0 when it is not counted.
    quantity     BIGINT NOT NULL,
    -- When a license of this version expires by date, microseconds UTC; empty when it does not.
    expires_at   BIGINT,
    -- Deterministic CBOR of the product item with its module items, at most 48 KiB.
    product_item BYTEA NOT NULL,
    -- Display name of the subscription that it is; empty when it is none.
    subscription TEXT,
    -- What the vendor settles beside the product item, as JSON.
    policy       TEXT NOT NULL DEFAULT '{}',
    -- When this version was made, microseconds UTC.
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (item_id, version)
);
CREATE FUNCTION refuse_item_version_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an item version never changes';
END;
$$;
CREATE TRIGGER item_version_stays BEFORE UPDATE ON item_version
    FOR EACH ROW EXECUTE FUNCTION refuse_item_version_change();
