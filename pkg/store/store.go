package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
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
	hosts  hosts
	watch  *watch
	// sessions is the config of which a pooler is known to give each connection a session of its own.
	sessions atomic.Pointer[pgx.ConnConfig]

	statements     func() *statements
	lookups        lookups
	checks         checks
	changes        changes
	totals         *totals
	searches       searches
	patience       time.Duration // see [Options]
	logBudget      int64         // see usualLogBudget
	statementSpans pgx.QueryTracer
	sharedSpan     SharedSpan
}

// Options of a Store.
type Options struct {
	ConnString     string // a URL or keywords and values, as libpq reads them
	MaxConnections int    // of the pool; further requests wait for one
	// Patience is how long a change waits for a row that another session (a forgotten transaction)
	// has locked: it must release its connection before the pool runs out of them. 0 is 5 s.
	Patience time.Duration
	// StatementSpans makes a span of each statement; nil makes none.
	StatementSpans pgx.QueryTracer
	// SharedSpan begins the span of what n requests wait for; nil makes none.
	SharedSpan SharedSpan
}

// SharedSpan begins a span that belongs to the traces of n requests. The work uses the returned context; end ends
// the span.
type SharedSpan func(ctx context.Context, name string, n int, request func(i int) context.Context) (_ context.Context, end func())

func noSpan(ctx context.Context, _ string, _ int, _ func(int) context.Context) (context.Context, func()) {
	return ctx, func() {}
}

const (
	defaultPatience = 5 * time.Second // less than that of [watch]
	idleTime        = 5 * time.Minute
)

// Open makes the pool. It connects to nothing yet: the database may come up later.
func Open(options Options) (*Store, error) {
	s := &Store{totals: newTotals(), searches: newSearches(), logBudget: usualLogBudget,
		statementSpans: options.StatementSpans, sharedSpan: options.SharedSpan, patience: cmp.Or(options.Patience, defaultPatience)}
	if s.sharedSpan == nil {
		s.sharedSpan = noSpan
	}
	config, err := s.connConfig(options.ConnString)
	if err != nil {
		return nil, err
	}
	s.config.Store(config)
	settings, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	s.watch = newWatch(s)
	settings.ConnConfig = config
	settings.MaxConns = int32(options.MaxConnections) //nolint:gosec // the configuration bounds it
	settings.MaxConnIdleTime, settings.MaxConnLifetime = idleTime, 0
	settings.BeforeConnect, settings.AfterConnect = s.useLatest, s.settle
	if s.pool, err = pgxpool.NewWithConfig(context.Background(), settings); err != nil {
		return nil, err
	}
	s.db = bun.NewDB(stdlib.OpenDBFromPool(s.pool), pgdialect.New())
	s.statements = sync.OnceValue(func() *statements { return compose(s.db) })
	go s.statements() // while the first connection is made
	s.watch.start()
	s.changes.begin(options.MaxConnections)
	s.lookups.begin(s)
	s.checks.begin(s)
	return s, nil
}

// Close closes every connection.
func (s *Store) Close() error {
	s.watch.stop()
	err := s.db.Close()
	s.pool.Close()
	return err
}

// Stats are the pool's figures, for metrics. Changes that wait because the last connections are
// left to reads count as waiting for one.
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
		return Translate(err)
	}
	if applied < latestMigration() {
		return fmt.Errorf("the database is at migration %q, this version needs %q: run ai-admin migrate", applied, latestMigration())
	}
	return nil
}
