// Package janitor removes what is no longer to be kept: expired claims, history past its
// retention, and the personal values of deleted users. It also tidies the search index behind
// changes.
//
// It works in small batches with a pause after each, which leaves the database to the
// requests. Several processes may do so at once. While the database is away it logs the
// fault and tries again at the next opportunity; nothing it does depends on when it does it.
package janitor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// Retention is how long things are kept; 0 is for good.
type Retention struct {
	Claims  time.Duration // the shortest of any kind, which says how often to look for expired ones
	History time.Duration
	Audit   time.Duration
}

// Options of a Janitor.
type Options struct {
	Store *store.Store
	// Retention says how long things are kept, and is asked each time; nil keeps all for good.
	Retention func() Retention
	// Sends reports whether events go to a sink: then history is kept, and personal values are
	// not erased, until the events are sent. It is asked each time; nil is never.
	Sends   func(context.Context) bool
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers none
}

// Janitor removes what is no longer to be kept, and tidies the search index.
type Janitor struct {
	store     *store.Store
	retention func() Retention
	sends     func(context.Context) bool
	log       *slog.Logger
	removed   *prometheus.CounterVec
	wake      chan struct{}
	changed   chan struct{}
}

// New makes a Janitor, which does nothing before Run.
func New(o Options) *Janitor {
	j := &Janitor{store: o.Store, retention: o.Retention, sends: o.Sends, log: o.Log, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_admin_outbox_cleared_total",
			Help: "What was removed in the background, by kind: claims, history, audit, personal (users whose personal values were erased)."}, []string{"kind"})}
	if j.retention == nil {
		j.retention = func() Retention { return Retention{} }
	}
	if j.sends == nil {
		j.sends = func(context.Context) bool { return false }
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics != nil {
		o.Metrics.MustRegister(j.removed)
	}
	return j
}

const (
	eraseSoon   = 300 * time.Millisecond // after a wake: deletions come in swarms
	eraseEvery  = 10 * time.Second
	claimsEvery = time.Minute // at most, as pruneEvery: what is kept for less is removed sooner
	pruneEvery  = 10 * time.Minute
	batchRows   = 500
	batchPause  = 20 * time.Millisecond // leaves the database to the requests
	eraseUsers  = 50
	tidyPause   = 50 * time.Millisecond // the list of 512 kB is full in 150 ms at the most changes that there are
	tidyRetry   = time.Minute
)

// Wake announces that personal values may have become due for erasure: with a sink, when
// events have been sent; without one, when events have been committed. It never blocks.
func (j *Janitor) Wake() { signal(j.wake) }

// Changed announces that users have been changed. It never blocks.
func (j *Janitor) Changed() { signal(j.changed) }

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// Run removes things, and keeps the search index tidy, until ctx ends.
func (j *Janitor) Run(ctx context.Context) {
	var tidying sync.WaitGroup
	defer tidying.Wait()
	tidying.Go(func() { j.tidy(ctx) })
	var claims, prune time.Time
	for ctx.Err() == nil {
		now, kept := time.Now(), j.retention()
		j.batches(ctx, "personal", eraseUsers, func() (int64, error) { return j.store.Erase(ctx, j.sends(ctx), eraseUsers) })
		if now.Sub(claims) >= sooner(claimsEvery, kept.Claims) {
			claims = now
			j.batches(ctx, "claims", batchRows, func() (int64, error) { return j.store.RemoveExpiredClaims(ctx, now, batchRows) })
		}
		if now.Sub(prune) >= sooner(pruneEvery, kept.History, kept.Audit) {
			prune = now
			if kept.History > 0 {
				j.prune(ctx, now.Add(-kept.History))
			}
			if kept.Audit > 0 {
				j.batches(ctx, "audit", batchRows, func() (int64, error) { return j.store.RemoveOldAudit(ctx, now.Add(-kept.Audit), batchRows) })
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(time.Second, sooner(eraseEvery, kept.History, kept.Claims, kept.Audit))):
		case <-j.wake:
			pause(ctx, eraseSoon)
		}
	}
}

// tidy keeps the pending list of the search index short while users are being changed.
func (j *Janitor) tidy(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.changed:
		}
		wait := tidyPause
		if err := j.store.TidySearch(ctx); err != nil && ctx.Err() == nil {
			j.log.Debug("changes have to tidy the search index themselves", "error", store.Loggable(err))
			wait = tidyRetry
		}
		pause(ctx, wait)
	}
}

// sooner is how often to look for what is kept for a while: often enough that it is not
// kept for much longer.
func sooner(usual time.Duration, kept ...time.Duration) time.Duration {
	for _, d := range kept {
		if d > 0 {
			usual = min(usual, d)
		}
	}
	return usual
}

// batches repeats a removal until it finds less than it may take.
func (j *Janitor) batches(ctx context.Context, kind string, full int64, remove func() (int64, error)) {
	for ctx.Err() == nil {
		n, err := remove()
		j.removed.WithLabelValues(kind).Add(float64(n))
		if err != nil && ctx.Err() == nil {
			j.log.Warn("clearing up has to wait", "kind", kind, "error", store.Loggable(err))
		}
		if err != nil || n < full {
			return
		}
		pause(ctx, batchPause)
	}
}

// prune removes history from before a time, except what answers a claim and what the sink has still
// to get. Without a sink, nothing waits to be sent.
func (j *Janitor) prune(ctx context.Context, before time.Time) {
	var after user.Place
	for more := true; more && ctx.Err() == nil; {
		page, err := j.store.Prune(ctx, before, !j.sends(ctx), after, batchRows)
		if err != nil {
			j.log.Warn("clearing up has to wait", "kind", "history", "error", store.Loggable(err))
			return
		}
		j.removed.WithLabelValues("history").Add(float64(page.Removed))
		after, more = page.Next, page.More
		pause(ctx, batchPause)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
