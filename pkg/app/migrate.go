package app

import (
	"context"
	"sync"
	"time"

	"aiadmin/pkg/store"
)

const migrateRetry = time.Second

// awaitDatabase tries until the database can be used, however long it takes to answer; failure is what the
// log says while it cannot.
func (a *App) awaitDatabase(ctx context.Context, try func(context.Context) error, failure string) {
	looked := sync.OnceFunc(func() { close(a.looked) })
	for ctx.Err() == nil {
		err := try(ctx)
		a.migrated.Store(err == nil)
		looked()
		if err == nil {
			return
		}
		a.log.Error(failure, "error", store.Loggable(err))
		select {
		case <-ctx.Done():
		case <-time.After(migrateRetry):
		}
	}
}

// migrate brings the database up to date. It looks first whether there is anything to do: that is one round trip of a
// query that a new connection plans in no time, and a starting service is not ready before.
// A log restored from elsewhere is mended afterwards.
func (a *App) migrate(ctx context.Context) error {
	err := a.store.Ping(ctx)
	if err == nil {
		_, err = a.store.Form(ctx, a.formed) // of users that an older revision wrote
		return err
	}
	if unreachable(err) || !a.started.Database.MigrateOnStart {
		return err
	}
	applied, err := a.store.Migrate(ctx, a.formed)
	for _, name := range applied {
		a.log.Info("migrated", "migration", name)
	}
	return err
}

// mendFeed makes the change feed of a restored log go on, as soon as that is possible.
func (a *App) mendFeed(ctx context.Context) {
	for ctx.Err() == nil {
		mended, err := a.store.MendFeed(ctx)
		if mended {
			a.log.Warn("the event log is from another database cluster: the change feed goes on behind its last event")
		}
		if err == nil {
			return
		}
		a.log.Debug("the event log is not ready", "error", store.Loggable(err))
		select {
		case <-ctx.Done():
		case <-time.After(migrateRetry):
		}
	}
}

func (a *App) formed(users int) {
	a.log.Info("comparison and search forms are being computed", "users", users)
}
