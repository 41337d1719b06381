package relay

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"aiadmin/pkg/store"
	"aiadmin/pkg/tracing"
)

// Options of a Relay.
type Options struct {
	Store *store.Store
	// Sink is K_SINK, the URL that events go to. If it is empty, nothing is sent and events wait.
	Sink string
	// Overrides is K_CE_OVERRIDES, attributes to add for the sink; empty for none.
	Overrides string
	Source    string // of the events
	// MaxAttempts is how often the sink must refuse an event before it is parked; 0 is 20.
	MaxAttempts int
	// MaxBackoff is the longest wait between two tries; 0 is 5 min.
	MaxBackoff time.Duration
	// Notice is called when another process has announced new events; nil ignores it.
	Notice func()
	// Sent is called when events have left the outbox; nil ignores it.
	Sent    func()
	Log     *slog.Logger          // nil discards
	Tracer  *tracing.Tracer       // of deliveries; nil makes no spans
	Metrics prometheus.Registerer // nil registers none
	// TokenFile holds the bearer token for a sink that asks for one; empty is where a
	// SinkBinding mounts it.
	TokenFile string
	// TrustFolder holds certificates (PEM) of authorities to trust beside the host's; empty
	// is where a SinkBinding mounts them.
	TrustFolder string
}

// Relay sends the events in the outbox to the sink.
type Relay struct {
	options Options
	store   *store.Store
	unsent  string // the statement that reads the outbox
	log     *slog.Logger
	metrics *metrics
	sink    *sink // nil: nothing is sent
	pace    *pace
	name    string        // in notifications, so that this process ignores its own
	wake    chan struct{} // events may have come, from here or another process
	local   chan struct{} // events have come from here
	shared  atomic.Bool   // another process sends too, and must be notified of commits
	ledger  *ledger
}

// New makes a Relay, which does nothing before Run. A sink that is not an http or https
// URL, and malformed overrides, are errors.
func New(o Options) (*Relay, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 20
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = 5 * time.Minute
	}
	if o.Notice == nil {
		o.Notice = func() {}
	}
	if o.Sent == nil {
		o.Sent = func() {}
	}
	r := &Relay{options: o, store: o.Store, unsent: composeUnsent(o.Store.DB()), log: o.Log, metrics: newMetrics(o.Metrics, o.Store), pace: newPace(o.MaxBackoff),
		name: uuid.NewString(), wake: make(chan struct{}, 1), local: make(chan struct{}, 1), ledger: newLedger()}
	var err error
	if o.Sink == "" {
		_, err = parseOverrides(o.Overrides)
	} else {
		r.sink, err = newSink(o)
	}
	return r, err
}

// Sends reports whether there is a sink to send to.
func (r *Relay) Sends() bool { return r.sink != nil }

// Sink names the sink, without what its address may hold of passwords and tokens; empty for none.
func (r *Relay) Sink() string {
	if r.sink == nil {
		return ""
	}
	return r.sink.String()
}

// Run sends events until ctx ends. It then stops between events: a request under way may finish
// within 10 s, no other is begun. The database and the sink may be away for any length of time.
// Without a sink, Run returns at once.
func (r *Relay) Run(ctx context.Context) {
	if r.sink == nil {
		return
	}
	var notifying sync.WaitGroup
	notifying.Go(func() { r.notifyOthers(ctx) })
	defer notifying.Wait()
	for ctx.Err() == nil {
		if err := r.runSession(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("sending is paused: the outbox's locks are not held", "error", store.Loggable(err))
			pause(ctx, beatEvery/4+rand.N(beatEvery/2)) //nolint:gosec // jitter needs no secret
		}
	}
}

// runSession acquires a lease and sends events for as long as it lasts.
func (r *Relay) runSession(ctx context.Context) error {
	l, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	db := r.store.SeparatePool(1) // a flood of requests, which wait for the pool, must not delay events
	defer func() { _ = db.Close() }()
	s := newSession(r, db, l)
	lost := make(chan error, 1)
	go func() {
		defer s.end() // nothing is sent without a lease
		lost <- l.keep(s.sending)
	}()
	s.run(ctx)
	s.end()
	err = <-lost
	l.close()
	r.metrics.owned.Set(0)
	return err
}

// Wake announces that events have been committed. It never blocks, and may be called for each.
func (r *Relay) Wake() {
	signal(r.wake)
	signal(r.local)
}

// signal wakes the receiver of c. Signals that are not received yet coalesce into one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	notifyEvery   = 20 * time.Millisecond
	notifyTimeout = time.Second
)

// notifyOthers wakes the other processes that send, if there are any. The notification is
// not part of the transactions that change users: PostgreSQL commits those one by one if
// each has one.
func (r *Relay) notifyOthers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.local:
		}
		if !r.shared.Load() {
			continue
		}
		notifying, cancel := context.WithTimeout(ctx, notifyTimeout)
		_ = notify(notifying, r.store.DB(), r.name) // if it fails, they still poll each second
		cancel()
		pause(ctx, notifyEvery)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
