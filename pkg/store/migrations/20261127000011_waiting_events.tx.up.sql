-- An event that waits for its next try waits in the database: how often it failed, and an index to find
-- what is due. Writers wait while this reads the outbox, which holds what is not sent yet; if it cannot
-- begin within seconds, it gives up instead of making writers queue, and the service tries again.
SET LOCAL lock_timeout = '3s';
--bun:split
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS failures integer NOT NULL DEFAULT 0; -- tries in a row; attempts are those that were refused
--bun:split
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (partition, retry_at) WHERE retry_at IS NOT NULL;
