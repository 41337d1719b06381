package store

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// querier is what statements run on: the pool, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	// direct lends f the driver's own connection. Through database/sql every value is
	// converted twice, which for the frequent statements costs more than all else that the
	// service does; see docs/performance.md.
	direct(ctx context.Context, f func(*pgx.Conn) error) error
}

// pool runs each statement on any connection that is free.
type pool struct{ *sql.DB }

// attempts at a statement whose connection turns out to be dead before anything was
// sent: as many as database/sql makes.
const attempts = 3

func (p pool) direct(ctx context.Context, f func(*pgx.Conn) error) (err error) {
	for range attempts {
		if err = p.lend(ctx, f); !pgconn.SafeToRetry(err) {
			break
		}
	}
	return err
}

// changing is the pool for changes. It leaves a few connections to reads, which go on while
// changes wait for a row that somebody holds.
type changing struct {
	pool
	places chan struct{}
	*tally
}

// tally is how many changes there were, done or not, and how often and how long, in
// nanoseconds, they waited for a place. A change is counted before anybody is told of it.
type tally struct{ changes, waits, waited atomic.Int64 }

// leftToReads is how many connections changes never take, unless there are no more.
const leftToReads = 2

func changingOf(p pool, connections int) changing {
	return changing{p, make(chan struct{}, max(1, connections-leftToReads)), new(tally)}
}

func (c changing) direct(ctx context.Context, f func(*pgx.Conn) error) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.leave()
	return c.pool.direct(ctx, f)
}

func (c changing) enter(ctx context.Context) error {
	select {
	case c.places <- struct{}{}:
		return nil
	default:
	}
	c.waits.Add(1)
	defer func(begun time.Time) { c.waited.Add(int64(time.Since(begun))) }(time.Now())
	select {
	case c.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c changing) leave() {
	c.changes.Add(1)
	<-c.places
}

func (p pool) lend(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := p.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // back to the pool
	return lend(conn, f)
}

func lend(conn *sql.Conn, f func(*pgx.Conn) error) error {
	return conn.Raw(func(driverConn any) error {
		return f(driverConn.(*stdlib.Conn).Conn()) //nolint:forcetypeassert // Open chose the driver
	})
}

// transaction runs statements on the connection that it holds until its end.
type transaction struct {
	*sql.Tx
	conn *sql.Conn
}

// begin starts a transaction. Whatever becomes of it, Rollback ends it.
func (s *Store) begin(ctx context.Context) (*transaction, error) {
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &transaction{tx, conn}, nil
}

func (t *transaction) direct(_ context.Context, f func(*pgx.Conn) error) error {
	return lend(t.conn, f)
}

// Rollback undoes the transaction unless it is committed, and gives its connection back.
func (t *transaction) Rollback() error { return errors.Join(t.Tx.Rollback(), t.conn.Close()) }

// prepared runs a statement whose text is always the same: it is parsed and planned once
// per connection.
func prepared(args ...any) []any { return append([]any{pgx.QueryExecModeCacheStatement}, args...) }

// each runs a statement directly and calls row with the raw values of each row that it
// returns, in PostgreSQL's binary format. They are gone when row returns.
func each(ctx context.Context, on querier, query string, args []any, row func([][]byte) error) error {
	return translate(on.direct(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, query, append([]any{binaryResults}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows.RawValues()); err != nil {
				return err
			}
		}
		return rows.Err()
	}))
}

// binaryResults is one format for all columns.
var binaryResults = pgx.QueryResultFormats{pgx.BinaryFormatCode}
