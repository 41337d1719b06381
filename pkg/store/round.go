package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// round is one round trip: statements that go to the database together. One that fails
// keeps those after it from being carried out.
type round struct{ batch pgx.Batch }

func (r *round) exec(text string, args ...any) { r.batch.Queue(text, args...) }

// each adds a statement that returns rows.
func (r *round) each(text string, args []any, row func(pgx.Rows) error) {
	r.batch.Queue(text, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// run sends the statements, each of which is parsed once per connection.
func (r *round) run(ctx context.Context, conn *pgx.Conn) error {
	for _, query := range r.batch.QueuedQueries {
		if _, err := conn.Prepare(ctx, query.SQL, query.SQL); err != nil {
			return err
		}
	}
	return conn.SendBatch(ctx, &r.batch).Close()
}
