package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// Store is a pool of connections to one database.
type Store struct {
	db     *bun.DB                        // builds listings and runs migrations
	pool   pool                           // the same connections
	change changing                       // the same but for a few
	config atomic.Pointer[pgx.ConnConfig] // what new connections use
	totals *totals
	single gatherer
	turn   chan struct{} // taken by each bulk
	crowds crowds
	reach  reach

	readOnly atomic.Int64 // when a server last refused to write, in tenths of a second

	patience time.Duration // see [Options]
}

// Options of a Store.
type Options struct {
	ConnString     string // a URL or keywords and values, as libpq reads them
	MaxConnections int    // of the pool; further requests wait for one
	// Patience is how long a change waits for a row that somebody holds (a forgotten transaction):
	// it must give its connection back before the others run out of them. 0 is 10 s.
	Patience time.Duration
}

const defaultPatience = 10 * time.Second

// generation is the key under which a connection remembers what it was made with, so that one made
// with old credentials, or to a server that was not the primary any more, can be told and retired.
const generation = "aiadmin.config"

// Open makes the pool. It connects to nothing yet: the database may come up later.
func Open(options Options) (*Store, error) {
	s := &Store{totals: newTotals(), reach: usualReach, turn: make(chan struct{}, bulksAtOnce), patience: cmp.Or(options.Patience, defaultPatience)}
	if err := s.Reconnect(options.ConnString); err != nil {
		return nil, err
	}
	db := sql.OpenDB(stdlib.GetConnector(*s.config.Load(),
		stdlib.OptionBeforeConnect(s.useLatest), stdlib.OptionResetSession(s.retireOld),
		stdlib.OptionAfterConnect(s.settle)))
	db.SetMaxOpenConns(options.MaxConnections)
	db.SetMaxIdleConns(options.MaxConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s.db, s.pool = bun.NewDB(db, pgdialect.New()), pool{db}
	s.change = changingOf(s.pool, options.MaxConnections)
	s.single.begin(s.pool)
	return s, nil
}

// Reconnect makes new connections use another connection string. Those that exist finish
// what they are doing and are closed instead of being used again.
func (s *Store) Reconnect(connString string) error {
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		return fmt.Errorf("database connection settings: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // for Bun's own text, which is never the same twice
	config.ConnectTimeout = connectTimeout
	config.StatementCacheCapacity = 256
	config.OnPgError = s.leaveReadOnly(config.OnPgError)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "ai-admin"
	}
	s.config.Store(config)
	return nil
}

const connectTimeout = 5 * time.Second

// leaveReadOnly has all connections retired once a server says that it only reads, which was the primary
// until a failover, or is a standby: whichever server is the primary now, new ones find it.
func (s *Store) leaveReadOnly(keep pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	const readOnly = "25006"
	return func(conn *pgconn.PgConn, fault *pgconn.PgError) bool {
		if fault.Code == readOnly {
			s.readOnly.Store(time.Now().UnixMilli() / 100) // ten times a second, however many changes fail
		}
		return keep(conn, fault)
	}
}

func (s *Store) useLatest(_ context.Context, config *pgx.ConnConfig) error {
	*config = *s.config.Load().Copy()
	return nil
}

// settings of each connection: a listing is bounded, so that to read the whole table or
// to compile a plan never pays, and the planner, which hopes for a match at the table's
// beginning, would at times do both. Pages cost what they do in memory, where a table of users
// has its place: or it would read the index of a common value to spare pages of a rare one's users.
// They are not startup parameters since a pooler between here and the database refuses those.
const settings = "SET enable_seqscan = off; SET jit = off; SET random_page_cost = 0.2; SET seq_page_cost = 0.2; SET lock_timeout = "

// waitForLocks lifts the limit for the rest of a transaction.
const waitForLocks = "SET LOCAL lock_timeout = 0"

func (s *Store) settle(ctx context.Context, conn *pgx.Conn) error {
	conn.PgConn().CustomData()[generation] = s.origin(conn.Config())
	_, err := conn.PgConn().Exec(ctx, settings+number(int(s.patience.Milliseconds()))).ReadAll()
	return err
}

func (s *Store) retireOld(_ context.Context, conn *pgx.Conn) error {
	if made, ok := conn.PgConn().CustomData()[generation].(origin); !ok || made != s.origin(s.config.Load()) {
		return driver.ErrBadConn
	}
	return nil
}

// origin is what a connection was made with.
type origin struct {
	readOnly int64
	settings string
}

func (s *Store) origin(config *pgx.ConnConfig) origin {
	return origin{s.readOnly.Load(), config.ConnString()}
}

// Close closes every connection.
func (s *Store) Close() error { return s.db.Close() }

// Stats are the pool's figures, for metrics. Changes that wait although there are connections,
// which are left to reads, count as waiting for one.
func (s *Store) Stats() sql.DBStats {
	stats := s.db.Stats()
	stats.WaitCount += s.change.waits.Load()
	stats.WaitDuration += time.Duration(s.change.waited.Load())
	return stats
}

// DB is the pool, for the packages that keep their statements with their own logic.
func (s *Store) DB() *bun.DB { return s.db }

// Ping reports whether the database answers and is migrated.
func (s *Store) Ping(ctx context.Context) error {
	applied, err := s.applied(ctx)
	if err != nil {
		return translate(err)
	}
	if applied < latestMigration() {
		return fmt.Errorf("the database is at migration %q, this version needs %q: run ai-admin migrate", applied, latestMigration())
	}
	return nil
}
