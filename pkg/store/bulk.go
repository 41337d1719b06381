package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Bulk is a transaction that carries out many changes with a few statements, and two round
// trips: one to learn and to lock what it is about, one to write what came of it. Creations
// alone are first tried with the second of them only, as if nothing stood in their way.
//
// Few large bulks run at once, so that those waiting hold no connection. Each locks all rows it
// needs before it writes any, in the order of their ids. What it cannot foresee is another's
// insert or claim that is not committed yet: if it meets one, or a deadlock is broken up, all
// is rolled back and done again from what is true then, and with no other bulk beside it,
// in this process or another.
type Bulk struct {
	conn   *pgx.Conn
	manner manner
	next   round
}

// manner is how an attempt goes about it.
type manner int

const (
	optimistic manner = iota // it asks for nothing beforehand: what is taken makes it fail
	shared
	alone
)

// firstManner is that of a bulk's first attempt; each further one takes the next.
func firstManner(wanted Wanted) manner {
	if len(wanted.IDs)+len(wanted.Tags) > 0 {
		return shared
	}
	return optimistic
}

// SmallBulk is the most changes of a bulk that is over soon, and has no turn to wait for.
const SmallBulk = 64

const (
	bulksAtOnce  = 2                     // of one process: each may hold a thousand of PostgreSQL's 6,400 locks
	bulkLock     = 0x6169_6164_6d69_6e02 // shared by bulks, unless one has to be alone
	bulkAttempts = 5                     // at the least
	breather     = 40 * time.Millisecond // at most, between further ones
	rollbackTime = 5 * time.Second
)

var errBulkBusy = user.Errorf(user.Unavailable, "other batches are being carried out: try again shortly")

// Bulk runs f, which carries out so many changes and ends with [Bulk.Finish], in a
// transaction, and again when it lost a race with another change. It waits as long as its
// patience for its turn, and for each lock. On an error nothing is changed, unless the
// connection broke at the end.
func (s *Store) Bulk(ctx context.Context, changes int, patience time.Duration, wanted Wanted, f func(*Bulk, Known) error) error {
	if changes > SmallBulk { // who makes small ones bounds them
		if err := s.takeTurn(ctx, patience); err != nil {
			return err
		}
		defer func() { <-s.turn }()
	}
	var err error
	how := firstManner(wanted)
	begun := time.Now()
	for n := 0; n < bulkAttempts || time.Since(begun) < patience; n++ { // each loss is somebody else's success
		if n >= bulkAttempts {
			time.Sleep(rand.N(breather)) // for others who need a turn alone
		}
		if err = s.bulk(ctx, how, patience, wanted, f); !lostRace(err) {
			break
		}
		how = min(how+1, alone)
	}
	switch {
	case state(err) == lockTimeout:
		return errHeld.Because(undone{Loggable(err)})
	case lostRace(err):
		return errBulkBusy.Because(undone{Loggable(err)})
	}
	return translate(err)
}

func (s *Store) takeTurn(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-timer.C:
		return errBulkBusy
	case <-ctx.Done():
		return translate(ctx.Err())
	}
}

const lockTimeout = "55P03"

// undone is why a bulk that others stood in the way of came to nothing.
type undone struct{ error }

// Undone says whether an error of [Store.Bulk] tells for certain that nothing was changed,
// for a reason that may lie with one of the changes and not with the others.
func Undone(err error) bool {
	if _, certain := errors.AsType[undone](err); certain {
		return true
	}
	kind := user.KindOf(err)
	return err != nil && kind != user.Unavailable && kind != user.Timeout && !errors.Is(err, context.Canceled)
}

func (s *Store) bulk(ctx context.Context, how manner, patience time.Duration, wanted Wanted, f func(*Bulk, Known) error) error {
	return s.change.direct(ctx, func(conn *pgx.Conn) error {
		b := &Bulk{conn: conn, manner: how}
		defer b.rollback()
		known, err := b.begin(ctx, patience, wanted)
		if err == nil {
			err = f(b, known)
		}
		if how == optimistic && state(err) == divisionByZero {
			err = errInterfered
		}
		return err
	})
}

// rollback undoes what is not committed. A connection that cannot even do that is of no more use.
func (b *Bulk) rollback() {
	if b.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
	defer cancel()
	if _, err := b.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = b.conn.Close(ctx)
	}
}

// errInterfered ends an attempt that met a delivery which may be another bulk's, or missed a user.
var errInterfered = errors.New("another transaction was in the way")

// lostRace says whether a bulk failed for what another transaction did at the same time, or
// for what an optimistic one did not look at.
func lostRace(err error) bool {
	const uniqueViolation, deadlock, serialization = "23505", "40P01", "40001"
	code := state(err)
	return errors.Is(err, errInterfered) || errors.Is(err, ErrAssumed) || code == uniqueViolation || code == deadlock || code == serialization
}

// run sends what the next round trip has so far.
func (b *Bulk) run(ctx context.Context) error {
	r := b.next
	b.next = round{}
	return r.run(ctx, b.conn)
}
