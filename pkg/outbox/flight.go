package outbox

import (
	"container/heap"
	"log/slog"
	"slices"
	"time"
)

// landing is an ended try.
type landing struct {
	lane   *lane
	row    row
	tenure *tenure
	probe  bool
	answer answer
	took   time.Duration
}

// dispatch lets ready lanes send, first come, first served.
func (r *relay) dispatch(now time.Time) {
	if r.stopping || r.tenure == nil || !r.tenure.holds(now) {
		return
	}
	for len(r.ready) > 0 && r.pace.allows(r.flying, now) {
		l := r.ready[0]
		r.ready[0] = nil
		r.ready = r.ready[1:]
		l.state = flying
		r.flying++
		r.parts[l.partition].flying++
		r.metrics.flying.Set(float64(r.flying))
		go r.fly(landing{lane: l, row: l.queue[0], tenure: r.tenure, probe: r.pace.down})
	}
}

func (r *relay) fly(x landing) {
	began := time.Now()
	x.answer = r.sink.send(x.tenure.ctx, x.row.event)
	x.took = time.Since(began)
	r.landed <- x // has room for all
}

// ended takes up the outcome of a try.
func (r *relay) ended(x landing, now time.Time) {
	part := &r.parts[x.lane.partition]
	part.flying--
	r.flying--
	r.metrics.flying.Set(float64(r.flying))
	r.metrics.tried(x, now)
	if x.answer.verdict == accepted {
		r.settle(now)
		r.open.sent[x.row.seq] = x.lane.partition
	}
	switch {
	case x.tenure != r.tenure:
		part.stale--
		r.begin(x.lane.partition)
	case x.lane.state == gone:
	case x.answer.verdict != accepted && x.tenure.ctx.Err() != nil: // aborted, not answered
	default:
		r.judged(x, now)
	}
	r.release()
}

// judged goes on with a lane after the sink's answer to its head.
func (r *relay) judged(x landing, now time.Time) {
	if x.answer.verdict == failed {
		if r.pace.failed(x.lane.user, x.probe, x.answer.retryAfter, now) {
			r.log.Warn("the sink is down: trying one event at a time", "sink", r.sink, "fault", x.answer.fault, "error", x.answer.err)
		}
		r.metrics.down.Set(boolean(r.pace.down))
		r.postpone(x, now)
		return
	}
	if r.pace.answered() {
		r.log.Info("the sink answers again", "sink", r.sink)
		r.metrics.down.Set(0)
		r.waiting.hurry(now)
	}
	if x.answer.verdict == refused {
		r.refuse(x, now)
		return
	}
	r.advance(x.lane)
}

// advance lets a lane go on behind an event that was accepted.
func (r *relay) advance(l *lane) {
	l.queue[0] = row{}
	l.queue = l.queue[1:]
	r.held--
	l.failures, l.refusals = 0, 0
	if l.more && len(l.queue) <= laneRows/4 {
		l.more = false
		r.scans.sweepFrom(l.partition, l.tail)
	}
	if len(l.queue) == 0 {
		delete(r.lanes, l.user)
		return
	}
	r.enqueue(l)
}

func (r *relay) enqueue(l *lane) {
	l.state = ready
	l.head = l.queue[0].seq
	r.ready = append(r.ready, l)
}

// postpone makes a lane wait. Its rows are read again when it is due: thousands of waiting
// users must not fill the memory.
func (r *relay) postpone(x landing, now time.Time) {
	l := x.lane
	l.failures++
	l.down = x.answer.verdict == failed
	l.state, l.due = waiting, now.Add(wait(l.failures, r.maxBackoff, x.answer.retryAfter))
	r.empty(l)
	heap.Push(&r.waiting, l)
	level := slog.LevelDebug
	if l.failures%10 == 5 { // now and then, so that the log tells why something is late
		level = slog.LevelWarn
	}
	r.log.Log(r.jobs, level, "an event will be tried again", "event", x.row.event.ID, "user", l.user,
		"fault", x.answer.fault, "error", x.answer.err, "failures", l.failures, "at", l.due)
}

// empty drops a lane's rows but remembers the head.
func (r *relay) empty(l *lane) {
	l.more = l.more || len(l.queue) > 1
	l.tail = l.head
	r.held -= len(l.queue)
	l.queue = nil
}

// refuse counts a refusal, and parks the event after the last.
func (r *relay) refuse(x landing, now time.Time) {
	l := x.lane
	l.refusals = max(l.refusals, x.row.refusals) + 1 // the last may not be recorded yet
	l.failures = max(l.failures, l.refusals-1)       // as if this process had counted from the first
	park := l.refusals >= r.maxAttempts
	if park {
		l.state = parked
		r.empty(l)
	} else {
		r.postpone(x, now)
	}
	r.settle(now)
	r.open.rulings[x.row.seq] = ruling{lane: l, refusals: l.refusals, retryAt: l.due, fault: x.answer.fault, park: park}
	if park {
		r.metrics.parked.Inc()
		r.log.Error("an event is parked: the sink refuses it; its user's later events wait (see ai-admin resend)",
			"event", x.row.event.ID, "user", l.user, "fault", x.answer.fault, "tries", l.refusals)
	}
}

// drop forgets lanes; what they were sending lands all the same.
func (r *relay) drop(which func(*lane) bool) {
	for user, l := range r.lanes {
		if which(l) {
			r.held -= len(l.queue)
			l.state, l.queue = gone, nil
			delete(r.lanes, user)
		}
	}
	isGone := func(l *lane) bool { return l.state == gone }
	r.ready = slices.DeleteFunc(r.ready, isGone)
	r.waiting = slices.DeleteFunc(r.waiting, isGone)
	heap.Init(&r.waiting)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
