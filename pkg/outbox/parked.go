package outbox

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// Parked counts what waits for somebody to look at it.
type Parked struct {
	Events int `json:"events"` // refused by the sink for good
	Users  int `json:"users"`  // whose later events wait behind those
}

func countParked(ctx context.Context, db *sql.DB) (p Parked, err error) {
	err = db.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT user_id) FROM outbox WHERE parked_at IS NOT NULL", planned).
		Scan(&p.Events, &p.Users)
	return p, err
}

// oldestUnsent is the time of the oldest event in the outbox, the zero time for none.
func oldestUnsent(ctx context.Context, db *sql.DB) (time.Time, error) {
	var at sql.NullTime
	err := db.QueryRowContext(ctx, `SELECT min(e.at) FROM generate_series(0, $1::int) AS p(n)
		CROSS JOIN LATERAL (SELECT event_id FROM outbox WHERE partition = p.n ORDER BY seq LIMIT 1) AS o
		JOIN events e ON e.id = o.event_id`, planned, store.Partitions-1).Scan(&at)
	return at.Time, err
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

const selectParked = `SELECT e.id, e.type, e.user_id, e.at, o.parked_at, coalesce(o.fault, ''), o.attempts
	FROM outbox o JOIN events e ON e.id = o.event_id
	WHERE o.parked_at IS NOT NULL AND ($1::uuid IS NULL OR o.user_id = $1) ORDER BY o.seq LIMIT $2`

// ListParked returns at most limit parked events, oldest first: of one user, or with
// [uuid.Nil] of all.
func ListParked(ctx context.Context, s *store.Store, of uuid.UUID, limit int) ([]ParkedEvent, error) {
	rows, err := s.DB().DB.QueryContext(ctx, selectParked, planned, optional(of), limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []ParkedEvent
	for rows.Next() {
		var p ParkedEvent
		if err := rows.Scan(&p.ID, &p.Type, &p.UserID, &p.At, &p.ParkedAt, &p.Fault, &p.Tries); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// Resend lets parked events be tried again, as if for the first time: those of one user,
// or with [uuid.Nil] all. It returns how many. A relay takes them up within seconds.
func Resend(ctx context.Context, s *store.Store, of uuid.UUID) (int64, error) {
	result, err := s.DB().DB.ExecContext(ctx, `UPDATE outbox SET parked_at = NULL, attempts = 0, retry_at = NULL, fault = NULL
		WHERE parked_at IS NOT NULL AND ($1::uuid IS NULL OR user_id = $1)`, planned, optional(of))
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func optional(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
