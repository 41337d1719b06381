-- The further facets may stay: whoever does not look for them is not troubled.

ALTER TABLE credentials DROP COLUMN user_created_at;
