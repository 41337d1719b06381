-- The extension may stay: others may use it.

DROP INDEX users_find;
