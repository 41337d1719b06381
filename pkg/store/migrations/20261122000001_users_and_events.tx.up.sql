-- Users, their sealed secrets, and the event log that is outbox, history and change feed.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

--bun:split

-- The place of this transaction in the change feed. A log restored from another cluster
-- needs another base: see pkg/store/restored.go.
CREATE FUNCTION feed_xid() RETURNS xid8 LANGUAGE sql AS 'SELECT pg_current_xact_id()';

--bun:split

CREATE TABLE users (
    id                   uuid PRIMARY KEY, -- columns of a fixed width come first: they are found without reading the others
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    version              bigint NOT NULL,
    -- Of the last event. A transaction has its id before it gets a row's lock, so ids alone
    -- would put two changes of a contended user in the wrong order.
    feed_xid             xid8 NOT NULL DEFAULT feed_xid(),
    tag                  text COLLATE "C" NOT NULL,
    role                 text COLLATE "C" NOT NULL,
    status               text COLLATE "C" NOT NULL,
    name                 text NOT NULL,
    name_key             text COLLATE "C" NOT NULL, -- name, folded by the service: no database locale decides what equal means
    email                text,
    email_key            text COLLATE "C",          -- email, folded
    models               text[],
    requests_per_minute  bigint,
    tokens_per_minute    bigint,
    monthly_budget_cents bigint,
    credentials          json NOT NULL,             -- what a read shows; the sealed values are in credentials
    metadata             json NOT NULL,             -- canonical text; facets is what finds it
    external_id          text COLLATE "C",
    facets               text[] COLLATE "C" NOT NULL
);

--bun:split
CREATE UNIQUE INDEX users_tag ON users (tag);
--bun:split
CREATE UNIQUE INDEX users_email ON users (email_key) WHERE email_key IS NOT NULL;
--bun:split
CREATE UNIQUE INDEX users_external_id ON users (external_id) WHERE external_id IS NOT NULL;
--bun:split
CREATE INDEX users_no_email ON users (id) WHERE email_key IS NULL;
--bun:split
CREATE INDEX users_created ON users (created_at DESC, id DESC);
--bun:split
CREATE INDEX users_name ON users (name_key, id);
--bun:split
CREATE INDEX users_role ON users (role, created_at DESC, id DESC);
--bun:split
CREATE INDEX users_status ON users (status, created_at DESC, id DESC);
--bun:split
CREATE INDEX users_status_role ON users (status, role, created_at DESC, id DESC);
--bun:split
CREATE INDEX users_facets ON users USING gin (facets) WITH (gin_pending_list_limit = 256);
--bun:split
CREATE INDEX users_search ON users USING gin ((tag || E'\n' || name_key || E'\n' || coalesce(email_key, '')) gin_trgm_ops)
    WITH (gin_pending_list_limit = 256);
--bun:split
ALTER INDEX users_search ALTER COLUMN 1 SET STATISTICS 1000;
--bun:split
ALTER TABLE users ALTER COLUMN facets SET STATISTICS 1000;

--bun:split

CREATE TABLE credentials (
    user_id  uuid NOT NULL,
    provider text COLLATE "C" NOT NULL,
    sealed   text NOT NULL,
    PRIMARY KEY (user_id, provider)
);

--bun:split

CREATE TABLE events (
    id      uuid PRIMARY KEY,
    seq     bigint NOT NULL GENERATED ALWAYS AS IDENTITY, -- grows with every change of one user, since its row lock is held
    xid     xid8 NOT NULL DEFAULT feed_xid(),             -- its transaction's, or that of the user's event before it if that is higher;
                                                          -- the feed shows a row once no transaction is left that could come before
    user_id uuid NOT NULL,
    version bigint NOT NULL,
    type    text NOT NULL,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    cause   text NOT NULL,
    data    json NOT NULL,
    changes json NOT NULL
);

--bun:split
CREATE INDEX events_user ON events (user_id, seq);
--bun:split
CREATE INDEX events_feed ON events (xid, seq);

--bun:split

-- Events not sent yet. The partition is a hash of the user id: see pkg/relay.
CREATE TABLE outbox (
    partition smallint NOT NULL,
    seq       bigint NOT NULL,
    event_id  uuid NOT NULL,
    user_id   uuid NOT NULL,
    attempts  integer NOT NULL DEFAULT 0,
    retry_at  timestamptz,
    parked_at timestamptz,
    fault     text, -- of the last attempt: a status or the kind of network error
    PRIMARY KEY (partition, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

--bun:split
CREATE INDEX outbox_parked ON outbox (user_id, seq) WHERE parked_at IS NOT NULL;

--bun:split

-- Requests and events whose effect must happen once.
CREATE TABLE claims (
    key        bytea PRIMARY KEY, -- SHA-256 of kind, scope and id
    digest     bytea,             -- SHA-256 of the body, where a repetition must bring the same
    user_id    uuid,
    event_id   uuid,              -- null: the request changed nothing
    expires_at timestamptz NOT NULL
);

--bun:split
CREATE INDEX claims_expiry ON claims USING brin (expires_at);
--bun:split
CREATE INDEX claims_event ON claims (event_id) WHERE event_id IS NOT NULL;

--bun:split

-- Deleted users whose personal values are still in the event log.
CREATE TABLE erasures (
    user_id uuid NOT NULL,
    seq     bigint NOT NULL, -- of the deletion
    PRIMARY KEY (user_id, seq)
);

--bun:split

-- How far retention has removed the event log: a cursor before it has missed events.
CREATE TABLE feed_floor (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    xid   xid8 NOT NULL,
    seq   bigint NOT NULL,
    shift bigint NOT NULL DEFAULT 0 -- added to this cluster's transaction ids in events.xid: grows when a log of another cluster is restored
);

--bun:split
INSERT INTO feed_floor (xid, seq) VALUES ('0', 0);
