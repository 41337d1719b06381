package relay

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// The statements here are raw, since Bun cannot express LATERAL joins over arrays. They are planned
// each time, for their arrays' real lengths: a plan cached while the outbox was empty would later
// read all of it.
const planned = pgx.QueryExecModeExec

const (
	userEvents = 32      // of one user, read at once
	readBytes  = 4 << 20 // of events, read at once
	maxHeld    = 8 << 20 // bytes of events in memory, and at most readBytes more
)

// selectUnsent reads users' next events. A head is the first unsent event of a user, and it
// is found in three ways:
//
//   - New: its row is behind the partition's bound, and the user's previous event is not in
//     the outbox.
//   - Due: it was postponed until now, or released from parking.
//   - Following: it is behind an event that has just been sent.
//
// The same statement reads the user's next events, by the query in the place of "?". All are from one
// snapshot, and a user's changes become visible in their order, so none of them is missed.
// OFFSET 0 keeps the planner from joining all of the outbox.
const selectUnsent = `WITH head AS (
	SELECT 0 AS kind, partition, user_id, seq FROM unnest($3::smallint[], $4::bigint[], $5::text[]::uuid[]) AS f(partition, seq, user_id)
	UNION ALL
	(SELECT 1, partition, user_id, seq FROM outbox
		WHERE partition = ANY ($1::smallint[]) AND retry_at <= now() AND parked_at IS NULL AND user_id NOT IN (SELECT unnest($6::text[]::uuid[]))
		ORDER BY retry_at LIMIT $7)
	UNION ALL
	SELECT 2, w.partition, n.user_id, n.seq FROM unnest($1::smallint[], $2::bigint[]) AS w(partition, after)
	CROSS JOIN LATERAL (SELECT user_id, seq FROM outbox o
		WHERE o.partition = w.partition AND o.seq > w.after AND o.retry_at IS NULL AND o.parked_at IS NULL
			AND o.user_id NOT IN (SELECT unnest($6::text[]::uuid[]))
			AND NOT EXISTS (SELECT FROM outbox p WHERE p.partition = w.partition
				AND p.seq = (SELECT max(seq) FROM events WHERE user_id = o.user_id AND seq < o.seq) OFFSET 0)
		ORDER BY o.seq LIMIT $7) AS n)
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS newest,
	h.kind, h.partition, h.seq AS head, o.attempts, o.failures, e.*
FROM head AS h
CROSS JOIN LATERAL (?) AS e
CROSS JOIN LATERAL (SELECT attempts, failures FROM outbox WHERE partition = h.partition AND seq = e.seq AND parked_at IS NULL OFFSET 0) AS o
ORDER BY h.kind, h.seq, e.seq`

// unsentRow is a row of selectUnsent.
type unsentRow struct {
	Oldest, Newest int64 // transactions of the snapshot: the oldest one under way, and the first one not begun
	Kind           int
	Partition      int16
	Head           int64 // the seq of the user's first unsent event
	Attempts       int
	Failures       int
	store.EventRow
}

func composeUnsent(db *bun.DB) string {
	events := db.NewSelect().Model((*store.EventRow)(nil)).ExcludeColumn("xid", "changes").
		Where("e.user_id = h.user_id AND e.seq >= h.seq").OrderExpr("e.seq").Limit(userEvents)
	return db.NewRaw(selectUnsent, events).String()
}

const (
	kindDue = 1
	kindNew = 2
)

// query says what to read from the outbox.
type query struct {
	parts     []int16
	after     perPartition[int64] // where new events begin
	following []*delivery         // users whose next events are read
	busy      []string            // users who are in memory: only those above are read
	limit     int                 // new heads of each partition, and due ones of all
}

// found is what was read from the outbox.
type found struct {
	deliveries []*delivery
	top        perPartition[int64] // the highest new head of each partition
	counts     perPartition[int]   // of new heads
	due        int
	xmin, xmax int64 // of the snapshot; 0 when nothing was read
	cut        bool  // there were too many bytes: what is missing is read the next time
}

// full reports whether a limit was reached, so that there may be more to read.
func (f *found) full(limit int) bool {
	for _, n := range f.counts {
		if limit > 0 && n >= limit {
			return true
		}
	}
	return limit > 0 && f.due >= limit
}

func (s *session) readOutbox(ctx context.Context, q query) (f found, err error) {
	after := make([]int64, len(q.parts))
	for i, p := range q.parts {
		after[i] = q.after[p]
	}
	var ofParts []int16
	var behind []int64
	var users []string
	for _, d := range q.following {
		ofParts, behind, users = append(ofParts, d.partition), append(behind, d.last+1), append(users, d.user.String())
	}
	rows, err := s.db.QueryContext(ctx, s.unsent, planned, q.parts, after, ofParts, behind, users, q.busy, q.limit)
	if err != nil {
		return f, err
	}
	defer func() { _ = rows.Close() }()
	for bytes := 0; rows.Next() && !f.cut; f.cut = bytes >= readBytes {
		var row unsentRow
		if err := s.store.DB().ScanRow(ctx, rows, &row); err != nil {
			return f, err
		}
		f.xmin, f.xmax = row.Oldest, row.Newest
		bytes += len(row.Data)
		f.add(row.Kind, row.Partition, row.Head, event{seq: row.Seq, refusals: row.Attempts, failures: row.Failures, Event: row.Event()})
	}
	return f, rows.Err()
}

// add adds a row; a user's rows are adjacent.
func (f *found) add(kind int, partition int16, head int64, e event) {
	n := len(f.deliveries)
	if n == 0 || f.deliveries[n-1].user != e.UserID {
		f.deliveries = append(f.deliveries, &delivery{partition: partition, user: e.UserID})
		switch kind {
		case kindDue:
			f.due++
		case kindNew:
			f.counts[partition]++
			f.top[partition] = head
		}
		n++
	}
	d := f.deliveries[n-1]
	d.events, d.last = append(d.events, e), e.seq
	d.more = len(d.events) == userEvents
}

// deleteSent removes events that the sink has accepted.
const deleteSent = `DELETE FROM outbox WHERE ctid = ANY (ARRAY(
	SELECT o.ctid FROM unnest($1::smallint[], $2::bigint[]) AS s(partition, seq)
	CROSS JOIN LATERAL (SELECT ctid FROM outbox WHERE partition = s.partition AND seq = s.seq OFFSET 0) AS o))`

// updatePostponed counts tries. The time of the next one is the database's, so that clocks
// of processes need not agree.
const updatePostponed = `UPDATE outbox AS o SET attempts = p.refusals, failures = p.failures, fault = p.fault,
		retry_at = CASE WHEN NOT p.park THEN now() + make_interval(secs => p.wait) END, parked_at = CASE WHEN p.park THEN now() END
	FROM unnest($1::smallint[], $2::bigint[], $3::int[], $4::int[], $5::float8[], $6::text[], $7::boolean[])
		AS p(partition, seq, refusals, failures, wait, fault, park)
	WHERE o.partition = p.partition AND o.seq = p.seq`

// hurryPostponed makes events due that wait for a sink that was down.
const hurryPostponed = `UPDATE outbox SET retry_at = now() WHERE partition = ANY ($1::smallint[]) AND retry_at > now() AND attempts = 0`

// record writes results to the outbox. It is idempotent.
func record(ctx context.Context, db *sql.DB, b batch, parts []int16) error {
	if len(b.sent) > 0 {
		partitions, seqs := make([]int16, 0, len(b.sent)), make([]int64, 0, len(b.sent))
		for seq, partition := range b.sent {
			partitions, seqs = append(partitions, partition), append(seqs, seq)
		}
		if _, err := db.ExecContext(ctx, deleteSent, planned, partitions, seqs); err != nil {
			return err
		}
	}
	if len(b.postponed) > 0 {
		if err := recordPostponed(ctx, db, b.postponed); err != nil {
			return err
		}
	}
	if !b.hurry {
		return nil
	}
	_, err := db.ExecContext(ctx, hurryPostponed, planned, parts)
	return err
}

func recordPostponed(ctx context.Context, db *sql.DB, postponed []postponement) error {
	var partitions []int16
	var seqs []int64
	var refusals, failures []int32
	var waits []float64
	var faults []string
	var parks []bool
	for _, p := range postponed {
		partitions, seqs, waits = append(partitions, p.partition), append(seqs, p.seq), append(waits, p.wait.Seconds())
		refusals, failures = append(refusals, int32(p.refusals)), append(failures, int32(p.failures)) //nolint:gosec // counted one by one
		faults, parks = append(faults, p.fault), append(parks, p.park)
	}
	_, err := db.ExecContext(ctx, updatePostponed, planned, partitions, seqs, refusals, failures, waits, faults, parks)
	return err
}

// notify tells other processes of new events.
func notify(ctx context.Context, db *bun.DB, message string) error {
	_, err := db.DB.ExecContext(ctx, "SELECT pg_notify($1, $2)", planned, channel, message)
	return err
}

// Parked counts events that wait for an operator.
type Parked struct {
	Events int `json:"events"` // refused by the sink for good
	Users  int `json:"users"`  // whose later events wait behind those
}

// CountParked counts the events that the sink refused for good.
func CountParked(ctx context.Context, s *store.Store) (p Parked, err error) {
	err = s.DB().NewSelect().Table("outbox").ColumnExpr("count(*), count(DISTINCT user_id)").Where("parked_at IS NOT NULL").
		Scan(ctx, &p.Events, &p.Users)
	return p, store.Translate(err)
}

// OldestUnsent returns the time of the change whose event has waited longest, parked ones
// included; the zero time when all are sent.
func OldestUnsent(ctx context.Context, s *store.Store) (time.Time, error) {
	var at sql.NullTime
	err := s.DB().DB.QueryRowContext(ctx, `SELECT min(e.at) FROM generate_series(0, $1::int) AS p(n)
		CROSS JOIN LATERAL (SELECT event_id FROM outbox WHERE partition = p.n ORDER BY seq LIMIT 1) AS o
		JOIN events e ON e.id = o.event_id`, planned, store.Partitions-1).Scan(&at)
	return at.Time, store.Translate(err)
}

// ParkedEvent is an event that the sink refused for good.
type ParkedEvent struct {
	ID       uuid.UUID
	Type     user.EventType
	UserID   uuid.UUID
	At       time.Time // of the change
	ParkedAt time.Time
	Fault    string // the sink's last status
	Tries    int
}

// ListParked returns at most limit parked events, oldest first: of one user, or with
// [uuid.Nil] of all.
func ListParked(ctx context.Context, s *store.Store, of uuid.UUID, limit int) (list []ParkedEvent, err error) {
	q := s.DB().NewSelect().TableExpr("outbox AS o").Join("JOIN events AS e ON e.id = o.event_id").
		ColumnExpr("e.id, e.type, e.user_id, e.at, o.parked_at, coalesce(o.fault, '') AS fault, o.attempts AS tries").
		Where("o.parked_at IS NOT NULL").OrderExpr("o.seq").Limit(int64(limit))
	if of != uuid.Nil {
		q = q.Where("o.user_id = ?", of)
	}
	return list, store.Translate(q.Scan(ctx, &list))
}

// Resend releases the parked events of one user or, with [uuid.Nil], of all users. A relay tries them again
// within seconds, as if for the first time. Resend returns how many there were; if there were any, it also
// writes the audit entry.
func Resend(ctx context.Context, s *store.Store, of uuid.UUID, entry user.AuditEntry) (n int64, err error) {
	err = s.DB().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if n, err = release(ctx, tx, of); err != nil || n == 0 {
			return err
		}
		entry.Action, entry.UserID, entry.Detail = user.EventsResent, of, fmt.Appendf(nil, `{"events":%d}`, n)
		return s.AuditIn(ctx, tx, entry)
	})
	return n, store.Translate(err)
}

func release(ctx context.Context, tx bun.Tx, of uuid.UUID) (int64, error) {
	q := tx.NewUpdate().Table("outbox").Set("parked_at = NULL, attempts = 0, failures = 0, retry_at = now(), fault = NULL").
		Where("parked_at IS NOT NULL")
	if of != uuid.Nil {
		q = q.Where("user_id = ?", of)
	}
	result, err := q.Exec(ctx)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
