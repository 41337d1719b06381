package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// delivery is one user's next events, oldest first. One goroutine holds it at a time.
type delivery struct {
	partition int16
	user      uuid.UUID
	events    []event
	last      int64 // seq of the last of events, also when they are sent
	more      bool  // there are probably further events of the user
}

// event is an unsent event as read from the outbox.
type event struct {
	seq      int64
	failures int // failed tries, refused ones among them
	refusals int // tries that the sink refused
	user.Event
}

func (d *delivery) bytes() (n int) {
	for i := range d.events {
		n += len(d.events[i].Data)
	}
	return n
}

// work sends deliveries, one event of each at a time, until ctx ends.
func (s *session) work(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case d := <-s.ready:
			probe, ok := s.pace.begin(time.Now())
			if !ok {
				s.queue(d)
				s.pace.wait(ctx)
				continue
			}
			if !s.lease.sends(d.partition) { // leaving, or the locks are not proved to be held at the moment
				s.pace.abandoned(probe)
				s.queue(d)
				pause(ctx, beatEvery/10)
				continue
			}
			s.deliver(d, probe)
		}
	}
}

// try is a finished attempt to send an event.
type try struct {
	event  event
	probe  bool
	answer answer
	took   time.Duration
}

// deliver tries to send the first event of a delivery.
func (s *session) deliver(d *delivery, probe bool) {
	s.metrics.flying.Inc()
	began := time.Now()
	t := try{event: d.events[0], probe: probe, answer: s.sink.send(s.sending, d.events[0].Event)}
	t.took = time.Since(began)
	s.metrics.flying.Dec()
	s.metrics.tried(t)
	if t.answer.verdict != accepted && s.sending.Err() != nil { // aborted, not answered
		s.pace.abandoned(probe)
		s.ledger.ended(d)
		return
	}
	if t.answer.verdict == failed {
		s.fail(d, t)
		return
	}
	if s.pace.answered() {
		s.log.Info("the sink answers again", "sink", s.sink.String())
		s.metrics.down.Set(0)
		s.ledger.hurry()
	}
	if t.answer.verdict == refused {
		s.refuse(d, t)
		return
	}
	d.events[0] = event{}
	d.events = d.events[1:]
	s.ledger.sent(d, t.event)
	if len(d.events) > 0 {
		s.queue(d)
	}
}

// fail keeps an event that the sink could not take: it is tried again later, or, while the
// sink is down, as soon as the sink's own pause is over.
func (s *session) fail(d *delivery, t try) {
	down, news := s.pace.failed(d.user, t.probe, t.answer.retryAfter, time.Now())
	if news {
		s.log.Warn("the sink is down: trying one event at a time", "sink", s.sink.String(), "fault", t.answer.fault, "error", t.answer.err)
		s.metrics.down.Set(1)
	}
	if down {
		s.queue(d)
		return
	}
	s.postpone(d, t, postponement{})
}

// refuse counts a refusal, and parks the event after the last.
func (s *session) refuse(d *delivery, t try) {
	p := postponement{refusals: t.event.refusals + 1}
	if p.park = p.refusals >= s.options.MaxAttempts; p.park {
		s.metrics.parked.Inc()
		s.log.Error("an event is parked: the sink refuses it; its user's later events wait (see ai-admin resend)",
			"event", t.event.ID, "user", d.user, "fault", t.answer.fault, "tries", p.refusals)
	}
	s.postpone(d, t, p)
}

// postpone makes an event wait in the database, where its user's later events wait too: thousands
// of waiting users must not fill the memory.
func (s *session) postpone(d *delivery, t try, p postponement) {
	p.refusals = max(p.refusals, t.event.refusals)
	p.failures = max(t.event.failures+1, p.refusals)
	p.partition, p.seq, p.fault = d.partition, t.event.seq, t.answer.fault
	p.wait = wait(p.failures, s.options.MaxBackoff, t.answer.retryAfter)
	s.ledger.postpone(d, p)
	level := slog.LevelDebug
	if p.failures%10 == 5 { // now and then, so that the log says why something is late
		level = slog.LevelWarn
	}
	if !p.park {
		s.log.Log(s.sending, level, "an event will be tried again", "event", t.event.ID, "user", d.user,
			"fault", t.answer.fault, "error", t.answer.err, "failures", p.failures, "at", time.Now().Add(p.wait))
	}
}

// postponement is what the outbox records about an event that was not accepted.
type postponement struct {
	partition          int16
	seq                int64
	failures, refusals int
	wait               time.Duration
	fault              string
	park               bool
}

// batch holds results that are not recorded in the outbox yet.
type batch struct {
	sent      map[int64]int16 // partitions by seq
	postponed []postponement
	emptied   []*delivery // all events that were read are sent
	ended     []*delivery // nothing more of them is sent by this session
	hurry     bool        // the sink is back: what waits for it is due
}

func (b *batch) empty() bool {
	return len(b.sent)+len(b.postponed)+len(b.emptied)+len(b.ended) == 0 && !b.hurry
}

// ledger collects results from the workers. Sent events are remembered until they are recorded,
// even across leases, so that they are not sent again.
type ledger struct {
	filled chan struct{} // signaled when the batch has begun, and when it should not wait
	mu     sync.Mutex
	batch  batch
	since  time.Time // when the batch began; zero for an empty one
	urgent bool
	bytes  int // of the events in memory
}

func newLedger() *ledger {
	return &ledger{filled: make(chan struct{}, 1), batch: batch{sent: map[int64]int16{}}}
}

// add changes the batch. A full or urgent one is due at once.
func (l *ledger) add(urgent bool, freed int, change func(*batch)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.batch)
	l.bytes -= freed
	begun := l.since.IsZero()
	if begun {
		l.since = time.Now()
	}
	if len(l.batch.sent) >= settleRows {
		urgent = true
	}
	if begun || urgent && !l.urgent {
		l.urgent = l.urgent || urgent
		signal(l.filled)
	}
}

func (l *ledger) sent(d *delivery, e event) {
	emptied := len(d.events) == 0
	l.add(emptied && d.more, len(e.Data), func(b *batch) {
		b.sent[e.seq] = d.partition
		if emptied {
			b.emptied = append(b.emptied, d)
		}
	})
}

func (l *ledger) postpone(d *delivery, p postponement) {
	l.add(false, d.bytes(), func(b *batch) {
		b.postponed = append(b.postponed, p)
		b.ended = append(b.ended, d)
	})
}

func (l *ledger) ended(d *delivery) {
	l.add(false, d.bytes(), func(b *batch) { b.ended = append(b.ended, d) })
}

func (l *ledger) hurry() { l.add(true, 0, func(b *batch) { b.hurry = true }) }

// due returns when to record the batch; zero for an empty one.
func (l *ledger) due() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() || l.urgent {
		return l.since
	}
	return l.since.Add(settleAfter)
}

// take returns the batch and begins another.
func (l *ledger) take() batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.batch
	l.batch, l.since, l.urgent = batch{sent: map[int64]int16{}}, time.Time{}, false
	return b
}

// putBack restores a batch that could not be recorded.
func (l *ledger) putBack(b batch) {
	l.add(false, 0, func(later *batch) {
		for seq, partition := range b.sent {
			later.sent[seq] = partition
		}
		later.postponed = append(b.postponed, later.postponed...)
		later.emptied = append(b.emptied, later.emptied...)
		later.ended = append(b.ended, later.ended...)
		later.hurry = later.hurry || b.hurry
	})
}

// keepSent forgets everything but sent events: the present owner of the partitions decides the
// rest.
func (l *ledger) keepSent() {
	b := l.take()
	l.mu.Lock()
	l.bytes = 0
	l.mu.Unlock()
	if len(b.sent) > 0 {
		l.putBack(batch{sent: b.sent})
	}
}

func (l *ledger) hold(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += bytes
}

// held returns how many bytes of events are in memory.
func (l *ledger) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}
