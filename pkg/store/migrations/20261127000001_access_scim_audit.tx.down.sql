DROP TRIGGER users_forms ON users;
--bun:split
DROP FUNCTION users_forms;
--bun:split
DROP TABLE unformed_users, keys, group_members, groups, audit;
--bun:split
ALTER TABLE users DROP COLUMN user_name, DROP COLUMN user_name_key, DROP COLUMN expires_at, DROP COLUMN keys, DROP COLUMN scim, DROP COLUMN search;
--bun:split
ALTER TABLE claims DROP COLUMN secret;
--bun:split
ALTER TABLE events DROP COLUMN trace_parent;
