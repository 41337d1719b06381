package store

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/user"
)

// reading are the composed statements of frequent reads.
type reading struct {
	users    []*schema.Field
	columns  string // theirs, for statements that a listing composes at each call
	byIDs    [lookupPowers]string
	byUnique [uniqueIndexes]string
}

const lookupPowers = 7 // up to 64 users by one statement

func composeReading(db *bun.DB) reading {
	var r reading
	columns := columnsOf[userRow](db, append(derivedColumns, "email_key", "user_name_key")...)
	r.users, r.columns = fieldsOf[userRow](db, columns), strings.Join(columns, ", ")
	selectUsers := func() *bun.SelectQuery { return db.NewSelect().Model((*userRow)(nil)).Column(columns...) }
	// PostgreSQL plans each of these once per connection, since it sees how many ids there are;
	// "= ANY ($1)", of which it does not know that, it would plan anew at each call.
	for power := range r.byIDs {
		places := make([]string, 1<<power)
		for i := range places {
			places[i] = fmt.Sprintf("$%d", i+1)
		}
		r.byIDs[power] = selectUsers().Where("u.id IN (?)", bun.Safe(strings.Join(places, ", "))).String()
	}
	for index := KeyTag; index < uniqueIndexes; index++ {
		r.byUnique[index] = selectUsers().Where("u.? = $1", bun.Ident(uniqueColumns[index])).String()
	}
	return r
}

var errNotFound = user.Errorf(user.NotFound, "no such user")

// ErrNotFound is the refusal of a change for there being no such user.
var ErrNotFound error = errNotFound

// Get finds one user, by id or else by one of its other unique values. An unknown one is
// [user.NotFound].
func (s *Store) Get(ctx context.Context, ref user.Ref) (*user.User, error) {
	if ref.ID != uuid.Nil {
		return s.lookups.get(ctx, ref.ID)
	}
	index, value := KeyOf(ref)
	rows, err := collect[userRow](ctx, s.pool, s.statements.reading.byUnique[index], s.statements.reading.users, value)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errNotFound
	}
	return rows[0].user()
}

// lookups reads single users: with one statement all that are asked for while the last one was under
// way. A lone read waits for nothing; under load a round trip to the database, which costs more than
// finding a user there, serves many. It is no cache: a statement begins after all that it answers was asked.
type lookups struct {
	store *Store
	queue gather.Queue[*lookup]
}

type lookup struct {
	id    uuid.UUID
	found *user.User // nil: there is none
	err   error
	done  chan struct{}
}

const (
	lookupWorkers = 2                // more of them share less
	lookupTime    = 30 * time.Second // for a statement that is to take a millisecond
)

func (l *lookups) begin(s *Store) {
	l.store = s
	l.queue = gather.Queue[*lookup]{Workers: lookupWorkers, Most: 1 << (lookupPowers - 1), Batch: l.answer}
}

// get returns a user. Others may be given the same one: it must not be changed.
func (l *lookups) get(ctx context.Context, id uuid.UUID) (*user.User, error) {
	asked := &lookup{id: id, done: make(chan struct{})}
	l.queue.Add(asked)
	select {
	case <-asked.done:
	case <-ctx.Done():
		return nil, translate(ctx.Err())
	}
	if asked.err == nil && asked.found == nil {
		return nil, errNotFound
	}
	return asked.found, asked.err
}

func (l *lookups) answer(asked []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	err := gather.Guarded(func() error { return l.read(ctx, asked) })
	for _, a := range asked {
		a.err = err
		close(a.done)
	}
}

func (l *lookups) read(ctx context.Context, asked []*lookup) error {
	reading := &l.store.statements.reading
	power := bits.Len(uint(len(asked) - 1)) //nolint:gosec // there is at least one
	args := make([]any, 1<<power)
	for i := range args {
		args[i] = [16]byte(asked[min(i, len(asked)-1)].id)
	}
	rows, err := collect[userRow](ctx, l.store.pool, reading.byIDs[power], reading.users, args...)
	if err != nil {
		return err
	}
	for i := range rows {
		found, err := rows[i].user()
		if err != nil {
			return err
		}
		for _, a := range asked {
			if a.id == found.ID {
				a.found = found
			}
		}
	}
	return nil
}

// Sealed returns the sealed value of one credential; [user.NotFound] when there is none.
func (s *Store) Sealed(ctx context.Context, id uuid.UUID, provider string) (string, error) {
	var sealed []string
	err := s.db.NewSelect().Model((*credentialRow)(nil)).Column("sealed").
		Where("user_id = ? AND provider = ?", id, provider).Scan(ctx, &sealed)
	if err != nil {
		return "", translate(err)
	}
	if len(sealed) == 0 {
		return "", user.Errorf(user.NotFound, "no such user, or no credential for this provider")
	}
	return sealed[0], nil
}
