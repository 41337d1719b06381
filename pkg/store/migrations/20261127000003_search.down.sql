CREATE INDEX CONCURRENTLY IF NOT EXISTS users_find ON users USING gin ((tag || E'\n' || name_key || E'\n' || coalesce(email_key, '')) gin_trgm_ops, facets, role, status)
    WITH (gin_pending_list_limit = 512);
--bun:split
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_name ON users (name_key, id);
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS users_search_forms;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS users_by_name;
