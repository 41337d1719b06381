package store

import (
	"strings"

	"aiadmin/pkg/user"
)

// The statements that change users: testdata/mutations.sql has them whole.

// The parameters of a user and its event, in the order of writeArgs.
const (
	insertColumns = `id, tag, name, name_key, email, email_key, role, status, models, requests_per_minute,
	tokens_per_minute, monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at, facets`
	insertValues = `$1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text[], $10::bigint,
	$11::bigint, $12::bigint, $13::json, $14::json, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz, $19::text[]`
	writeParams = 26
	claimParams = 5
)

func insertUser(sh shape) string {
	var b strings.Builder
	claim, from := claimCTE(sh.claimed, writeParams+sealedParams(sh), ""), ""
	if sh.claimed {
		from = " FROM claimed"
	}
	b.WriteString("WITH " + claim)
	b.WriteString("changed AS (INSERT INTO users (" + insertColumns + ") SELECT " + insertValues + from + " RETURNING id, feed_xid)")
	b.WriteString(sealedCTE(sh))
	b.WriteString(eventCTE)
	b.WriteString(resultOf(sh.claimed))
	return b.String()
}

func updateUser(sh shape) string {
	var b strings.Builder
	params, from := writeParams+sealedParams(sh), ""
	last := params + 1
	if sh.claimed {
		last, from = params+claimParams+1, " FROM claimed"
	}
	// The version alone would do, did it not begin anew for a user that is deleted and made again.
	same := "id = $1 AND version = $16 - 1 AND created_at = $17 AND credentials::text = $" + number(last) + "::text"
	claim := claimCTE(sh.claimed, params, "SELECT id FROM users WHERE "+same+" FOR UPDATE")
	b.WriteString("WITH " + claim)
	b.WriteString("changed AS (UPDATE users SET (" + insertColumns + ", feed_xid) = ROW(" + insertValues + ", greatest(feed_xid, feed_xid()))" + from +
		" WHERE " + same + " RETURNING id, feed_xid)")
	b.WriteString(sealedCTE(sh))
	b.WriteString(eventCTE)
	b.WriteString(resultOf(sh.claimed))
	return b.String()
}

func deleteUser(claimed bool) string {
	const holds = "id = $1::uuid AND ($7::bigint[] IS NULL OR version = ANY ($7)) AND ($8::text = '' OR tag = $8)"
	claim, from := claimCTE(claimed, 8, "SELECT id FROM users WHERE "+holds+" FOR UPDATE"), ""
	if claimed {
		from = " USING claimed"
	}
	return "WITH " + claim + "changed AS (DELETE FROM users" + from + " WHERE " + holds + " RETURNING id, tag, version, feed_xid)" + `,
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT greatest(feed_xid, feed_xid()), $2::uuid, id, version + 1, '` + string(user.Deleted) + `', $3::timestamptz, $4::text, $5::text,
			('{"user":{"id":"' || id || '","tag":"' || tag || '"},"changed":[]}')::json, '[]'
		FROM changed RETURNING id, seq, user_id, version, data),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $6::smallint, seq, id, user_id FROM event),
	erasure AS (INSERT INTO erasures (user_id, seq) SELECT user_id, seq FROM event)
	SELECT ` + lockGot(claimed) + ", (SELECT version FROM event), (SELECT data::text FROM event)"
}

// claimCTE takes the claim: a lock that tells of a delivery at work, then, once the row
// that the change needs is locked, the claim itself. The event's order follows from that
// of the row locks.
func claimCTE(claimed bool, params int, row string) string {
	if !claimed {
		return ""
	}
	from := "attempt"
	locked := ""
	if row != "" {
		locked = "locked AS (" + row + "), "
		from = "attempt, locked"
	}
	return "attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($" + number(params+claimParams) + "::bigint) AS got), " + locked +
		"claimed AS (INSERT INTO claims (key, digest, user_id, event_id, expires_at) SELECT $" + number(params+1) + "::bytea, $" +
		number(params+2) + "::bytea, $1::uuid, $" + number(params+3) + "::uuid, $" + number(params+4) + "::timestamptz FROM " + from +
		" WHERE got ON CONFLICT (key) DO NOTHING RETURNING key), "
}

func takeClaim(shape) string {
	return `WITH attempt AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($5::bigint) AS got),
	claimed AS (INSERT INTO claims (key, digest, event_id, expires_at)
		SELECT $1::bytea, $2::bytea, $3::uuid, $4::timestamptz FROM attempt WHERE got ON CONFLICT (key) DO NOTHING RETURNING key)
	SELECT (SELECT got FROM attempt), EXISTS (SELECT FROM claimed)`
}

func sealedParams(sh shape) int {
	if sh.sealed {
		return 3
	}
	return 0
}

// sealedCTE stores and removes sealed values: $27 providers, $28 their values, $29 providers to drop.
func sealedCTE(sh shape) string {
	if !sh.sealed {
		return ""
	}
	return `,
	stored AS (INSERT INTO credentials (user_id, provider, sealed, user_created_at)
		SELECT changed.id, s.provider, s.sealed, $17 FROM changed, unnest($27::text[], $28::text[]) AS s(provider, sealed)
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed),
	dropped AS (DELETE FROM credentials USING changed WHERE user_id = changed.id AND provider = ANY ($29::text[]))`
}

const eventCTE = `,
	event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT feed_xid, $20::uuid, id, $16, $21::text, $18, $22::text, $23::text, $24::json, $25::json FROM changed RETURNING id, seq, user_id),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $26::smallint, seq, id, user_id FROM event)`

func resultOf(claimed bool) string {
	return "\n\tSELECT " + lockGot(claimed) + ", EXISTS (SELECT FROM event)"
}

func lockGot(claimed bool) string {
	if claimed {
		return "(SELECT got FROM attempt)"
	}
	return "true"
}
