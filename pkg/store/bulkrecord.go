package store

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"aiadmin/pkg/user"
)

// Record is an event to append to the log, and the claim that it answers.
type Record struct {
	Event *user.Event // nil: the command changed nothing
	Claim *user.Claim // nil: it brought none
	// Expires is the end of the claim.
	Expires time.Time
}

// record appends events in their order, queues them to be sent, and takes claims. In the feed,
// an event comes behind the user's last: also behind the deletion of one that had the same id.
const record = `WITH event AS (INSERT INTO events (xid, id, user_id, version, type, at, actor, cause, data, changes)
		SELECT greatest(feed_xid(), (SELECT e.xid FROM events e WHERE e.user_id = given.user_id ORDER BY e.seq DESC LIMIT 1)), id, user_id, version, type, at, actor, cause, data::json, changes::json
		FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[])
			WITH ORDINALITY AS given(id, user_id, version, type, at, actor, cause, data, changes, n) ORDER BY n
		RETURNING id, seq, user_id, type),
	queued AS (INSERT INTO outbox (partition, seq, event_id, user_id)
		SELECT get_byte(uuid_send(user_id), 15) % $10::int, seq, id, user_id FROM event),
	erasure AS (INSERT INTO erasures (user_id, seq) SELECT user_id, seq FROM event WHERE type = '` + string(user.Deleted) + `')
	INSERT INTO claims (key, digest, user_id, event_id, expires_at)
		SELECT * FROM unnest($11::bytea[], $12::bytea[], $13::uuid[], $14::uuid[], $15::timestamptz[])`

// record appends the events of the bulk to the log and takes its claims. It comes last, so
// that all row locks are held when the log gives the events their places.
func (r *round) record(records []Record) {
	happened := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Event == nil })
	claimed := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Claim == nil })
	if len(happened)+len(claimed) == 0 {
		return
	}
	r.exec(record,
		column(happened, func(r Record) pgtype.UUID { return uuidOf(r.Event.ID) }),
		column(happened, func(r Record) pgtype.UUID { return uuidOf(r.Event.UserID) }),
		column(happened, func(r Record) int64 { return r.Event.Version }),
		column(happened, func(r Record) string { return string(r.Event.Type) }),
		column(happened, func(r Record) time.Time { return r.Event.At }),
		column(happened, func(r Record) string { return r.Event.Actor }),
		column(happened, func(r Record) string { return r.Event.Cause }),
		column(happened, func(r Record) []byte { return r.Event.Data }),
		column(happened, func(r Record) []byte { return r.Event.Changes }),
		Partitions,
		column(claimed, func(r Record) []byte { key := r.Claim.Key(); return key[:] }),
		column(claimed, func(r Record) []byte { return r.Claim.Digest }),
		column(claimed, func(r Record) pgtype.UUID { return ofEvent(r.Event, func(e *user.Event) uuid.UUID { return e.UserID }) }),
		column(claimed, func(r Record) pgtype.UUID { return ofEvent(r.Event, func(e *user.Event) uuid.UUID { return e.ID }) }),
		column(claimed, func(r Record) time.Time { return r.Expires }))
}

// ofEvent is an id of an event, NULL without one.
func ofEvent(e *user.Event, id func(*user.Event) uuid.UUID) pgtype.UUID {
	if e == nil {
		return pgtype.UUID{}
	}
	return uuidOf(id(e))
}
