package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/user"
)

// gatherer reads single users, with one statement for all that are asked for while the
// last one was under way. A lone read waits for nothing; under load a round trip to the
// database, which costs more than finding a user there, serves many. It is no cache: a
// statement begins after everything that it answers was asked.
//
// Alone, a read runs in its own context; a statement for several goes on when one of them
// gives up. See package gather.
type gatherer struct {
	on    querier
	lanes gather.Lanes[*lookup]
}

func (g *gatherer) begin(on querier) {
	g.on = on
	g.lanes.Count, g.lanes.Most, g.lanes.Group = lanes, lookupsAtOnce, g.together
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
	l := &lookup{id: id, done: make(chan struct{})}
	if g.lanes.Enter(l) {
		defer g.lanes.Leave()
		err := g.read(ctx, []*lookup{l})
		return l.found, err
	}
	select {
	case <-l.done:
		return l.found, l.err
	case <-ctx.Done():
		return nil, translate(ctx.Err())
	}
}

// together reads for those who waited.
func (g *gatherer) together(lookups []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	err := gather.Guarded(func() error { return g.read(ctx, lookups) })
	for _, l := range lookups {
		l.err = err
		close(l.done)
	}
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
