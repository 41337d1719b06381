package outbox

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
)

// relay sends the events of the partitions that this process owns. All its fields belong
// to the goroutine of run.
type relay struct {
	connect     func() *sql.DB
	db          *sql.DB // one connection, not the requests': a flood of them must not hold events up
	sink        *sink
	keeper      *keeper
	wake        *signal
	maxAttempts int
	maxBackoff  time.Duration
	log         *slog.Logger
	metrics     *metrics
	settled     func() // called when events have left the outbox

	tenure   *tenure // nil: no partition is owned
	epoch    int     // grows when a partition comes or goes
	parts    perPartition[part]
	lanes    map[uuid.UUID]*lane
	ready    []*lane
	waiting  waitingLanes
	pace     *pace
	held     int // rows in memory
	flying   int
	landed   chan landing
	stopping bool

	open      settlement  // what the database is to be told
	openedAt  time.Time   // when that began; zero for nothing
	recording settlement  // what it is being told
	busy      bool        // a database job runs
	worked    chan func() // its end, for the loop
	retryAt   time.Time   // after a failed database job
	scans     scans
	jobs      context.Context //nolint:containedctx // of database jobs: outlives run's by landTime
}

const (
	windowRows = 2048             // in memory at most
	landTime   = 10 * time.Second // for the requests under way when the service stops
)

// run relays until ctx ends, and then until the events under way have landed.
func (r *relay) run(ctx context.Context) {
	keeping, release := context.WithCancel(context.WithoutCancel(ctx))
	jobs, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	r.jobs, r.db = jobs, r.connect()
	defer func() { _ = r.db.Close() }()
	kept := make(chan struct{})
	go func() { defer close(kept); r.keeper.run(keeping) }()
	r.loop(ctx)
	r.land(abort)
	release()
	for {
		select {
		case <-kept:
			return
		case <-r.keeper.changes:
		}
	}
}

func (r *relay) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for woken := r.wake.wait(); ctx.Err() == nil; {
		now := time.Now()
		r.dispatch(now)
		r.work(now)
		timer.Reset(time.Until(r.next(now)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-woken:
			woken = r.wake.wait()
			r.scans.wanted = true
		case c := <-r.keeper.changes:
			r.change(c)
		case x := <-r.landed:
			r.ended(x, time.Now())
		case apply := <-r.worked:
			r.busy = false
			apply()
		}
	}
}

// next is when there is something to do without anything happening.
func (r *relay) next(now time.Time) time.Time {
	at := now.Add(pollEvery)
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if !r.busy && !r.openedAt.IsZero() {
		sooner(later(r.openedAt.Add(flushAfter), r.retryAt))
	}
	if !r.busy && r.tenure != nil && r.roomy() {
		sooner(later(r.scans.sweepAt, r.retryAt))
		if len(r.waiting) > 0 {
			sooner(later(r.waiting[0].due, r.retryAt))
		}
	}
	if r.tenure != nil && !r.tenure.holds(now) {
		sooner(now.Add(beatEvery / 10))
	} else if r.pace.down && r.flying == 0 && len(r.ready) > 0 {
		sooner(r.pace.next)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// land waits for what is under way when the service stops, but not for ever.
func (r *relay) land(abort context.CancelFunc) {
	r.stopping = true
	defer time.AfterFunc(landTime, func() {
		if t := r.tenure; t != nil {
			t.end()
		}
		abort()
	}).Stop()
	for r.flying > 0 || r.busy {
		select {
		case c := <-r.keeper.changes:
			r.change(c)
		case x := <-r.landed:
			r.ended(x, time.Now())
		case apply := <-r.worked:
			r.busy = false
			apply()
		}
	}
	if err := r.open.record(r.jobs, r.db); err != nil {
		r.log.Warn("events were sent that will be sent again: that they were could not be recorded", "events", len(r.open.sent), "error", store.Loggable(err))
	}
}
