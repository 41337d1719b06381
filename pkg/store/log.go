package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/user"
)

const (
	// Readers do not see events before the floor, even those that retention kept for a claim or for
	// the sink.
	kept = "(e.xid, e.seq) > (SELECT xid, seq FROM feed_floor)"
	// An event is shown once every transaction that is older than its own has ended: until
	// then one of those could still commit an event that belongs before it.
	final = "e.xid < (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT shift FROM feed_floor))::text::xid8"
)

// logReading are the composed statements that read the event log.
type logReading struct {
	history, feed, known string
	ofHistory, ofFeed    []*schema.Field
}

func composeLog(db *bun.DB) logReading {
	history, feed := fieldsOf[EventRow](db, "data"), fieldsOf[EventRow](db, "changes")
	events := func() *bun.SelectQuery { return db.NewSelect().Model((*EventRow)(nil)) }
	return logReading{
		history: events().Column(columnsOf(history)...).Where("e.user_id = $1 AND e.seq < $2").Where(kept).OrderExpr("e.seq DESC LIMIT $3").String(),
		feed:    events().Column(columnsOf(feed)...).Where("(e.xid, e.seq) > ($1::text::xid8, $2)").Where(final).OrderExpr("e.xid, e.seq LIMIT $3").String(),
		known:   events().ColumnExpr("true").Where("e.user_id = $1").Where(kept).Limit(1).String(),

		ofHistory: history, ofFeed: feed,
	}
}

// pageBytes bounds a page's events in total: the page ends with the event that reaches it.
const pageBytes = 1 << 20

// History returns at most limit of a user's events before a place in the log, newest first, without
// their data. It returns fewer if they are large; more reports whether others follow.
func (s *Store) History(ctx context.Context, id uuid.UUID, before int64, limit int) (entries []user.LogEntry, more bool, err error) {
	return s.entries(ctx, limit, s.statements().log.history, s.statements().log.ofHistory, id, before, limit+1)
}

// Feed returns at most limit events after a place, in the order in which they became final, without
// what they changed. It returns fewer if they are large; more reports whether others follow. See
// [Store.CheckFloor] for a place before the floor.
func (s *Store) Feed(ctx context.Context, after user.Place, limit int) (entries []user.LogEntry, more bool, err error) {
	return s.entries(ctx, limit, s.statements().log.feed, s.statements().log.ofFeed, fmt.Sprint(after.XID), after.Seq, limit+1)
}

// Floor returns where the feed begins: behind the last event that retention has removed.
func (s *Store) Floor(ctx context.Context) (user.Place, error) {
	var floor feedFloorRow
	err := s.db.NewSelect().Model(&floor).Column("xid", "seq").Scan(ctx)
	return user.Place{XID: floor.XID, Seq: floor.Seq}, Translate(err)
}

// CheckFloor returns a [user.CursorExpired] error if retention has removed events after a place, or if
// the database has never reached the place, which means that a failover lost events that were shown and
// that new events would sort before it. Called after [Store.Feed], it knows of every event that was gone by
// then.
func (s *Store) CheckFloor(ctx context.Context, after user.Place) error {
	var place struct {
		Before bool // the first event that is kept
		Beyond bool // every event that there is or has been
	}
	const read = `SELECT (?::text::xid8, ?::bigint) < (f.xid, f.seq) AS before,
		?::text::xid8 > greatest((SELECT xid FROM events ORDER BY xid DESC, seq DESC LIMIT 1), f.xid,
			(pg_snapshot_xmax(pg_current_snapshot())::text::bigint + f.shift)::text::xid8) AS beyond FROM feed_floor AS f`
	xid := fmt.Sprint(after.XID)
	err := s.db.NewRaw(read, xid, after.Seq, xid).Scan(ctx, &place)
	switch {
	case err != nil:
		return Translate(err)
	case place.Before:
		return user.Errorf(user.CursorExpired, "events after this cursor have been removed by retention: read the users anew, then the feed without a cursor")
	case place.Beyond:
		return user.Errorf(user.CursorExpired, "the database has lost the events up to this cursor in a failover: read the users anew, then the feed without a cursor")
	}
	return nil
}

func (s *Store) entries(ctx context.Context, limit int, text string, fields []*schema.Field, args ...any) (entries []user.LogEntry, more bool, err error) {
	rows, err := s.pool.Query(ctx, text, prepared(args...)...)
	if err != nil {
		return nil, false, Translate(err)
	}
	defer rows.Close()
	for bytes := 0; rows.Next(); {
		if len(entries) == limit || bytes >= pageBytes {
			return entries, true, nil
		}
		var row EventRow
		if err := scanRow(rows, fields, &row); err != nil {
			return nil, false, Translate(err)
		}
		bytes += len(row.Data) + len(row.Changes)
		entries = append(entries, row.entry())
	}
	return entries, false, Translate(rows.Err())
}

// Known reports whether the log has an event of a user.
func (s *Store) Known(ctx context.Context, id uuid.UUID) (bool, error) {
	found, err := queryValues[bool](ctx, s.pool, s.statements().log.known, prepared(id))
	return len(found) > 0, err
}

// Partitions divide the outbox by a hash of the user's id: see pkg/relay.
const Partitions = 16

// erase removes the personal values of deleted users from the log. Events that are still to be sent
// keep theirs until then: a user's events are sent in order, so the deletion's own event, the last,
// stands for all. The text is taken apart as json, never as jsonb: that fails on numbers which
// metadata may hold and numeric cannot, such as 1e-99999.
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

// Erase removes the [user.PersonalFields] of at most limit deleted users from their events, and
// returns how many users those were. If pending is true, users with events in the outbox are left for later.
func (s *Store) Erase(ctx context.Context, pending bool, limit int) (int64, error) {
	result, err := s.pool.Exec(ctx, erase, prepared(pending, Partitions, limit, user.PersonalFields())...)
	if err != nil {
		return 0, Translate(err)
	}
	return result.RowsAffected(), nil
}

// pruneLog examines one page of the log: without the bound, a pass that finds nothing to remove
// would read all of it.
const pruneLog = `WITH page AS MATERIALIZED (
		SELECT id, user_id, xid, seq, at FROM events AS e WHERE (xid, seq) > ($1::text::xid8, $2) AND ` + final + ` ORDER BY xid, seq LIMIT $3),
	gone AS (DELETE FROM events USING page WHERE events.id = page.id AND page.at < $4
		AND NOT EXISTS (SELECT FROM claims c WHERE c.event_id = page.id)
		AND ($6 OR NOT EXISTS (SELECT FROM outbox o WHERE o.partition = get_byte(uuid_send(page.user_id), 15) % $5 AND o.seq = page.seq))
		RETURNING events.xid, events.seq, events.user_id),
	unsent AS (DELETE FROM outbox o USING page WHERE $6 AND page.at < $4 AND o.partition = get_byte(uuid_send(page.user_id), 15) % $5 AND o.seq = page.seq),
	last AS (SELECT xid, seq FROM gone ORDER BY xid DESC, seq DESC LIMIT 1),
	raised AS (UPDATE feed_floor SET xid = last.xid, seq = last.seq FROM last WHERE (feed_floor.xid, feed_floor.seq) < (last.xid, last.seq))
	SELECT xid::text::bigint, seq, at < $4, (SELECT count(*) FROM page), (SELECT count(*) FROM gone)
	FROM page ORDER BY xid DESC, seq DESC LIMIT 1`

// Pruned is the result of one call of [Store.Prune].
type Pruned struct {
	Removed int64
	Next    user.Place // where the next page begins
	More    bool       // further events may be old enough
}

// Prune looks at the first limit events after a place and removes those from before a
// time, except those that answer a claim and, unless unsent is true, those still to be
// sent. Cursors before a removed event expire, and the feed begins behind it.
func (s *Store) Prune(ctx context.Context, before time.Time, unsent bool, after user.Place, limit int) (Pruned, error) {
	rows, err := s.pool.Query(ctx, pruneLog, prepared(fmt.Sprint(after.XID), after.Seq, limit, before, Partitions, unsent)...)
	if err != nil {
		return Pruned{}, Translate(err)
	}
	var pruned Pruned
	var old bool
	var seen int
	_, err = pgx.ForEachRow(rows, []any{&pruned.Next.XID, &pruned.Next.Seq, &old, &seen, &pruned.Removed}, func() error {
		pruned.More = old && seen == limit
		return nil
	})
	return pruned, Translate(err)
}

// RemoveExpiredClaims deletes at most limit claims that are past their time and returns
// how many it deleted.
func (s *Store) RemoveExpiredClaims(ctx context.Context, now time.Time, limit int) (int64, error) {
	expired := s.db.NewSelect().Model((*claimRow)(nil)).Column("key").Where("expires_at < ?", now).Limit(int64(limit)).For("UPDATE SKIP LOCKED")
	result, err := s.db.NewDelete().Model((*claimRow)(nil)).Where("key IN (?)", expired).Exec(ctx)
	if err != nil {
		return 0, Translate(err)
	}
	return result.RowsAffected()
}
