DROP INDEX outbox_due;
--bun:split
ALTER TABLE outbox DROP COLUMN failures;
