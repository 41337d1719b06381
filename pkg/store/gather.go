package store

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// gatherer reads single users, with one statement for all that are asked for while the
// last one was under way. A lone read waits for nothing; under load a round trip to the
// database, which costs more than finding a user there, serves many. It is no cache: a
// statement begins after everything that it answers was asked.
//
// At most lanes statements are under way. While one is free, a read runs by itself, in its
// own context; otherwise it waits, and goes along with the others that do: that statement
// goes on when one of them gives up.
type gatherer struct {
	on      querier
	mu      sync.Mutex
	waiting []*lookup
	running int // lanes
}

type lookup struct {
	id    uuid.UUID
	found *user.User // nil: there is none
	err   error
	done  chan struct{}
}

const (
	lanes         = 2 // more of them share less: with four, 16 clients got two thirds of it
	lookupsAtOnce = 64
	lookupTime    = 30 * time.Second // for a statement that is to take a millisecond
	selectByIDs   = "SELECT " + userColumns + " FROM users WHERE id = ANY ($1::uuid[])"
)

// get returns a user, nil when there is none. Others may be given the same one: it must
// not be changed.
func (g *gatherer) get(ctx context.Context, id uuid.UUID) (*user.User, error) {
	l := &lookup{id: id}
	g.mu.Lock()
	if g.running < lanes {
		g.running++
		g.mu.Unlock()
		err := g.read(ctx, []*lookup{l})
		g.release()
		return l.found, err
	}
	l.done = make(chan struct{})
	g.waiting = append(g.waiting, l)
	g.mu.Unlock()
	select {
	case <-l.done:
		return l.found, l.err
	case <-ctx.Done():
		return nil, translate(ctx.Err())
	}
}

// release gives a lane up to those who wait.
func (g *gatherer) release() {
	if lookups := g.next(); lookups != nil {
		go g.lane(lookups)
	}
}

// lane reads for those who wait until nobody does.
func (g *gatherer) lane(lookups []*lookup) {
	for ; lookups != nil; lookups = g.next() {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
		err := g.read(ctx, lookups)
		cancel()
		for _, l := range lookups {
			l.err = err
			close(l.done)
		}
	}
}

// next takes the longest waiting, or ends the lane.
func (g *gatherer) next() []*lookup {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.running--
		return nil
	}
	n := min(len(g.waiting), lookupsAtOnce)
	lookups := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return lookups
}

func (g *gatherer) read(ctx context.Context, lookups []*lookup) error {
	ids := make([]byte, 0, 38*len(lookups))
	for i, l := range lookups {
		ids = append(append(ids, "{,"[min(i, 1)]), l.id.String()...)
	}
	return each(ctx, g.on, selectByIDs, prepared(string(append(ids, '}'))), func(values [][]byte) error {
		found, err := decodeUser(values)
		if err != nil {
			return err
		}
		for _, l := range lookups {
			if l.id == found.ID {
				l.found = found
			}
		}
		return nil
	})
}
