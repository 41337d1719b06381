-- The further facets may stay: whoever does not look for them is not troubled.

ALTER TABLE credentials DROP CONSTRAINT credentials_user;
--bun:split
DROP TRIGGER credentials_time ON credentials;
--bun:split
DROP FUNCTION credentials_time();
--bun:split
ALTER TABLE credentials DROP COLUMN user_created_at;
