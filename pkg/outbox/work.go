package outbox

import (
	"context"
	"time"

	"aiadmin/pkg/store"
)

const (
	flushRows  = 512                   // settled events that are recorded at once
	flushAfter = 20 * time.Millisecond // others, so that they are recorded together
	jobTimeout = 30 * time.Second
	jobRetry   = time.Second
)

// job runs one piece of work on the database beside the loop, one at a time: a scan must
// not overlap with the deletion of what was sent, or it would see an event as unsent whose
// sending has just been forgotten. The loop runs done; after an error, the next job is not
// begun before jobRetry.
func (r *relay) job(do func(context.Context) error, done func(error)) {
	r.busy = true
	go func() {
		ctx, cancel := context.WithTimeout(r.jobs, jobTimeout)
		defer cancel()
		err := do(ctx)
		r.worked <- func() {
			if err != nil {
				// No text of the database's goes out: it may quote what is in a row.
				r.log.Warn("the outbox cannot be read or written at present", "error", store.Loggable(err))
				r.retryAt = time.Now().Add(jobRetry)
			}
			done(err)
		}
	}()
}

// look is a job that reads. What it read counts only if no partition came or went
// meanwhile: another process may have sent it.
func (r *relay) look(do func(context.Context) error, seen, unseen func()) {
	epoch := r.epoch
	r.job(do, func(err error) {
		if err != nil || r.epoch != epoch {
			r.scans.wanted = true
			unseen()
			return
		}
		seen()
	})
}

// roomy says whether enough rows fit in that reading some is worth it.
func (r *relay) roomy() bool { return r.held <= windowRows/2 }

// work starts the next job, if there is one and none is running.
func (r *relay) work(now time.Time) {
	switch {
	case r.busy || now.Before(r.retryAt):
	case r.flushDue(now):
		r.flush()
	case r.tenure == nil || r.stopping || !r.roomy():
	default:
		if lanes := r.waiting.due(now, windowRows-r.held); len(lanes) > 0 {
			r.resume(lanes)
			return
		}
		r.scan(now)
	}
}

// settle notes that something is to be recorded.
func (r *relay) settle(now time.Time) {
	if r.openedAt.IsZero() {
		r.openedAt = now
	}
}

func (r *relay) flushDue(now time.Time) bool {
	return !r.openedAt.IsZero() && (len(r.open.sent) >= flushRows || now.Sub(r.openedAt) >= flushAfter)
}

// flush records what became of events.
func (r *relay) flush() {
	batch := r.open
	r.recording, r.open, r.openedAt = batch, newSettlement(), time.Time{}
	r.job(func(ctx context.Context) error { return batch.record(ctx, r.db) }, func(err error) {
		r.recording = settlement{}
		if err != nil {
			r.open.merge(batch)
			r.settle(time.Now())
			return
		}
		r.recorded(batch)
	})
}

// recorded ends the lanes of parked events: from here on the database tells of them.
func (r *relay) recorded(batch settlement) {
	for _, ruling := range batch.rulings {
		if ruling.park && ruling.lane.state == parked {
			delete(r.lanes, ruling.lane.user)
			r.scans.blocked[ruling.lane.user] = isParked
		}
	}
	r.release()
	r.settled()
}
