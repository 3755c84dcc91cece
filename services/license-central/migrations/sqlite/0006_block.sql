-- Containers that were blocked: they get withdrawals only, and nothing else is planned for them.
CREATE TABLE blocked_container (
    -- The vendor.
    firm_code    BIGINT NOT NULL,
    -- SHA-256 of the container's device key, hex.
    container_id TEXT NOT NULL,
    -- Display serial of the container.
    serial       TEXT NOT NULL,
    -- For people: why, as it was given with the block.
    reason       TEXT NOT NULL,
    -- When this service learned of it, microseconds UTC.
    noted_at     BIGINT NOT NULL,
    PRIMARY KEY (firm_code, container_id)
);

-- When a rebase that was counted was refused and counts no more, microseconds UTC; empty while it counts.
ALTER TABLE rebase ADD COLUMN taken_back_at BIGINT;
