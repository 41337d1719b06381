package httpapi

import (
	"context"
	"time"

	"aiadmin/pkg/user"
)

// Gate bounds the requests worked on at once. The others wait, and give up in time instead
// of piling up forever. Nothing that depends on a client's speed happens inside: a body is
// read before [Gate.Enter], and an answer is small.
type Gate struct {
	places, line chan struct{}
	patience     time.Duration
	leave        func()
}

const (
	defaultConcurrency = 500              // Knative's containerConcurrency
	waitingPerPlace    = 2                // requests that may wait
	patience           = 30 * time.Second // for a place
)

// NewGate makes a gate with so many places; 0 is 500.
func NewGate(places int) *Gate {
	if places == 0 {
		places = defaultConcurrency
	}
	g := &Gate{places: make(chan struct{}, places), line: make(chan struct{}, places*waitingPerPlace), patience: patience}
	g.leave = func() { <-g.places }
	return g
}

var errBusy = user.Errorf(user.Unavailable, "too many requests are waiting: try again shortly")

// Enter waits for a place, which leave gives back. It fails with [user.Unavailable] when too
// many wait or it takes too long, and with the context's error.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
		return g.leave, nil
	default:
	}
	select {
	case g.line <- struct{}{}:
		defer func() { <-g.line }()
	default:
		return nil, errBusy
	}
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return g.leave, nil
	case <-timer.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
