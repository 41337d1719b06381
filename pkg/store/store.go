package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// Store is a pool of connections to one database.
type Store struct {
	pool   *pgxpool.Pool                  // runs composed statements
	db     *bun.DB                        // builds statements, and runs those that are not composed
	config atomic.Pointer[pgx.ConnConfig] // what new connections use

	statements *statements
	lookups    lookups
	checks     checks
	changes    changes
	totals     *totals
	searches   searches
	patience   time.Duration // see [Options]
	logBudget  int64         // see usualLogBudget
}

// Options of a Store.
type Options struct {
	ConnString     string // a URL or keywords and values, as libpq reads them
	MaxConnections int    // of the pool; further requests wait for one
	// Patience is how long a change waits for a row that somebody holds (a forgotten transaction):
	// it must give its connection back before the others run out of them. 0 is 10 s.
	Patience time.Duration
}

const (
	defaultPatience = 10 * time.Second
	connectTimeout  = 5 * time.Second
	idleTime        = 5 * time.Minute
)

// Open makes the pool. It connects to nothing yet: the database may come up later.
func Open(options Options) (*Store, error) {
	s := &Store{totals: newTotals(), searches: newSearches(), logBudget: usualLogBudget, patience: cmp.Or(options.Patience, defaultPatience)}
	config, err := s.connConfig(options.ConnString)
	if err != nil {
		return nil, err
	}
	s.config.Store(config)
	settings, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	settings.ConnConfig = config
	settings.MaxConns = int32(options.MaxConnections) //nolint:gosec // the configuration bounds it
	settings.MaxConnIdleTime, settings.MaxConnLifetime = idleTime, 0
	settings.BeforeConnect, settings.AfterConnect = s.useLatest, s.settle
	if s.pool, err = pgxpool.NewWithConfig(context.Background(), settings); err != nil {
		return nil, err
	}
	s.db = bun.NewDB(stdlib.OpenDBFromPool(s.pool), pgdialect.New())
	s.statements = compose(s.db)
	s.changes.begin(options.MaxConnections)
	s.lookups.begin(s)
	s.checks.begin(s)
	return s, nil
}

// Reconnect makes new connections use another connection string. Those that exist finish what they
// are doing and are closed instead of being used again.
func (s *Store) Reconnect(connString string) error {
	config, err := s.connConfig(connString)
	if err != nil {
		return err
	}
	s.config.Store(config)
	s.pool.Reset()
	return nil
}

func (s *Store) connConfig(connString string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		return nil, fmt.Errorf("database connection settings: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // for Bun's own text, which is never the same twice
	config.ConnectTimeout = connectTimeout
	config.StatementCacheCapacity = 256
	config.OnPgError = s.leaveReadOnly(config.OnPgError)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "ai-admin"
	}
	return config, nil
}

// leaveReadOnly retires all connections once a server says that it only reads. It was the primary
// until a failover, or is a standby: new connections find whichever server is the primary now.
func (s *Store) leaveReadOnly(keep pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	const readOnly = "25006"
	return func(conn *pgconn.PgConn, fault *pgconn.PgError) bool {
		if fault.Code == readOnly {
			s.pool.Reset()
			return false // nor is this connection used again
		}
		return keep(conn, fault)
	}
}

func (s *Store) useLatest(_ context.Context, config *pgx.ConnConfig) error {
	*config = *s.config.Load().Copy()
	return nil
}

// sessionSettings are those of each connection. A listing is bounded, so that to read the whole table or
// to compile a plan never pays, and the planner, which hopes for a match at the table's beginning, would
// at times do both. Pages cost what they do in memory, where a table of users belongs: otherwise the
// planner reads the index of a common value to spare pages of a rare one's users. ai_admin.forms says
// that this revision writes comparison and search forms. They are not startup parameters, since a
// pooler between here and the database refuses those.
const sessionSettings = `SET enable_seqscan = off; SET jit = off; SET random_page_cost = 0.2; SET seq_page_cost = 0.2;
	SET ai_admin.forms = '1'; SET standard_conforming_strings = on; SET lock_timeout = `

func (s *Store) settle(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(ctx, fmt.Sprint(sessionSettings, s.patience.Milliseconds())).ReadAll()
	return err
}

// Connect opens a connection that is not the pool's, with the settings that new
// connections have at present: for session locks and notifications, which belong to one
// connection for as long as it lives. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.config.Load().Copy())
	return conn, translate(err)
}

// Aside makes a pool of its own for work that must go on while requests have taken all
// connections of the store's. The caller closes it.
func (s *Store) Aside(connections int) *sql.DB {
	db := sql.OpenDB(stdlib.GetConnector(*s.config.Load(), stdlib.OptionBeforeConnect(s.useLatest), stdlib.OptionAfterConnect(s.settle)))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(time.Minute)
	return db
}

// Close closes every connection.
func (s *Store) Close() error {
	err := s.db.Close()
	s.pool.Close()
	return err
}

// Stats are the pool's figures, for metrics. Changes that wait although there are connections,
// which are left to reads, count as waiting for one.
func (s *Store) Stats() sql.DBStats {
	stats := s.pool.Stat()
	return sql.DBStats{MaxOpenConnections: int(stats.MaxConns()), OpenConnections: int(stats.TotalConns()),
		InUse: int(stats.AcquiredConns()), Idle: int(stats.IdleConns()),
		WaitCount:    stats.EmptyAcquireCount() + s.changes.waits.Load(),
		WaitDuration: stats.EmptyAcquireWaitTime() + time.Duration(s.changes.waited.Load())}
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
