-- One index for what finds users: of a search and a role, or a facet and a status, it goes through both
-- lists at once, where two indexes had to write down all that either finds.

CREATE EXTENSION IF NOT EXISTS btree_gin; -- for role and status
--bun:split
CREATE INDEX users_find ON users USING gin ((tag || E'\n' || name_key || E'\n' || coalesce(email_key, '')) gin_trgm_ops, facets, role, status)
    WITH (gin_pending_list_limit = 512);
--bun:split
ALTER INDEX users_find ALTER COLUMN 1 SET STATISTICS 1000;
