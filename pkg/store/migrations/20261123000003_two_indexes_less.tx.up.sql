-- By itself, as this lock is not to wait for changes that wait for a weaker one of the same transaction.

DROP INDEX users_search, users_facets;
