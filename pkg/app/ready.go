package app

import (
	"context"
	"errors"
	"time"

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

// Ready names the check that fails at present, with the reason.
func (a *App) Ready(ctx context.Context) (check string, err error) {
	if draining := a.draining.Load(); draining != nil && (*draining)() {
		return "shutdown", errDraining
	}
	if err := a.mounts.unreadable(); err != nil {
		return "secrets", err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if a.justStarted(ctx) {
		return "", nil
	}
	if err := a.store.Ping(ctx); unreachable(err) {
		return "database", err
	} else if err != nil {
		return "migrations", err
	}
	if !a.migrated.Load() {
		return "migrations", errMigrating
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
	report := map[string]any{"mounts": mounts}
	if parked, err := a.relay.Parked(ctx); err == nil {
		report["parked"] = parked
	}
	if oldest, err := a.relay.OldestUnsent(ctx); err == nil && !oldest.IsZero() {
		report["oldestUnsent"] = user.FormatTime(oldest)
	}
	return report
}
