-- What finds users has changed: numbers, booleans and elements of lists in metadata, two neighbouring ideographs,
-- kana or Hangul syllables, and the beginnings of addresses that are searched otherwise than compared. The service
-- computes this while it runs, 500 users in a transaction (pkg/store/forms.go); until a user's turn, filters find
-- it by what it had. Without a transaction, so that nobody waits.

INSERT INTO unformed_users (user_id) SELECT id FROM users ON CONFLICT DO NOTHING;
--bun:split
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_expires ON users (expires_at) WHERE expires_at IS NOT NULL;
--bun:split
-- Listings of a provider's holders go by facets, as other filters do. The column stays for revisions that write it.
DROP INDEX CONCURRENTLY IF EXISTS credentials_holders;
