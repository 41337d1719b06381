-- Listings that took long at a million users: those of a provider's holders, and searches for a sign
-- between two letters.

LOCK TABLE users IN EXCLUSIVE MODE; -- changes wait until this is over, or a batch and this would wait for each other
--bun:split
ALTER TABLE credentials ADD COLUMN user_created_at timestamptz; -- a copy: listings are in this order
--bun:split
-- A deletion did not see a credential that was committed while it waited for the user's row. The
-- cascade looks after the wait.
DELETE FROM credentials c WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = c.user_id);
--bun:split
ALTER TABLE credentials ADD CONSTRAINT credentials_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
--bun:split
UPDATE credentials c SET user_created_at = u.created_at FROM users u WHERE u.id = c.user_id;
--bun:split
ALTER TABLE credentials ALTER COLUMN user_created_at SET NOT NULL;
--bun:split
-- For revisions from before, which do not know the column.
CREATE FUNCTION credentials_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.user_created_at := coalesce((SELECT created_at FROM users WHERE id = NEW.user_id), now());
    RETURN NEW;
END $$;
--bun:split
CREATE TRIGGER credentials_time BEFORE INSERT ON credentials FOR EACH ROW WHEN (NEW.user_created_at IS NULL)
    EXECUTE FUNCTION credentials_time();
--bun:split
CREATE INDEX credentials_holders ON credentials (provider, user_created_at DESC, user_id DESC);

--bun:split

-- What user.Facets adds from now on.
UPDATE users u SET facets = found.facets FROM (
    SELECT id, array_agg(DISTINCT facet ORDER BY facet) AS facets FROM (
        SELECT id, unnest(facets) AS facet FROM users
        UNION ALL
        SELECT id, 'q~' || substr(field, i, 3) COLLATE "C"
        FROM users, unnest(ARRAY[tag, name_key, email_key]) AS field, generate_series(1, length(field) - 2) AS i
        WHERE substr(field, i, 3) ~ '^[a-z0-9][^a-z0-9][a-z0-9]$'
    ) AS facet GROUP BY id
) AS found WHERE found.id = u.id AND cardinality(found.facets) > cardinality(u.facets);
