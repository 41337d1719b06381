package store

import (
	"context"
	"math/bits"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

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
	lanes         = 2 // more of them share less
	lookupsAtOnce = 64
	lookupTime    = 30 * time.Second // for a statement that is to take a millisecond
)

// get returns a user, nil when there is none. Others may be given the same one: it must
// not be changed.
func (g *gatherer) get(ctx context.Context, id uuid.UUID) (*user.User, error) {
	l := &lookup{id: id, done: make(chan struct{})}
	if leave := g.lanes.Enter(l); leave != nil {
		defer leave()
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
	query, places := selectByIDs(len(lookups))
	args := append(make([]any, 0, places+1), pgx.QueryExecModeCacheStatement)
	for i := range places {
		args = append(args, [16]byte(lookups[min(i, len(lookups)-1)].id))
	}
	return each(ctx, g.on, query, args, func(values [][]byte) error {
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

// selectByIDs is the statement for so many ids, and the places for ids that it has: the next
// power of two. PostgreSQL plans each once per connection, since it sees how many ids there
// are; "= ANY ($1)", of which it does not know that, it would plan anew for every call.
func selectByIDs(n int) (query string, places int) {
	power := bits.Len(uint(n - 1)) //nolint:gosec // there is at least one
	return idStatements[power], 1 << power
}

var idStatements = func() (statements [8]string) {
	list := "$1"
	for power := range statements {
		statements[power] = "SELECT " + userColumns + " FROM users WHERE id IN (" + list + ")"
		for i := 1<<power + 1; i <= 2<<power; i++ {
			list += ", $" + number(i)
		}
	}
	return statements
}()
