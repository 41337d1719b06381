package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"aiadmin/pkg/relay"
	"aiadmin/pkg/user"
)

const (
	readyTimeout = 2 * time.Second
	// firstLook is less than the second that a probe waits for its answer.
	firstLook = 500 * time.Millisecond
)

var (
	errDraining  = errors.New("the service is stopping")
	errMigrating = errors.New("migrations are not done: see the log, or run ai-admin migrate")
)

// check is one condition of readiness.
type check struct {
	name string
	run  func() error
}

// checks are all conditions of readiness, in the order in which they are looked at. Those of
// the database share one round trip.
func (a *App) checks(ctx context.Context) []check {
	ping := sync.OnceValue(func() error {
		if a.justStarted(ctx) {
			return nil
		}
		if a.relay == nil {
			return a.pingChecks(ctx)
		}
		return a.store.Ping(ctx)
	})
	return []check{
		{"shutdown", func() error {
			if draining := a.draining.Load(); draining != nil && (*draining)() {
				return errDraining
			}
			return nil
		}},
		{"secrets", a.mounts.unreadable},
		{"database", func() error {
			if err := ping(); unreachable(err) {
				return err
			}
			return nil
		}},
		{"migrations", func() error {
			if err := ping(); err != nil && !unreachable(err) {
				return err
			}
			if !a.migrated.Load() {
				return errMigrating
			}
			return nil
		}},
	}
}

// Ready names the check that fails at present, with the reason.
func (a *App) Ready(ctx context.Context) (failing string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, one := range a.checks(ctx) {
		if err := one.run(); err != nil {
			return one.name, err
		}
	}
	return "", nil
}

func unreachable(err error) bool {
	kind := user.KindOf(err)
	return kind == user.Unavailable || kind == user.Timeout
}

// justStarted waits for the first look at the database, where that is under way, and says
// whether all was well. A probe that came before its end would else open a connection of
// its own, at the moment when PostgreSQL is busy with the first.
func (a *App) justStarted(ctx context.Context) bool {
	select {
	case <-a.looked:
		return false
	default:
	}
	select {
	case <-a.looked:
		return a.migrated.Load()
	case <-time.After(firstLook):
	case <-ctx.Done():
	}
	return false
}

// verbose tells what does not make the service unready but wants looking at.
func (a *App) verbose(ctx context.Context) map[string]any {
	mounts := "ok"
	if err := a.mounts.refused(); err != nil {
		mounts = "a changed volume is refused, the last good values are in use: see the log"
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	report := map[string]any{"mounts": mounts, "version": a.version}
	if parked, err := relay.CountParked(ctx, a.store); err == nil {
		report["parked"] = parked
	}
	if oldest, err := relay.OldestUnsent(ctx, a.store); err == nil && !oldest.IsZero() {
		report["oldestUnsent"] = user.FormatTime(oldest)
	}
	return report
}
