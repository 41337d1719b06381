package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"aiadmin/pkg/user"
)

// A watch closes connections that wait for a database that is connected but silent: a frozen host, or
// a network that drops packets. Without it, requests would wait for their own deadline, 300 s, and
// hold every connection of the pool.
//
//   - A connection that has waited for an answer for silenceLimit is closed.
//   - When nothing has been heard on any connection for suspicion, a trial connection is made. If that is
//     not answered either, the database is silent: all waiting connections are closed, and new ones are
//     refused at once, until a trial connection is answered.
//
// So a request fails within 10 s, even one that was waiting for a connection.
type watch struct {
	store  *Store
	silent atomic.Bool
	heard  atomic.Int64 // when any connection was answered last, in [now]'s time
	trying atomic.Bool  // a trial connection is being made
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu    sync.Mutex
	waits map[*watched]struct{}
}

const (
	silenceLimit = 7 * time.Second
	suspicion    = 4 * time.Second
	trialLimit   = 2500 * time.Millisecond
	watchEvery   = 200 * time.Millisecond
)

var errSilent = user.Errorf(user.Unavailable, "the database does not answer: try again shortly").Wrap(errors.New("it is connected and silent"))

var beginning = time.Now()

// now returns a monotonic time, which clock changes do not affect.
func now() int64 { return int64(time.Since(beginning)) + 1 }

func newWatch(s *Store) *watch { return &watch{store: s, waits: map[*watched]struct{}{}} }

func (w *watch) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.ended.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				w.look(ctx)
			}
		}
	})
}

func (w *watch) stop() {
	w.cancel()
	w.ended.Wait()
}

// look ends waits that have lasted too long, and begins a trial when no connection hears anything.
func (w *watch) look(ctx context.Context) {
	limit := silenceLimit
	if w.silent.Load() {
		limit = watchEvery
	}
	oldest := w.end(limit)
	if oldest == 0 || now()-max(oldest, w.heard.Load()) < int64(suspicion) {
		return
	}
	if w.trying.CompareAndSwap(false, true) {
		w.ended.Go(func() {
			defer w.trying.Store(false)
			w.try(ctx)
		})
	}
}

// end closes the connections that have waited for limit. It returns when the oldest wait began, 0 for none.
func (w *watch) end(limit time.Duration) (oldest int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.waits {
		since := c.since.Load()
		if since == 0 {
			continue
		}
		if oldest == 0 || since < oldest {
			oldest = since
		}
		if now()-since >= int64(limit) {
			c.abort()
		}
	}
	return oldest
}

// try makes trial connections until one is answered, or refused, which is an answer as well.
func (w *watch) try(ctx context.Context) {
	for timeout := trialLimit; w.unanswered(ctx, timeout); {
		if severalHosts(w.store.config.Load()) {
			timeout = trialTimeout // each host has its own
		}
		if !w.silent.Swap(true) {
			w.store.pool.Reset()
		}
		w.end(watchEvery)
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchEvery):
		}
	}
	w.heard.Store(now())
	w.silent.Store(false)
}

func (w *watch) unanswered(ctx context.Context, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, w.store.latest())
	if err == nil {
		_, err = sessionOf(ctx, conn.PgConn(), "SELECT 1")
		_ = conn.Close(ctx)
	}
	return pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded)
}

// watched is a connection to the database.
type watched struct {
	net.Conn
	watch *watch
	since atomic.Int64 // when it began to wait for an answer, 0 when it does not
	abort context.CancelFunc
}

// dial makes connections that are watched from the first packet on.
func (w *watch) dial(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, abort := context.WithCancel(ctx)
		defer abort()
		c := &watched{watch: w, abort: abort}
		c.since.Store(now())
		w.add(c)
		conn, err := dial(ctx, network, address)
		if err != nil {
			w.remove(c)
			return nil, err
		}
		w.mu.Lock()
		c.Conn, c.abort = conn, func() { _ = conn.Close() }
		w.mu.Unlock()
		c.since.Store(0)
		return c, nil
	}
}

func (w *watch) add(c *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits[c] = struct{}{}
}

func (w *watch) remove(c *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waits, c)
}

// Read implements [net.Conn].
func (c *watched) Read(b []byte) (int, error) {
	c.since.Store(now())
	n, err := c.Conn.Read(b)
	c.since.Store(0)
	if n > 0 {
		c.watch.heard.Store(now())
	}
	return n, err
}

// Close implements [net.Conn].
func (c *watched) Close() error {
	c.watch.remove(c)
	return c.Conn.Close()
}
