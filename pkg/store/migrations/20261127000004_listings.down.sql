CREATE INDEX CONCURRENTLY IF NOT EXISTS credentials_holders ON credentials (provider, user_created_at DESC, user_id DESC);
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS users_expires;
