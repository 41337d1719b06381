-- Searches go by the stored search forms. Without a transaction, so that nobody waits.

CREATE INDEX CONCURRENTLY IF NOT EXISTS users_search_forms ON users USING gin (search gin_trgm_ops, facets, role, status)
    WITH (gin_pending_list_limit = 512);
--bun:split
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_by_name ON users (name_key, name COLLATE "C", id);
--bun:split
ALTER TABLE users ALTER COLUMN search SET STATISTICS 1000;
--bun:split
ANALYZE users;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS users_find;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS users_name;
