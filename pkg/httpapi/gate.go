package httpapi

import (
	"context"
	"net/http"
	"time"

	"aiadmin/pkg/user"
)

// gate bounds the requests worked on at once, so that a flood of them waits in line with
// nothing but its connection, and gives up in time instead of piling up for ever.
type gate struct {
	places  chan struct{}
	waiting chan struct{}
	patient time.Duration
}

const (
	defaultConcurrency = 500              // Knative's containerConcurrency
	queueFactor        = 2                // waiting requests per place; more cost memory and switching, and get no more done
	patience           = 30 * time.Second // how long one waits for a place
)

func newGate(places int) gate {
	if places == 0 {
		places = defaultConcurrency
	}
	return gate{make(chan struct{}, places), make(chan struct{}, places*queueFactor), patience}
}

var errBusy = user.Errorf(user.Unavailable, "too many requests are waiting: try again shortly")

func (g gate) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return errBusy
	}
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

func (g gate) leave() { <-g.places }

func (a *API) admit(r *http.Request, e endpoint) error {
	if !e.waits {
		return nil
	}
	return a.gate.enter(r.Context())
}
