package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

const logColumns = "id, seq, xid::text::bigint, user_id, version, type, at, actor, cause, data::text, changes::text"

const (
	selectHistory = "SELECT " + logColumns + " FROM events WHERE user_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"

	// An event is shown once every transaction that is older than its own has ended: until
	// then one of those could still commit an event that belongs before it.
	selectFeed = "SELECT " + logColumns + ` FROM events
		WHERE (xid, seq) > ($1::text::xid8, $2) AND xid < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY xid, seq LIMIT $3`
	selectFloor = "SELECT xid::text::bigint, seq FROM feed_floor"
)

// History returns a user's events before a place in the log, newest first.
func (s *Store) History(ctx context.Context, id uuid.UUID, before int64, limit int) ([]user.LogEntry, error) {
	return s.entries(ctx, selectHistory, prepared(id, before, limit))
}

// Feed returns the events after a place, in the order in which they became final. A place
// before what retention kept is [user.CursorExpired].
func (s *Store) Feed(ctx context.Context, after user.Place, limit int) ([]user.LogEntry, error) {
	if after != (user.Place{}) {
		if err := s.checkFloor(ctx, after); err != nil {
			return nil, err
		}
	}
	return s.entries(ctx, selectFeed, prepared(number64(after.XID), after.Seq, limit))
}

func (s *Store) checkFloor(ctx context.Context, after user.Place) error {
	rows, err := s.db.DB.QueryContext(ctx, selectFloor, prepared()...)
	if err != nil {
		return translate(err)
	}
	defer func() { _ = rows.Close() }()
	var floor user.Place
	for rows.Next() {
		if err := rows.Scan(&floor.XID, &floor.Seq); err != nil {
			return translate(err)
		}
	}
	if after.XID < floor.XID || after.XID == floor.XID && after.Seq < floor.Seq {
		return user.Errorf(user.CursorExpired, "events after this cursor have been removed by retention: read the users anew, then the feed without a cursor")
	}
	return translate(rows.Err())
}

func (s *Store) entries(ctx context.Context, query string, args []any) ([]user.LogEntry, error) {
	rows, err := s.db.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, translate(err)
	}
	return scanEntries(rows)
}

func scanEntries(rows *sql.Rows) ([]user.LogEntry, error) {
	defer func() { _ = rows.Close() }()
	var entries []user.LogEntry
	for rows.Next() {
		var e user.LogEntry
		var data, changes string
		if err := rows.Scan(&e.ID, &e.Seq, &e.XID, &e.UserID, &e.Version, &e.Type, &e.At, &e.Actor, &e.Cause, &data, &changes); err != nil {
			return nil, translate(err)
		}
		e.At, e.Data, e.Changes = e.At.UTC(), []byte(data), []byte(changes)
		entries = append(entries, e)
	}
	return entries, translate(rows.Err())
}

// Known says whether the log has ever heard of a user.
func (s *Store) Known(ctx context.Context, id uuid.UUID) (bool, error) {
	found, err := queryValues[bool](ctx, s.db.DB, "SELECT EXISTS (SELECT FROM events WHERE user_id = $1)", prepared(id))
	return err == nil && found[0], err
}

// erase removes the personal values of deleted users from the log. Events still to be
// sent keep theirs until they are: with a sink, a user waits until none is pending.
const erase = `WITH due AS (
		SELECT e.user_id, e.seq FROM erasures e
		WHERE NOT $1 OR NOT EXISTS (SELECT FROM outbox o WHERE o.partition = get_byte(uuid_send(e.user_id), 15) % $2
			AND o.user_id = e.user_id AND o.seq <= e.seq)
		LIMIT $3 FOR UPDATE SKIP LOCKED),
	erased AS (UPDATE events v SET
		data = CASE WHEN v.type = '` + string(user.Deleted) + `' THEN v.data ELSE
			(v.data::jsonb #- '{user,name}' #- '{user,email}' #- '{user,externalId}' #- '{user,metadata}')::json END,
		changes = coalesce((SELECT json_agg(CASE WHEN c->>'field' IN ('name', 'email', 'externalId', 'metadata')
			THEN json_build_object('field', c->'field', 'from', null, 'to', null) ELSE c END)
			FROM json_array_elements(v.changes) AS c), '[]')
		FROM due WHERE v.user_id = due.user_id AND v.seq <= due.seq)
	DELETE FROM erasures USING due WHERE erasures.user_id = due.user_id AND erasures.seq = due.seq`

// Erase removes the name, e-mail address, externalId and metadata of deleted users from
// their events, of at most limit users, and returns of how many. With pending true, users
// with events in the outbox are left for later.
func (s *Store) Erase(ctx context.Context, pending bool, limit int) (int64, error) {
	result, err := s.db.DB.ExecContext(ctx, erase, prepared(pending, Partitions, limit)...)
	if err != nil {
		return 0, translate(err)
	}
	return result.RowsAffected()
}

const pruneLog = `WITH old AS (
		SELECT id, xid, seq FROM events
		WHERE at < $1 AND xid < pg_snapshot_xmin(pg_current_snapshot())
			AND NOT EXISTS (SELECT FROM outbox o WHERE o.event_id = events.id)
			AND NOT EXISTS (SELECT FROM claims c WHERE c.event_id = events.id)
		ORDER BY xid, seq LIMIT $2),
	gone AS (DELETE FROM events USING old WHERE events.id = old.id),
	last AS (SELECT xid, seq FROM old ORDER BY xid DESC, seq DESC LIMIT 1)
	UPDATE feed_floor SET xid = last.xid, seq = last.seq FROM last WHERE (feed_floor.xid, feed_floor.seq) < (last.xid, last.seq)`

// Prune removes at most limit events older than a time from the log, except those still
// to be sent and those that answer a claim. Cursors before them expire.
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) (int64, error) {
	result, err := s.db.DB.ExecContext(ctx, pruneLog, prepared(before, limit)...)
	if err != nil {
		return 0, translate(err)
	}
	return result.RowsAffected()
}
