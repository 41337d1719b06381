package store

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

const (
	// The feed has no use for what changed, nor the history for the event's data: each reads one of the two large columns.
	placeColumns = "id, seq, xid::text::bigint, user_id, version, type, at, actor, cause, "

	// What retention has left behind its floor for a claim or for the sink is past it all the same.
	kept          = "(xid, seq) > (SELECT xid, seq FROM feed_floor)"
	selectHistory = "SELECT " + placeColumns + "changes::text FROM events WHERE user_id = $1 AND seq < $2 AND " + kept + " ORDER BY seq DESC LIMIT $3"

	// An event is shown once every transaction that is older than its own has ended: until
	// then one of those could still commit an event that belongs before it.
	final      = "xid < (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT shift FROM feed_floor))::text::xid8"
	selectFeed = "SELECT " + placeColumns + `data::text FROM events
		WHERE (xid, seq) > ($1::text::xid8, $2) AND ` + final + ` ORDER BY xid, seq LIMIT $3`
	selectFloor = "SELECT xid::text::bigint, seq FROM feed_floor"
)

// pageBytes bounds the events of a page, together: the page ends with the event that reaches it.
const pageBytes = 1 << 20

// History returns at most limit of a user's events before a place in the log, newest
// first, without their data. They are fewer if they are large; more reports whether there
// are further ones.
func (s *Store) History(ctx context.Context, id uuid.UUID, before int64, limit int) (entries []user.LogEntry, more bool, err error) {
	return s.entries(ctx, limit, func(e *user.LogEntry) *jsontext.Value { return &e.Changes }, selectHistory, prepared(id, before, limit+1))
}

// Feed returns at most limit events after a place, in the order in which they became
// final, without what they changed. They are fewer if they are large; more reports whether
// there are further ones. See [Store.CheckFloor] for a place before what retention kept.
func (s *Store) Feed(ctx context.Context, after user.Place, limit int) (entries []user.LogEntry, more bool, err error) {
	return s.entries(ctx, limit, func(e *user.LogEntry) *jsontext.Value { return &e.Data }, selectFeed, prepared(number64(after.XID), after.Seq, limit+1))
}

// Floor is where the feed begins: behind the last event that retention has removed.
func (s *Store) Floor(ctx context.Context) (floor user.Place, err error) {
	rows, err := s.pool.QueryContext(ctx, selectFloor, prepared()...)
	if err != nil {
		return floor, translate(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&floor.XID, &floor.Seq); err != nil {
			return floor, translate(err)
		}
	}
	return floor, translate(rows.Err())
}

// CheckFloor is a [user.CursorExpired] error if retention has removed events behind a
// place. Asked after [Store.Feed], it knows of all that were gone when that read.
func (s *Store) CheckFloor(ctx context.Context, after user.Place) error {
	floor, err := s.Floor(ctx)
	if err == nil && (after.XID < floor.XID || after.XID == floor.XID && after.Seq < floor.Seq) {
		err = user.Errorf(user.CursorExpired, "events after this cursor have been removed by retention: read the users anew, then the feed without a cursor")
	}
	return err
}

// entries reads a page, of whose events large names the one large column that was selected.
func (s *Store) entries(ctx context.Context, limit int, large func(*user.LogEntry) *jsontext.Value, query string, args []any) (entries []user.LogEntry, more bool, err error) {
	rows, err := s.pool.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, false, translate(err)
	}
	defer func() { _ = rows.Close() }()
	for bytes := 0; rows.Next(); {
		if len(entries) == limit || bytes >= pageBytes {
			return entries, true, nil
		}
		var e user.LogEntry
		var text []byte
		if err := rows.Scan(&e.ID, &e.Seq, &e.XID, &e.UserID, &e.Version, &e.Type, &e.At, &e.Actor, &e.Cause, &text); err != nil {
			return nil, false, translate(err)
		}
		e.At, *large(&e) = e.At.UTC(), text
		bytes += len(text)
		entries = append(entries, e)
	}
	return entries, false, translate(rows.Err())
}

// Known says whether the log tells of a user.
func (s *Store) Known(ctx context.Context, id uuid.UUID) (bool, error) {
	found, err := queryValues[bool](ctx, s.pool, "SELECT EXISTS (SELECT FROM events WHERE user_id = $1 AND "+kept+")", prepared(id))
	return err == nil && found[0], err
}

// erase removes the personal values of deleted users from the log. Events still to be
// sent keep theirs until they are: a user's events are sent in order, so the deletion's
// own, which is the last, tells of all of them. The text is taken apart as json, never as
// jsonb: that fails on numbers which metadata may hold and numeric cannot, such as 1e-99999.
const erase = `WITH due AS (
		SELECT e.user_id, e.seq FROM erasures e
		WHERE NOT $1 OR NOT EXISTS (SELECT FROM outbox o WHERE o.partition = get_byte(uuid_send(e.user_id), 15) % $2 AND o.seq = e.seq)
		LIMIT $3 FOR UPDATE SKIP LOCKED),
	erased AS (UPDATE events v SET
		data = json_build_object('user', (SELECT json_object_agg(u.key, u.value) FROM json_each(v.data->'user') AS u
			WHERE u.key <> ALL ($4::text[])), 'changed', v.data->'changed'),
		changes = coalesce((SELECT json_agg(CASE WHEN c->>'field' = ANY ($4::text[])
			THEN json_build_object('field', c->'field', 'from', null, 'to', null) ELSE c END)
			FROM json_array_elements(v.changes) AS c), '[]')
		FROM due WHERE v.user_id = due.user_id AND v.seq <= due.seq)
	DELETE FROM erasures USING due WHERE erasures.user_id = due.user_id AND erasures.seq = due.seq`

// Erase removes the [user.PersonalFields] of deleted users from their events, of at most
// limit users, and returns of how many. With pending true, users with events in the outbox
// are left for later.
func (s *Store) Erase(ctx context.Context, pending bool, limit int) (int64, error) {
	result, err := s.pool.ExecContext(ctx, erase, prepared(pending, Partitions, limit, user.PersonalFields())...)
	if err != nil {
		return 0, translate(err)
	}
	return result.RowsAffected()
}

// pruneLog looks at one page of the log: without the bound, a pass that finds nothing to
// remove would read all of it.
const pruneLog = `WITH page AS MATERIALIZED (
		SELECT id, user_id, xid, seq, at FROM events WHERE (xid, seq) > ($1::text::xid8, $2) AND ` + final + ` ORDER BY xid, seq LIMIT $3),
	gone AS (DELETE FROM events USING page WHERE events.id = page.id AND page.at < $4
		AND NOT EXISTS (SELECT FROM claims c WHERE c.event_id = page.id)
		AND ($6 OR NOT EXISTS (SELECT FROM outbox o WHERE o.partition = get_byte(uuid_send(page.user_id), 15) % $5 AND o.seq = page.seq))
		RETURNING events.xid, events.seq, events.user_id),
	unsent AS (DELETE FROM outbox o USING page WHERE $6 AND page.at < $4 AND o.partition = get_byte(uuid_send(page.user_id), 15) % $5 AND o.seq = page.seq),
	last AS (SELECT xid, seq FROM gone ORDER BY xid DESC, seq DESC LIMIT 1),
	raised AS (UPDATE feed_floor SET xid = last.xid, seq = last.seq FROM last WHERE (feed_floor.xid, feed_floor.seq) < (last.xid, last.seq))
	SELECT xid::text::bigint, seq, at < $4, (SELECT count(*) FROM page), (SELECT count(*) FROM gone)
	FROM page ORDER BY xid DESC, seq DESC LIMIT 1`

// Pruned says how far a page of pruning came.
type Pruned struct {
	Removed int64
	Next    user.Place // where the next page begins
	More    bool       // further events may be old enough
}

// Prune looks at the first limit events after a place and removes those from before a
// time, except those that answer a claim and, unless unsent is true, those still to be
// sent. Cursors before a removed event expire, and the feed begins behind it.
func (s *Store) Prune(ctx context.Context, before time.Time, unsent bool, after user.Place, limit int) (Pruned, error) {
	rows, err := s.pool.QueryContext(ctx, pruneLog, prepared(number64(after.XID), after.Seq, limit, before, Partitions, unsent)...)
	if err != nil {
		return Pruned{}, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var pruned Pruned
	for rows.Next() {
		var old bool
		var seen int
		if err := rows.Scan(&pruned.Next.XID, &pruned.Next.Seq, &old, &seen, &pruned.Removed); err != nil {
			return Pruned{}, translate(err)
		}
		pruned.More = old && seen == limit
	}
	return pruned, translate(rows.Err())
}
