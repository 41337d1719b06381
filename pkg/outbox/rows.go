package outbox

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/store"
)

// The statements here are planned each time, with their arrays' real lengths: a plan kept
// from when the outbox was empty would read all of it when it no longer is.
const planned = pgx.QueryExecModeExec

// found is an unsent row as a scan sees it.
type found struct {
	partition int16
	seq       int64
	user      uuid.UUID
	parked    bool
	more      bool // rows of its user behind it were seen and left
}

// selectUnsent reads the first rows of each partition behind a place of its own.
const selectUnsent = `SELECT w.partition, o.seq, o.user_id, o.parked_at IS NOT NULL
	FROM unnest($1::smallint[], $2::bigint[]) AS w(partition, after)
	CROSS JOIN LATERAL (SELECT seq, user_id, parked_at FROM outbox
		WHERE partition = w.partition AND seq > w.after ORDER BY seq LIMIT $3) AS o
	ORDER BY w.partition, o.seq`

func findUnsent(ctx context.Context, db *sql.DB, partitions []int16, after []int64, limit int) ([]found, error) {
	rows, err := db.QueryContext(ctx, selectUnsent, planned, partitions, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []found
	for rows.Next() {
		var f found
		if err := rows.Scan(&f.partition, &f.seq, &f.user, &f.parked); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// selectRows reads whole rows, and for each whether its user's previous event is unsent.
// OFFSET 0 keeps the planner from reading all of the outbox to join it.
const selectRows = `SELECT w.partition, w.seq, coalesce(p.seq, 0), o.attempts, o.retry_at,
		e.id, e.type, e.user_id, e.version, e.at, e.cause, e.data::text
	FROM unnest($1::smallint[], $2::bigint[]) AS w(partition, seq)
	CROSS JOIN LATERAL (SELECT event_id, user_id, attempts, retry_at FROM outbox
		WHERE partition = w.partition AND seq = w.seq AND parked_at IS NULL OFFSET 0) AS o
	CROSS JOIN LATERAL (SELECT id, type, user_id, version, at, cause, data FROM events WHERE id = o.event_id OFFSET 0) AS e
	LEFT JOIN LATERAL (SELECT seq FROM outbox WHERE partition = w.partition
		AND seq = (SELECT max(seq) FROM events WHERE user_id = o.user_id AND seq < w.seq) OFFSET 0) AS p ON true
	ORDER BY w.seq`

func readRows(ctx context.Context, db *sql.DB, partitions []int16, seqs []int64) ([]row, error) {
	rows, err := db.QueryContext(ctx, selectRows, planned, partitions, seqs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []row
	for rows.Next() {
		var r row
		var retry sql.NullTime
		var data string
		e := &r.event
		if err := rows.Scan(&r.partition, &r.seq, &r.previous, &r.refusals, &retry,
			&e.ID, &e.Type, &e.UserID, &e.Version, &e.At, &e.Cause, &data); err != nil {
			return nil, err
		}
		r.retryAt, e.At, e.Data = retry.Time, e.At.UTC(), []byte(data)
		out = append(out, r)
	}
	return out, rows.Err()
}

// parts of the outbox by number.
type perPartition[T any] [store.Partitions]T
