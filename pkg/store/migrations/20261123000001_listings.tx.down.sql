-- The further facets may stay: whoever does not look for them is not troubled.

DROP TRIGGER credentials_time ON credentials;
--bun:split
DROP FUNCTION credentials_time();
--bun:split
ALTER TABLE credentials DROP COLUMN user_created_at;
