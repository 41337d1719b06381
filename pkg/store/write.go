package store

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Write is a user after a change, with the event of the change.
type Write struct {
	// Before is the user as read, nil for a creation. The write is Missed unless the stored
	// version, and the credentials that rotation may have resealed, are still the same.
	Before *user.User
	User   *user.User
	Event  user.Event
	// Sealed are the values to store by provider, Dropped the providers to remove.
	Sealed  map[string]string
	Dropped []string
	// Claim, when not nil, must be free, and is taken until Expires.
	Claim   *user.Claim
	Expires time.Time
}

// Outcome says what a mutating statement did.
type Outcome int

// The outcomes.
const (
	Done    Outcome = iota
	Claimed         // another delivery of the request has done it: see [Store.Replay]
	Busy            // another delivery is doing it at this moment
	Missed          // the row was not as expected: gone, changed, or its precondition fails
)

// Insert makes a user. A taken id, tag, e-mail address or externalId is a [user.Error].
func (s *Store) Insert(ctx context.Context, w Write) (Outcome, error) {
	return s.mutate(ctx, s.pool, insertUser, w.shape(), w.args(), w.Claim)
}

// Update writes a user whose stored version must be the one before; otherwise it is Missed.
func (s *Store) Update(ctx context.Context, w Write) (Outcome, error) {
	return s.mutate(ctx, s.pool, updateUser, w.shape(), w.args(), w.Claim)
}

// Removal is a deletion. What its event tells of the user is filled in by the statement.
type Removal struct {
	ID      uuid.UUID
	Event   user.Event
	IfMatch *user.Precondition
	Claim   *user.Claim
	Expires time.Time
}

// Delete removes a user and its credentials, and completes the removal's event.
func (s *Store) Delete(ctx context.Context, r *Removal) (Outcome, error) {
	var versions []int64
	if r.IfMatch != nil && !r.IfMatch.Any {
		versions = append([]int64{}, r.IfMatch.Versions...)
	}
	args := prepared([16]byte(r.ID), [16]byte(r.Event.ID), r.Event.At, r.Event.Actor, r.Event.Cause, Partition(r.ID), versions)
	args = append(args, claimArgs(r.Claim, r.Event.ID, r.Expires)...)
	var got, done bool
	err := each(ctx, s.pool, deleteUser(r.Claim != nil), args, func(v [][]byte) error {
		if got, done = boolean(v[0]), v[1] != nil; done {
			r.Event.Version, r.Event.Data = integer(v[1]), append([]byte(nil), v[2]...)
		}
		return nil
	})
	if err != nil {
		return Missed, err
	}
	return s.outcome(ctx, got, done, r.Claim)
}

// TakeClaim records a request that changed nothing, so that its repetition changes
// nothing either.
func (s *Store) TakeClaim(ctx context.Context, claim *user.Claim, expires time.Time) (Outcome, error) {
	return s.mutate(ctx, s.pool, takeClaim, shape{}, append(prepared(), claimArgs(claim, uuid.Nil, expires)...), claim)
}

// statement composes the text of a mutation of some shape; it is cheap, and the driver
// keeps the prepared form by text.
type statement func(shape) string

type shape struct{ claimed, sealed bool }

func (w *Write) shape() shape {
	return shape{w.Claim != nil, len(w.Sealed)+len(w.Dropped) > 0}
}

func (w *Write) args() []any {
	args := writeArgs(w.User, w.Event)
	if w.shape().sealed {
		providers, sealed := []string{}, []string{}
		for provider, value := range w.Sealed {
			providers, sealed = append(providers, provider), append(sealed, value)
		}
		args = append(args, providers, sealed, append([]string{}, w.Dropped...))
	}
	args = append(args, claimArgs(w.Claim, w.Event.ID, w.Expires)...)
	if w.Before != nil {
		args = append(args, string(user.AppendCredentials(nil, w.Before.Credentials)))
	}
	return args
}

func claimArgs(claim *user.Claim, event uuid.UUID, expires time.Time) []any {
	if claim == nil {
		return nil
	}
	key := claim.Key()
	var eventID *uuid.UUID
	if event != uuid.Nil {
		eventID = &event
	}
	return []any{key[:], claim.Digest, eventID, expires, int64(binary.BigEndian.Uint64(key[:8]))} //nolint:gosec // any 64 bits do
}

// mutate runs a statement that returns whether the claim's lock was got and whether the
// change was made.
func (s *Store) mutate(ctx context.Context, on querier, text statement, sh shape, args []any, claim *user.Claim) (Outcome, error) {
	var got, done bool
	err := each(ctx, on, text(sh), args, func(v [][]byte) error {
		got, done = boolean(v[0]), boolean(v[1])
		return nil
	})
	if err != nil {
		return Missed, err
	}
	return s.outcome(ctx, got, done, claim)
}

func (s *Store) outcome(_ context.Context, got, done bool, claim *user.Claim) (Outcome, error) {
	switch {
	case done:
		return Done, nil
	case !got:
		return Busy, nil
	case claim != nil:
		return Claimed, nil
	default:
		return Missed, nil
	}
}

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
	same := "id = $1 AND version = $16 - 1 AND credentials::text = $" + number(last) + "::text"
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
	const holds = "id = $1::uuid AND ($7::bigint[] IS NULL OR version = ANY ($7))"
	claim, from := claimCTE(claimed, 7, "SELECT id FROM users WHERE "+holds+" FOR UPDATE"), ""
	if claimed {
		from = " USING claimed"
	}
	return "WITH " + claim + "changed AS (DELETE FROM users" + from + " WHERE " + holds + " RETURNING id, tag, version, feed_xid)" + `,
	dropped AS (DELETE FROM credentials USING changed WHERE user_id = changed.id),
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
	stored AS (INSERT INTO credentials (user_id, provider, sealed)
		SELECT changed.id, s.provider, s.sealed FROM changed, unnest($27::text[], $28::text[]) AS s(provider, sealed)
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
