-- One change of one container: what was asked for and how far it is. Also the memory of the request that asked for it.
CREATE TABLE activation (
    -- act_…; also the reference under which the update is issued.
    activation_id     TEXT PRIMARY KEY,
    -- activate, push, withdraw, return, depart, arrive, renew, replace, rebase.
    kind              TEXT NOT NULL,
    -- requested, reserved, issued, completed, confirmed, refusing, refused.
    state             TEXT NOT NULL,
    -- The vendor; 0 while a withdrawal does not know it yet.
    firm_code         BIGINT NOT NULL,
    -- Who asked: hash of the ticket, or issuer and subject of the token.
    caller            TEXT NOT NULL,
    -- The caller's own id of the request.
    request_id        TEXT NOT NULL,
    -- SHA-256 of the request: a repeat must be the same.
    body_hash         BLOB NOT NULL,
    -- What it is for: a JSON document, one form for each kind.
    purpose           TEXT NOT NULL,
    -- tkt_… that it goes by; empty when it goes by none. Also in the purpose; here to be found by.
    ticket_id         TEXT,
    -- trf_… that it is a leg of; empty when it is none. Also in the purpose.
    transfer_id       TEXT,
    -- The context file that a rebase answers; empty for all others.
    context           BLOB,
    -- First group of the ticket's code.
    ticket_masked     TEXT NOT NULL,
    -- SHA-256 of the container's device key, hex; empty while a withdrawal does not know it yet.
    container_id      TEXT NOT NULL,
    -- Display serial of the container.
    serial            TEXT NOT NULL,
    -- folder, machine, volume, kubernetes, token, cloud; empty when only taken back.
    container_kind    TEXT NOT NULL,
    -- 1 when it lives in a virtual machine.
    virtual_machine   BIGINT NOT NULL,
    -- Ids of the licenses that the update changes, separated by commas; set once reserved.
    licenses          TEXT NOT NULL,
    -- Counter before the issued segment; 0 while none was issued.
    counter_from      BIGINT NOT NULL,
    -- Counter after it.
    counter_to        BIGINT NOT NULL,
    -- Error code of the refusal, or of the last failed attempt; empty when there is none.
    problem_code      TEXT NOT NULL,
    -- Its sentence.
    problem_message   TEXT NOT NULL,
    -- What to do about it.
    problem_next      TEXT NOT NULL,
    -- When the container proved that it took the update, microseconds UTC.
    proven_at         BIGINT,
    -- The process that works on it.
    runner            TEXT NOT NULL,
    -- Until when nobody else may work on it, microseconds UTC; 0 when nobody does.
    runner_until      BIGINT NOT NULL,
    -- Since when it can neither go on nor end, microseconds UTC; empty when it can.
    stalled_at        BIGINT,
    -- When it is to be continued, microseconds UTC; empty when it waits for proof or has ended.
    next_attempt_at   BIGINT,
    -- Failed attempts since the last step.
    attempts          BIGINT NOT NULL,
    -- W3C traceparent of the request, for what is done later.
    traceparent       TEXT,
    -- Microseconds UTC.
    created_at        BIGINT NOT NULL,
    -- Time of the last step, microseconds UTC.
    changed_at        BIGINT NOT NULL,
    UNIQUE (caller, request_id)
);
CREATE INDEX activation_due ON activation (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX activation_ticket ON activation (ticket_id, container_id);
CREATE INDEX activation_transfer ON activation (transfer_id) WHERE transfer_id IS NOT NULL;
CREATE INDEX activation_open ON activation (firm_code, activation_id) WHERE state NOT IN ('confirmed', 'refused');
