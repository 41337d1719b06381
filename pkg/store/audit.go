package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/user"
)

// auditing holds the composed statements of the audit log.
type auditing struct {
	insert  string
	entries []*schema.Field
	reveal  string

	log, logSeen string // the history of all users
	events       []*schema.Field
}

func composeAuditing(db *bun.DB) auditing {
	a := auditing{entries: fieldsOf[auditRow](db)}
	// Ordered by bucket, so that two transactions that count in the same buckets never deadlock.
	insert := func() *bun.InsertQuery {
		return db.NewInsert().Model((*auditRow)(nil)).Column(columnsOf(a.entries)...)
	}
	a.insert = insert().TableExpr("(SELECT given.* FROM ? ORDER BY bucket, n) AS given", bun.Safe(given(a.entries, 1))).
		On("CONFLICT (bucket) WHERE bucket IS NOT NULL DO UPDATE").Set("count = a.count + excluded.count").String()
	sealed := db.NewSelect().Model((*credentialRow)(nil)).Column("sealed").Where("c.user_id = $1 AND c.provider = $2")
	recorded := insert().TableExpr("(SELECT given.* FROM ?, sealed) AS given", bun.Safe(given(a.entries, 3))).Returning("id")
	a.reveal = db.NewSelect().With("sealed", sealed).With("recorded", recorded).TableExpr("sealed, recorded").Column("sealed.sealed").String()
	a.composeLog(db)
	return a
}

// composeLog composes the statements that read the history in the order of its ids, which begin with their
// times. Conditions without an index are checked on a bounded number of entries.
func (a *auditing) composeLog(db *bun.DB) {
	a.events = fieldsOf[EventRow](db, "data")
	columns := columnsOf(a.events)
	seen := func(columns ...string) *bun.SelectQuery {
		return db.NewSelect().Model((*EventRow)(nil)).Column(columns...).Where("e.id >= $1 AND e.id < $2").Where(kept).OrderExpr("e.id DESC")
	}
	a.log = db.NewSelect().TableExpr("(? LIMIT $3) AS e", seen(columns...)).Column(columns...).
		Where("e.at >= $4 AND e.at < $5 AND ($6 = '' OR e.actor = $6)").
		Where("$7 = '' OR EXISTS (SELECT FROM json_array_elements(e.changes) AS c WHERE c->>'field' = $7)").
		OrderExpr("e.id DESC LIMIT $8").String()
	a.logSeen = db.NewSelect().ColumnExpr("(? LIMIT 1 OFFSET $3 - 1)", seen("id")).String()
}

// auditRowOf returns an entry's row. An entry without an id gets a new one; without a time it gets
// the id's.
func auditRowOf(e user.AuditEntry) auditRow {
	row := auditRow{ID: e.ID, At: e.At, Actor: e.Actor, Action: string(e.Action), Provider: textOrNull(e.Provider), KeyID: textOrNull(e.KeyID),
		RequestID: e.RequestID, SourceIP: e.SourceIP, Outcome: string(e.Outcome), Detail: e.Detail, Bucket: textOrNull(e.Bucket), Count: max(1, e.Count)}
	if e.UserID != uuid.Nil {
		row.UserID = &e.UserID
	}
	if row.ID == uuid.Nil {
		row.ID = user.NewID()
	}
	if row.At.IsZero() {
		row.At = time.Unix(row.ID.Time().UnixTime()) // version 7: milliseconds
	}
	if row.Outcome == "" {
		row.Outcome = string(user.Succeeded)
	}
	return row
}

func (r auditRow) entry() user.AuditEntry {
	e := user.AuditEntry{ID: r.ID, At: r.At.UTC(), Actor: r.Actor, Action: user.AuditAction(r.Action), Provider: orEmpty(r.Provider),
		KeyID: orEmpty(r.KeyID), RequestID: r.RequestID, SourceIP: r.SourceIP, Outcome: user.AuditOutcome(r.Outcome), Detail: r.Detail,
		Bucket: orEmpty(r.Bucket), Count: r.Count}
	if r.UserID != nil {
		e.UserID = *r.UserID
	}
	return e
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// auditRows returns the rows of entries, one for those of the same bucket.
func auditRows(entries []user.AuditEntry) (rows []auditRow) {
	places := map[string]int{} // of buckets
	for _, e := range entries {
		if place, ok := places[e.Bucket]; ok && e.Bucket != "" {
			rows[place].Count += max(1, e.Count)
			continue
		}
		places[e.Bucket] = len(rows)
		rows = append(rows, auditRowOf(e))
	}
	return rows
}

// audit appends entries to the audit log, in the transaction whose work they record.
func (tx *Tx) audit(records []Record) {
	var entries []user.AuditEntry
	for i := range records {
		entries = append(entries, records[i].Audit...)
	}
	if len(entries) > 0 {
		st := &tx.store.statements().auditing
		tx.next.exec(st.insert, arrays(st.entries, auditRows(entries))...)
	}
}

// AuditIn appends an entry in the transaction whose work it records.
func (s *Store) AuditIn(ctx context.Context, tx bun.IDB, entry user.AuditEntry) error {
	row := auditRowOf(entry)
	if row.Detail == nil {
		row.Detail = jsontext.Value("{}")
	}
	_, err := tx.NewInsert().Model(&row).Exec(ctx)
	return Translate(err)
}

// WriteAudit appends entries to the audit log. If an entry's bucket exists already, the entry is
// added to its count.
func (s *Store) WriteAudit(ctx context.Context, entries []user.AuditEntry) error {
	st := &s.statements().auditing
	_, err := s.pool.Exec(ctx, st.insert, prepared(arrays(st.entries, auditRows(entries))...)...)
	return Translate(err)
}

// Reveal records an entry and returns the sealed value of one credential, in one statement: neither
// happens without the other. If there is none, it fails with [user.NotFound] and records nothing.
func (s *Store) Reveal(ctx context.Context, id uuid.UUID, provider string, entry user.AuditEntry) (string, error) {
	st := &s.statements().auditing
	args := append([]any{[16]byte(id), provider}, arrays(st.entries, []auditRow{auditRowOf(entry)})...)
	sealed, err := queryValues[string](ctx, s.pool, st.reveal, prepared(args...))
	if err != nil {
		return "", err
	}
	if len(sealed) == 0 {
		return "", user.Errorf(user.NotFound, "no such user, or no credential for this provider")
	}
	return sealed[0], nil
}

// Audit returns the audit entries that a query selects, newest first, and at most limit.
func (s *Store) Audit(ctx context.Context, q user.AuditQuery, limit int) ([]user.AuditEntry, error) {
	var rows []auditRow
	find := s.db.NewSelect().Model(&rows).OrderExpr("a.id DESC").Limit(int64(limit))
	if q.Actor != "" {
		find = find.Where("a.actor = ?", q.Actor)
	}
	if q.Action != "" {
		find = find.Where("a.action = ?", string(q.Action))
	}
	if q.UserID != uuid.Nil {
		find = find.Where("a.user_id = ?", q.UserID)
	}
	if q.Before != uuid.Nil {
		find = find.Where("a.id < ?", q.Before)
	}
	if !q.From.IsZero() { // ids begin with their times, in milliseconds, and have the index
		find = find.Where("a.id >= ? AND a.at >= ?", firstIDAt(q.From), q.From)
	}
	if !q.To.IsZero() {
		find = find.Where("a.id < ? AND a.at < ?", firstIDAt(q.To.Add(time.Millisecond)), q.To)
	}
	if err := find.Scan(ctx); err != nil {
		return nil, Translate(err)
	}
	return rowsOf(rows, auditRow.entry), nil
}

// firstIDAt returns a UUID not above the first version 7 UUID of a time.
func firstIDAt(t time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, t.UnixMilli()))<<16) //nolint:gosec // not negative
	return id
}

// RemoveOldAudit deletes at most limit audit entries from before a time and returns how many it deleted.
func (s *Store) RemoveOldAudit(ctx context.Context, before time.Time, limit int) (int64, error) {
	old := s.db.NewSelect().Model((*auditRow)(nil)).Column("id").Where("a.id < ?", firstIDAt(before)).OrderExpr("a.id").
		Limit(int64(limit)).For("UPDATE SKIP LOCKED")
	result, err := s.db.NewDelete().Model((*auditRow)(nil)).Where("id IN (?)", old).Exec(ctx)
	if err != nil {
		return 0, Translate(err)
	}
	return result.RowsAffected()
}

// usualLogBudget is how many entries of the history one page examines: for a field that hardly ever
// changes, it would otherwise read all.
const usualLogBudget = 20_000

// Log returns the history entries of all users that a query selects, newest first, and at most limit. If
// it gave up with entries left to examine, it also returns the last one examined, from which to
// continue.
func (s *Store) Log(ctx context.Context, q user.LogQuery, limit int) (found []user.LogEntry, seen uuid.UUID, err error) {
	st := &s.statements().auditing
	to := q.To
	if to.IsZero() {
		to = maxTime
	}
	from, before := firstIDAt(q.From), firstIDAt(to.Add(time.Millisecond))
	if q.Before != uuid.Nil && bytes.Compare(q.Before[:], before[:]) < 0 {
		before = q.Before
	}
	bounds := []any{[16]byte(from), [16]byte(before), s.logBudget}
	rows, err := collect[EventRow](ctx, s.pool, st.log, st.events, append(bounds, q.From, to, q.Actor, q.Field, int64(limit))...)
	if err != nil || len(rows) == limit {
		return rowsOf(rows, EventRow.entry), uuid.Nil, err
	}
	last, err := queryValues[*[16]byte](ctx, s.pool, st.logSeen, prepared(bounds...))
	if err == nil && last[0] != nil {
		seen = *last[0]
	}
	return rowsOf(rows, EventRow.entry), seen, err
}

// maxTime is later than every entry, and within what a version 7 UUID and PostgreSQL can hold.
var maxTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
