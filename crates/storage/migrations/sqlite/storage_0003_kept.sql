-- Events up to this number were kept for their time and are gone; what remains below it is the newest of each aggregate.
ALTER TABLE outbox_head ADD COLUMN gone_through BIGINT NOT NULL DEFAULT 0;
CREATE INDEX inbox_event_taken_at ON inbox_event (taken_at);
