DROP TABLE feed_floor, erasures, claims, outbox, events, credentials, users;
