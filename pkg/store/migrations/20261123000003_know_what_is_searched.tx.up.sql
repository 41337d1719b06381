-- Before the index that is known goes. By itself: beside the creation, PostgreSQL does not heed the
-- number of statistics yet.

ANALYZE users;
