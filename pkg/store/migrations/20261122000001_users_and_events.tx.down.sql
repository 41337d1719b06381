DROP TABLE feed_floor, erasures, claims, outbox, events, credentials, users;
--bun:split
DROP FUNCTION feed_xid();
