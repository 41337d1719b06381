-- What run-time access, SCIM, the audit log and new comparison forms need. Everything here is quick: columns
-- with constant defaults, and new tables. The next migration fills in the forms while the service runs.

ALTER TABLE users
    ADD COLUMN user_name     text,                    -- as written
    ADD COLUMN user_name_key text COLLATE "C",        -- comparison form of the effective one: userName, e-mail address or tag
    ADD COLUMN expires_at    timestamptz,
    ADD COLUMN keys          json NOT NULL DEFAULT '[]', -- API keys without hashes and use, which are in the table keys
    ADD COLUMN scim          json NOT NULL DEFAULT '{}', -- attributes of an identity provider that the product has no field for
    ADD COLUMN search        text COLLATE "C";        -- search forms of tag, name and e-mail address, a line each

--bun:split

-- Users whose forms an older revision or plain SQL has written. The service computes them.
CREATE TABLE unformed_users (user_id uuid PRIMARY KEY);

--bun:split

-- A revision that knows the forms says so when it connects. For all others this keeps the columns usable.
CREATE FUNCTION users_forms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.tag, NEW.name, NEW.email) IS NOT DISTINCT FROM (OLD.tag, OLD.name, OLD.email) THEN
        RETURN NEW;
    END IF;
    NEW.user_name_key := lower(coalesce(NEW.user_name, NEW.email, NEW.tag));
    NEW.search := NEW.tag || E'\n' || NEW.name_key || E'\n' || coalesce(NEW.email_key, '');
    INSERT INTO unformed_users (user_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NEW;
END $$;
--bun:split
CREATE TRIGGER users_forms BEFORE INSERT OR UPDATE ON users FOR EACH ROW
    WHEN (current_setting('ai_admin.forms', true) IS DISTINCT FROM '1') EXECUTE FUNCTION users_forms();
--bun:split
INSERT INTO unformed_users (user_id) SELECT id FROM users;
--bun:split
CREATE UNIQUE INDEX users_user_name ON users (user_name_key) WHERE user_name_key IS NOT NULL;

--bun:split

-- API keys that users' programs present at gateways.
CREATE TABLE keys (
    id                   uuid PRIMARY KEY,
    user_id              uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at           timestamptz NOT NULL,
    expires_at           timestamptz,
    last_used_at         timestamptz,               -- approximate, and no part of the user's version
    previous_valid_until timestamptz,
    hash                 bytea NOT NULL,            -- SHA-256 of "ai-admin key v1", a zero byte and the secret
    previous_hash        bytea,
    status               text COLLATE "C" NOT NULL,
    hint                 text COLLATE "C" NOT NULL,
    name                 text NOT NULL,
    created_by           text NOT NULL,
    models               text[]
) WITH (fillfactor = 90);
--bun:split
CREATE UNIQUE INDEX keys_hash ON keys (hash);
--bun:split
CREATE UNIQUE INDEX keys_previous_hash ON keys (previous_hash) WHERE previous_hash IS NOT NULL;
--bun:split
CREATE INDEX keys_user ON keys (user_id);
--bun:split
CREATE INDEX keys_created ON keys (created_at DESC, id DESC);

--bun:split

-- Groups of an identity provider, and their members.
CREATE TABLE groups (
    id           uuid PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    version      bigint NOT NULL,
    display_name text NOT NULL,
    name_key     text COLLATE "C" NOT NULL, -- comparison form
    external_id  text COLLATE "C"
);
--bun:split
CREATE UNIQUE INDEX groups_name ON groups (name_key);
--bun:split
CREATE UNIQUE INDEX groups_external_id ON groups (external_id) WHERE external_id IS NOT NULL;
--bun:split
CREATE TABLE group_members (
    group_id uuid NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
--bun:split
CREATE INDEX group_members_user ON group_members (user_id, group_id);

--bun:split

-- Who read or changed what a security officer has to answer for.
CREATE TABLE audit (
    id         uuid PRIMARY KEY, -- version 7: the order in time
    at         timestamptz NOT NULL,
    actor      text COLLATE "C" NOT NULL,
    action     text COLLATE "C" NOT NULL,
    user_id    uuid,
    provider   text COLLATE "C",
    key_id     text COLLATE "C",
    request_id text NOT NULL,
    source_ip  text NOT NULL,
    outcome    text NOT NULL,
    detail     json NOT NULL DEFAULT '{}',
    bucket     text COLLATE "C",  -- of entries that are counted: one row for each
    count      bigint NOT NULL DEFAULT 1
);
--bun:split
CREATE UNIQUE INDEX audit_bucket ON audit (bucket) WHERE bucket IS NOT NULL;
--bun:split
CREATE INDEX audit_actor ON audit (actor, id);
--bun:split
CREATE INDEX audit_action ON audit (action, id);
--bun:split
CREATE INDEX audit_user ON audit (user_id, id) WHERE user_id IS NOT NULL;

--bun:split

ALTER TABLE claims ADD COLUMN secret text; -- sealed: the secret that the first answer showed
--bun:split
ALTER TABLE events ADD COLUMN trace_parent text NOT NULL DEFAULT '';
