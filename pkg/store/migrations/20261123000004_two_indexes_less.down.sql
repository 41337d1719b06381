CREATE INDEX IF NOT EXISTS users_facets ON users USING gin (facets) WITH (gin_pending_list_limit = 256);
--bun:split
CREATE INDEX IF NOT EXISTS users_search ON users USING gin ((tag || E'\n' || name_key || E'\n' || coalesce(email_key, '')) gin_trgm_ops)
    WITH (gin_pending_list_limit = 256);
--bun:split
ALTER INDEX users_search ALTER COLUMN 1 SET STATISTICS 1000;
--bun:split
ANALYZE users;
