package outbox

import (
	"context"
	"time"

	"aiadmin/pkg/user"
)

// Retention is how long things are kept; 0 is for good.
type Retention struct {
	Claims  time.Duration // the shortest of any kind, which says how often to look for expired ones
	History time.Duration
}

const (
	eraseSoon   = 300 * time.Millisecond // after events have left the outbox: deletions come in swarms
	eraseEvery  = 10 * time.Second
	claimsEvery = time.Minute // at most, as pruneEvery: what is kept for less is removed sooner
	pruneEvery  = 10 * time.Minute
	batchRows   = 500
	batchPause  = 20 * time.Millisecond // leaves the database to the requests
	eraseUsers  = 50
)

// clearUp removes expired claims, history past its retention, and the personal values of
// deleted users, in small batches. Several processes may do so at once.
func (x *Outbox) clearUp(ctx context.Context) {
	var claims, prune time.Time
	for woken := x.erasable(); ctx.Err() == nil; {
		now, kept := time.Now(), x.options.Retention()
		x.erase(ctx)
		if now.Sub(claims) >= sooner(claimsEvery, kept.Claims) {
			claims = now
			x.removeClaims(ctx, now)
		}
		if now.Sub(prune) >= sooner(pruneEvery, kept.History) {
			prune = now
			x.prune(ctx, now)
		}
		timer := time.NewTimer(max(time.Second, sooner(sooner(eraseEvery, kept.History), kept.Claims)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-woken:
			pause(ctx, eraseSoon)
			woken = x.erasable()
		}
		timer.Stop()
	}
}

// sooner is how often to look for what is kept for a while: often enough that it is not
// kept for much longer.
func sooner(usual, kept time.Duration) time.Duration {
	if kept <= 0 {
		return usual
	}
	return min(usual, kept)
}

// erasable is fired when erasures may have become due: with a sink when events are sent,
// without one at once.
func (x *Outbox) erasable() <-chan struct{} {
	if x.relay != nil {
		return x.gone.wait()
	}
	return x.changed.wait()
}

func (x *Outbox) erase(ctx context.Context) {
	x.batches(ctx, "personal", eraseUsers, func() (int64, error) { return x.db.Erase(ctx, x.relay != nil, eraseUsers) })
}

func (x *Outbox) removeClaims(ctx context.Context, now time.Time) {
	x.batches(ctx, "claims", batchRows, func() (int64, error) { return x.db.RemoveExpiredClaims(ctx, now, batchRows) })
}

// batches repeats a removal until it finds less than it may take.
func (x *Outbox) batches(ctx context.Context, kind string, full int64, remove func() (int64, error)) {
	for ctx.Err() == nil {
		n, err := remove()
		x.metrics.removed.WithLabelValues(kind).Add(float64(n))
		if err != nil && ctx.Err() == nil {
			x.log.Warn("clearing up has to wait", "kind", kind, "error", err)
		}
		if err != nil || n < full {
			return
		}
		pause(ctx, batchPause)
	}
}

// prune removes history that is older than its retention, except what answers a claim.
// What a sink is still to get is kept; without a sink, nobody waits for it.
func (x *Outbox) prune(ctx context.Context, now time.Time) {
	kept := x.options.Retention()
	if kept.History <= 0 {
		return
	}
	before := now.Add(-kept.History)
	var after user.Place
	for more := true; more && ctx.Err() == nil; {
		page, err := x.db.Prune(ctx, before, x.relay == nil, after, batchRows)
		if err != nil {
			x.log.Warn("clearing up has to wait", "kind", "history", "error", err)
			return
		}
		x.metrics.removed.WithLabelValues("history").Add(float64(page.Removed))
		after, more = page.Next, page.More
		pause(ctx, batchPause)
	}
}
