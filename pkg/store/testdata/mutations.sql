-- claim alone
WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($5::bigint) AS got),
	claimed AS (INSERT INTO claims (key, digest, event_id, expires_at)
		SELECT $1::bytea, $2::bytea, $3::uuid, $4::timestamptz FROM attempt WHERE got ON CONFLICT (key) DO NOTHING RETURNING key)
	SELECT (SELECT got FROM attempt), EXISTS (SELECT FROM claimed);

-- delete
WITH changed AS (DELETE FROM users WHERE id = $1::uuid AND ($7::bigint[] IS NULL OR version = ANY ($7)) AND ($8::text = '' OR tag = $8) RETURNING id, tag, version, feed_xid),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT greatest(feed_xid, feed_xid()), $2::uuid, id, version + 1, 'ai.admin.user.deleted', $3::timestamptz, $4::text, $5::text,
			('{"user":{"id":"' || id || '","tag":"' || tag || '"},"changed":[]}')::json, '[]'
		FROM changed RETURNING id, seq, user_id, version, data),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $6::smallint, seq, id, user_id FROM event),
	erasure AS (INSERT INTO erasures (user_id, seq) SELECT user_id, seq FROM event)
	SELECT true, (SELECT version FROM event), (SELECT data::text FROM event);

-- delete claimed
WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($13::bigint) AS got), locked AS (SELECT id FROM users WHERE id = $1::uuid AND ($7::bigint[] IS NULL OR version = ANY ($7)) AND ($8::text = '' OR tag = $8) FOR UPDATE), claimed AS (INSERT INTO claims (key, digest, user_id, event_id, expires_at) SELECT $9::bytea, $10::bytea, $1::uuid, $11::uuid, $12::timestamptz FROM attempt, locked WHERE got ON CONFLICT (key) DO NOTHING RETURNING key), changed AS (DELETE FROM users USING claimed WHERE id = $1::uuid AND ($7::bigint[] IS NULL OR version = ANY ($7)) AND ($8::text = '' OR tag = $8) RETURNING id, tag, version, feed_xid),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT greatest(feed_xid, feed_xid()), $2::uuid, id, version + 1, 'ai.admin.user.deleted', $3::timestamptz, $4::text, $5::text,
			('{"user":{"id":"' || id || '","tag":"' || tag || '"},"changed":[]}')::json, '[]'
		FROM changed RETURNING id, seq, user_id, version, data),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $6::smallint, seq, id, user_id FROM event),
	erasure AS (INSERT INTO erasures (user_id, seq) SELECT user_id, seq FROM event)
	SELECT (SELECT got FROM attempt), (SELECT version FROM event), (SELECT data::text FROM event);

-- insert
WITH changed AS (INSERT INTO users (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets) SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[] RETURNING id, feed_xid),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT true, EXISTS (SELECT FROM event);

-- insert claimed
WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($31::bigint) AS got), claimed AS (INSERT INTO claims (key, digest, user_id, event_id, expires_at) SELECT $27::bytea, $28::bytea, $1::uuid, $29::uuid, $30::timestamptz FROM attempt WHERE got ON CONFLICT (key) DO NOTHING RETURNING key), changed AS (INSERT INTO users (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets) SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[] FROM claimed RETURNING id, feed_xid),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT (SELECT got FROM attempt), EXISTS (SELECT FROM event);

-- insert claimed sealed
WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($34::bigint) AS got), claimed AS (INSERT INTO claims (key, digest, user_id, event_id, expires_at) SELECT $30::bytea, $31::bytea, $1::uuid, $32::uuid, $33::timestamptz FROM attempt WHERE got ON CONFLICT (key) DO NOTHING RETURNING key), changed AS (INSERT INTO users (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets) SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[] FROM claimed RETURNING id, feed_xid),
	stored AS (INSERT INTO credentials (user_id, provider, sealed, user_created_at)
		SELECT changed.id, s.provider, s.sealed, $17 FROM changed, unnest($27::text[], $28::text[]) AS s(provider, sealed)
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed),
	dropped AS (DELETE FROM credentials USING changed WHERE user_id = changed.id AND provider = ANY ($29::text[])),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT (SELECT got FROM attempt), EXISTS (SELECT FROM event);

-- insert sealed
WITH changed AS (INSERT INTO users (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets) SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[] RETURNING id, feed_xid),
	stored AS (INSERT INTO credentials (user_id, provider, sealed, user_created_at)
		SELECT changed.id, s.provider, s.sealed, $17 FROM changed, unnest($27::text[], $28::text[]) AS s(provider, sealed)
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed),
	dropped AS (DELETE FROM credentials USING changed WHERE user_id = changed.id AND provider = ANY ($29::text[])),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT true, EXISTS (SELECT FROM event);

-- update
WITH changed AS (UPDATE users SET (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets, feed_xid) = ROW($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[], greatest(feed_xid, feed_xid())) WHERE id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $27::text RETURNING id, feed_xid),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT true, EXISTS (SELECT FROM event);

-- update claimed
WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($31::bigint) AS got), locked AS (SELECT id FROM users WHERE id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $32::text FOR UPDATE), claimed AS (INSERT INTO claims (key, digest, user_id, event_id, expires_at) SELECT $27::bytea, $28::bytea, $1::uuid, $29::uuid, $30::timestamptz FROM attempt, locked WHERE got ON CONFLICT (key) DO NOTHING RETURNING key), changed AS (UPDATE users SET (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets, feed_xid) = ROW($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[], greatest(feed_xid, feed_xid())) FROM claimed WHERE id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $32::text RETURNING id, feed_xid),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT (SELECT got FROM attempt), EXISTS (SELECT FROM event);

-- update claimed sealed
WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($34::bigint) AS got), locked AS (SELECT id FROM users WHERE id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $35::text FOR UPDATE), claimed AS (INSERT INTO claims (key, digest, user_id, event_id, expires_at) SELECT $30::bytea, $31::bytea, $1::uuid, $32::uuid, $33::timestamptz FROM attempt, locked WHERE got ON CONFLICT (key) DO NOTHING RETURNING key), changed AS (UPDATE users SET (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets, feed_xid) = ROW($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[], greatest(feed_xid, feed_xid())) FROM claimed WHERE id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $35::text RETURNING id, feed_xid),
	stored AS (INSERT INTO credentials (user_id, provider, sealed, user_created_at)
		SELECT changed.id, s.provider, s.sealed, $17 FROM changed, unnest($27::text[], $28::text[]) AS s(provider, sealed)
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed),
	dropped AS (DELETE FROM credentials USING changed WHERE user_id = changed.id AND provider = ANY ($29::text[])),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT (SELECT got FROM attempt), EXISTS (SELECT FROM event);

-- update sealed
WITH changed AS (UPDATE users SET (id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets, feed_xid) = ROW($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[], greatest(feed_xid, feed_xid())) WHERE id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $30::text RETURNING id, feed_xid),
	stored AS (INSERT INTO credentials (user_id, provider, sealed, user_created_at)
		SELECT changed.id, s.provider, s.sealed, $17 FROM changed, unnest($27::text[], $28::text[]) AS s(provider, sealed)
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed),
	dropped AS (DELETE FROM credentials USING changed WHERE user_id = changed.id AND provider = ANY ($29::text[])),
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)
	SELECT true, EXISTS (SELECT FROM event);

