package outbox

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// Options of an Outbox.
type Options struct {
	Store *store.Store
	// Sink is K_SINK, the URL that events go to; empty sends nothing, and events wait.
	Sink string
	// Overrides is K_CE_OVERRIDES, attributes to add for the sink; empty for none.
	Overrides string
	Source    string // of the events
	// MaxAttempts is how often the sink must refuse an event until it is parked; 0 is 20.
	MaxAttempts int
	// MaxBackoff is the longest wait between two tries; 0 is 5 min.
	MaxBackoff time.Duration
	// Retention says how long things are kept, asked each time; nil keeps all for good.
	Retention func() Retention
	// Changes reads the feed, and Cursor writes a place in it; they serve the streams.
	Changes func(ctx context.Context, cursor string, limit int) (user.ChangesPage, error)
	Cursor  func(user.Place) string
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers none
	Client  *http.Client          // for the sink; nil is one made for the purpose
	// TokenFile holds the bearer token for the sink, where it asks for one; empty is where
	// a SinkBinding mounts it.
	TokenFile string
	// TrustFolder holds certificates (PEM) of authorities to trust beside the host's; empty
	// is where a SinkBinding mounts them.
	TrustFolder string
}

// Outbox sends events, streams them, and clears up behind them.
type Outbox struct {
	options Options
	db      *store.Store
	log     *slog.Logger
	metrics *metrics
	relay   *relay // nil without a sink
	keeper  *keeper
	changed signal // events may have come, from here or another process
	local   signal // events have come from here
	gone    signal // events have left the outbox
	streams streams
}

// New makes an Outbox, which does nothing before Run. A sink that is no http or https
// URL, and malformed overrides, are errors.
func New(o Options) (*Outbox, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 20
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = 5 * time.Minute
	}
	if o.Retention == nil {
		o.Retention = func() Retention { return Retention{} }
	}
	x := &Outbox{options: o, log: o.Log, db: o.Store, metrics: newMetrics(o.Metrics, o.Store.DB().DB), streams: newStreams()}
	if o.Sink == "" {
		return x, nil
	}
	sink, err := newSink(o)
	if err != nil {
		return nil, err
	}
	x.keeper = &keeper{connect: o.Store.Connect, log: o.Log, name: uuid.NewString(), notice: x.changed.wake, changes: make(chan change)}
	x.relay = &relay{connect: func() *sql.DB { return o.Store.Aside(1) }, sink: sink, keeper: x.keeper, wake: &x.changed, log: o.Log,
		maxAttempts: o.MaxAttempts, maxBackoff: o.MaxBackoff, metrics: x.metrics, settled: x.gone.wake,
		lanes: map[uuid.UUID]*lane{}, pace: newPace(o.MaxBackoff), landed: make(chan landing, maxFlying),
		open: newSettlement(), worked: make(chan func(), 1), scans: scans{blocked: map[uuid.UUID]reason{}}}
	return x, nil
}

// Run sends events and clears up until ctx ends; then it ends between events: what is
// being sent may finish within 10 s, nothing else is begun. The database and the sink may
// be away for as long as they like.
func (x *Outbox) Run(ctx context.Context) error {
	x.mend(ctx)
	var running sync.WaitGroup
	running.Go(func() { x.clearUp(ctx) })
	if x.relay != nil {
		running.Go(func() { x.relay.run(ctx) })
		running.Go(func() { x.tellOthers(ctx) })
	}
	running.Wait()
	x.EndStreams()
	return nil
}

// Wake says that events have been committed. It never blocks, and may be called for each.
func (x *Outbox) Wake() {
	x.changed.wake()
	x.local.wake()
}

const (
	tellEvery   = 20 * time.Millisecond
	tellTimeout = time.Second
)

// tellOthers wakes the other processes that send, if there are any. It is no part of the
// transactions of changes: with a notice in each, PostgreSQL commits them one by one.
func (x *Outbox) tellOthers(ctx context.Context) {
	for woken := x.local.wait(); ; {
		select {
		case <-ctx.Done():
			return
		case <-woken:
		}
		woken = x.local.wait()
		if !x.keeper.others.Load() {
			continue
		}
		telling, cancel := context.WithTimeout(ctx, tellTimeout)
		_ = notify(telling, x.db.DB().DB, x.keeper.name) // they look by themselves each second
		cancel()
		pause(ctx, tellEvery)
	}
}

// mend makes a restored log's feed go on; until it is possible, migrations are awaited.
func (x *Outbox) mend(ctx context.Context) {
	for ctx.Err() == nil {
		mended, err := x.db.MendFeed(ctx)
		if mended {
			x.log.Warn("the event log is from another database cluster: the change feed goes on behind its last event")
		}
		if err == nil {
			return
		}
		x.log.Debug("the event log is not ready", "error", err)
		pause(ctx, pollEvery)
	}
}

// Parked counts the events that the sink refused for good.
func (x *Outbox) Parked(ctx context.Context) (Parked, error) {
	return countParked(ctx, x.db.DB().DB)
}

// OldestUnsent is the time of the change whose event has waited longest, parked ones
// included; the zero time when all are sent.
func (x *Outbox) OldestUnsent(ctx context.Context) (time.Time, error) {
	return oldestUnsent(ctx, x.db.DB().DB)
}

// pause waits, but not longer than ctx lives.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
