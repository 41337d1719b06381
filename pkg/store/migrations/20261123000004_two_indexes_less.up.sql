-- Without a transaction: this waits for whoever reads users, and nobody waits for it.

DROP INDEX CONCURRENTLY IF EXISTS users_search;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS users_facets;
