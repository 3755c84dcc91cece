-- Reports that are made by schedule, one row per period: what makes each leave once.
CREATE TABLE report (
    -- daily, weekly or monthly
    period          TEXT NOT NULL,
    -- first moment of the period, microseconds UTC
    from_at         BIGINT NOT NULL,
    -- first moment after it, microseconds UTC
    until_at        BIGINT NOT NULL,
    -- such as daily-2026-11-22
    name            TEXT NOT NULL,
    -- due, sent, or skipped: it was over before reports were switched on
    state           TEXT NOT NULL CHECK (state IN ('due', 'sent', 'skipped')),
    -- tries so far
    attempts        BIGINT NOT NULL,
    -- when it may be tried next, microseconds UTC
    next_attempt_at BIGINT NOT NULL,
    -- when it was sent, microseconds UTC; null before that
    sent_at         BIGINT,
    -- what the last failed try said; empty when all is well
    note            TEXT NOT NULL,
    PRIMARY KEY (period, from_at)
);
CREATE INDEX report_due ON report (next_attempt_at) WHERE state = 'due';
