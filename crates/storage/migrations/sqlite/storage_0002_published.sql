-- How far the broker confirmed, as one number instead of a mark on every event: events leave in the order of their numbers.
ALTER TABLE outbox_head ADD COLUMN published_through BIGINT NOT NULL DEFAULT 0;
UPDATE outbox_head SET published_through = COALESCE(
    (SELECT MIN(sequence) - 1 FROM outbox WHERE published_at IS NULL AND sequence IS NOT NULL), last_sequence);
DROP INDEX outbox_unpublished;
ALTER TABLE outbox DROP COLUMN published_at;
