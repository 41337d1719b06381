package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is the advisory lock that copies of the service starting at once take in
// turn: bun/migrate's own lock fails all but one of them.
const migrationLock = 0x6169_6164_6d69_6e01

var migrations = sync.OnceValue(func() *migrate.Migrations {
	found := migrate.NewMigrations()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err == nil {
		err = found.Discover(files)
	}
	if err != nil {
		panic(err) // the embedded files are misnamed: no input can cause it
	}
	return found
})

func latestMigration() string {
	sorted := migrations().Sorted()
	return sorted[len(sorted)-1].Name
}

// beforeForms is the last migration before which no user has the forms that the next ones index.
const beforeForms = "20261127000001"

// Migrate brings the database to the newest schema and returns the names of the migrations it applied.
// Any number of processes may call it at once. Users that lack comparison and search forms get them,
// see [Store.Form]; a log that was restored from another cluster is repaired, see [Store.MendFeed].
func (s *Store) Migrate(ctx context.Context, progress func(done int)) ([]string, error) {
	names, err := s.migrate(ctx, beforeForms)
	if err != nil {
		return names, err
	}
	if _, err := s.Form(ctx, progress); err != nil {
		return names, err
	}
	more, err := s.migrate(ctx, "")
	if err == nil {
		_, err = s.MendFeed(ctx)
	}
	return append(names, more...), err
}

// migrate applies the migrations up to one; all of them for an empty name.
func (s *Store) migrate(ctx context.Context, last string) ([]string, error) {
	wanted := migrations()
	if last != "" {
		wanted = upTo(wanted, last)
	} else {
		last = latestMigration()
	}
	if applied, err := s.applied(ctx); err == nil && applied >= last {
		return nil, nil
	}
	db := s.unhurried()
	defer func() { _ = db.Close() }() // releases the lock
	if err := takeMigrationLock(ctx, db); err != nil {
		return nil, Translate(err)
	}
	migrator := migrate.NewMigrator(db, wanted, migrate.WithMarkAppliedOnSuccess(true))
	if err := migrator.Init(ctx); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	group, err := migrator.Migrate(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	var names []string
	for _, m := range group.Migrations {
		names = append(names, m.Name+"_"+m.Comment)
	}
	return names, nil
}

// takeMigrationLock waits for the lock by asking again: a statement that waited in the database would
// have a snapshot, and an index that is created concurrently waits for all snapshots.
func takeMigrationLock(ctx context.Context, db *bun.DB) error {
	for {
		var got bool
		if err := db.NewRaw("SELECT pg_try_advisory_lock(?)", int64(migrationLock)).Scan(ctx, &got); got || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(migrationPoll):
		}
	}
}

const migrationPoll = 50 * time.Millisecond

func upTo(all *migrate.Migrations, last string) *migrate.Migrations {
	some := migrate.NewMigrations()
	for _, m := range all.Sorted() {
		if m.Name <= last {
			some.Add(m)
		}
	}
	return some
}

// applied is the name of the newest applied migration, empty before the first.
func (s *Store) applied(ctx context.Context) (string, error) {
	var name string
	err := s.db.NewRaw("SELECT coalesce(max(name), '') FROM bun_migrations").Scan(ctx, &name)
	if state(err) == undefinedTable {
		return "", nil
	}
	return name, err
}

// Migrate opens the database, migrates it and closes it again.
func Migrate(ctx context.Context, connString string) error {
	s, err := Open(Options{ConnString: connString, MaxConnections: 2})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	_, err = s.Migrate(ctx, nil)
	return err
}

const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
)

// state is the SQLSTATE of a database error, empty for any other.
func state(err error) string {
	if pgErr := postgresError(err); pgErr != nil {
		return pgErr.Code
	}
	return ""
}
