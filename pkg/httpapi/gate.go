package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"aiadmin/pkg/user"
)

// gate bounds the requests worked on at once, so that a flood of them waits in line with
// nothing but its connection, and gives up in time instead of piling up for ever.
type gate struct {
	places  chan struct{}
	line    line
	patient time.Duration
}

const (
	defaultConcurrency = 500              // Knative's containerConcurrency
	patience           = 30 * time.Second // how long one waits for a place
)

func newGate(places int) *gate {
	if places == 0 {
		places = defaultConcurrency
	}
	return &gate{places: make(chan struct{}, places), line: line{places: places, now: time.Now}, patient: patience}
}

var errBusy = user.Errorf(user.Unavailable, "too many requests are waiting: try again shortly")

func (g *gate) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	if !g.line.join() {
		return errBusy
	}
	defer g.line.leave()
	timer := time.NewTimer(g.patient)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() { <-g.places }

// line is those who wait for a place. It takes a burst; but when that was more than it can
// take, there is overload. Its length then only costs, as so many connections crowd each
// other out of the processor's caches, and for a while it is kept short.
type line struct {
	places int
	now    func() time.Time

	mu         sync.Mutex
	length     int
	overflowed time.Time // when it was too short for a burst last
}

const (
	waitInBurst   = 2 // per place
	placesPerWait = 4 // under overload
	overloadLasts = 5 * time.Second
)

func (l *line) join() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.length >= l.places*waitInBurst {
		l.overflowed = now
	}
	if l.length >= l.longest(now) {
		return false
	}
	l.length++
	return true
}

func (l *line) longest(now time.Time) int {
	if now.Sub(l.overflowed) < overloadLasts {
		return max(1, l.places/placesPerWait)
	}
	return l.places * waitInBurst
}

func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.length--
}

func (a *API) admit(r *http.Request, e endpoint) error {
	if !e.waits {
		return nil
	}
	return a.gate.enter(r.Context())
}
