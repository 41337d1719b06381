package store

import (
	"context"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/user"
)

// reading holds the composed statements of frequent reads.
type reading struct {
	columns []string // of users, for statements that a listing composes at each call
	decoder userDecoder
	all     []string // including derivedColumns
	// byKey finds users by their unique keys: by the key's index of [UniqueKeys], and the number of keys as
	// a power of two.
	byKey [uniqueIndexes][lookupPowers]string
}

const lookupPowers = 7 // up to 64 users by one statement

func composeReading(db *bun.DB) reading {
	r := reading{columns: columnsOf(fieldsOf[userRow](db, derivedColumns...)), all: columnsOf(fieldsOf[userRow](db))}
	r.decoder = decoderOf(append(slices.Clip(r.columns), "groups"))
	// PostgreSQL plans each of these once per connection, since the number of keys is in the text.
	// It would plan "= ANY ($1)" anew at each call, for want of that number.
	for index := range r.byKey {
		for power := range r.byKey[index] {
			places := make([]string, 1<<power)
			for i := range places {
				places[i] = placeholder(i + 1)
			}
			r.byKey[index][power] = r.shown(db.NewSelect().Model((*userRow)(nil))).
				Where("u.? IN (?)", bun.Ident(uniqueColumns[index]), bun.Safe(strings.Join(places, ", "))).String()
		}
	}
	return r
}

// shown selects what a read of users shows, with their groups last.
func (r *reading) shown(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Column(r.columns...).ColumnExpr(groupsOf)
}

// shownColumns returns the same as the text of a statement.
func (r *reading) shownColumns() string {
	return "u." + strings.Join(r.columns, ", u.") + ", " + groupsOf
}

// ErrNotFound is the error of a change whose user does not exist.
var ErrNotFound error = user.Errorf(user.NotFound, "no such user")

// Get finds one user, by id or by another unique value. It fails with [user.NotFound] if there is
// none.
func (s *Store) Get(ctx context.Context, ref user.Ref) (*user.User, error) {
	index, value := KeyOf(ref)
	return s.lookups.get(ctx, index, value)
}

// lookups reads single users. Reads that arrive while a statement is under way share the next one. A lone
// read waits for nothing; under load one round trip, which costs more than finding a user, serves many. It
// is not a cache: a statement begins after every read that it answers.
type lookups struct {
	store  *Store
	queues [uniqueIndexes]gather.Queue[*lookup]
}

// lookup asks who has a unique key. Its answer is shared, and nil where nobody has it.
type lookup = gather.Job[string, *user.User]

const (
	lookupWorkers = 2                // more of them share less
	lookupTime    = 30 * time.Second // for a statement that should take a millisecond
)

func (l *lookups) begin(s *Store) {
	l.store = s
	for index := range l.queues {
		l.queues[index] = gather.Queue[*lookup]{Workers: lookupWorkers, Most: 1 << (lookupPowers - 1),
			Batch: func(asked []*lookup) { l.answer(index, asked) }}
	}
}

// get returns the user with a unique key. Callers share it and must not change it.
func (l *lookups) get(ctx context.Context, index int, value string) (*user.User, error) {
	asked := gather.NewJob[string, *user.User](ctx, value)
	l.queues[index].Add(asked)
	found, err := asked.Wait()
	if err == nil && found == nil {
		err = ErrNotFound
	}
	return found, Translate(err)
}

func (l *lookups) answer(index int, asked []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	ctx, end := l.store.sharedSpan(ctx, "look up users", len(asked), func(i int) context.Context { return asked[i].Context })
	defer end()
	found := make([]*user.User, len(asked))
	err := gather.Guarded(func() error { return l.read(ctx, index, asked, found) })
	for i, a := range asked {
		a.Answer(found[i], err)
	}
}

func (l *lookups) read(ctx context.Context, index int, asked []*lookup, found []*user.User) error {
	reading := &l.store.statements().reading
	power := bits.Len(uint(len(asked) - 1)) //nolint:gosec // there is at least one
	args := make([]any, 1<<power)
	for i := range args {
		args[i] = asked[min(i, len(asked)-1)].Asked
	}
	rows, err := l.store.pool.Query(ctx, reading.byKey[index][power], prepared(args...)...)
	if err != nil {
		return Translate(err)
	}
	return Translate(eachUser(rows, reading, func(u *user.User) error {
		key := KeysOf(u)[index]
		for i, a := range asked {
			if a.Asked == key {
				found[i] = u
			}
		}
		return nil
	}))
}
