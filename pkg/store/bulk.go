package store

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Bulk is a transaction that carries out many changes with a few statements.
//
// Few large bulks run at once, so that those waiting hold no connection. Each locks all rows it
// needs before it writes any, in the order of their ids. What it cannot foresee is another's
// insert or claim that is not committed yet: if it meets one, or a deadlock is broken up, all
// is rolled back and done again from what is true then, and with no other bulk beside it,
// in this process or another.
type Bulk struct {
	store *Store
	tx    *transaction
	alone bool
}

// SmallBulk is the most changes of a bulk that is over soon. It waits a second for a lock,
// since its changes can be made apart instead.
const (
	SmallBulk     = 64
	smallPatience = time.Second
)

const (
	bulksAtOnce  = 2                     // of one process: each may hold a thousand of PostgreSQL's 6,400 locks
	bulkLock     = 0x6169_6164_6d69_6e02 // shared by bulks, unless one has to be alone
	bulkPatience = 30 * time.Second      // how long one waits for its turn, and then for a lock
	bulkAttempts = 5
)

var errBulkBusy = user.Errorf(user.Unavailable, "other batches are being carried out: try again shortly")

// Bulk runs f, which carries out so many changes, in a transaction, and again when it lost
// a race with another change. On an error nothing is changed, unless the connection broke
// at the end. Small bulks have no turn to wait for: who makes them bounds them.
func (s *Store) Bulk(ctx context.Context, changes int, f func(*Bulk) error) error {
	if changes > SmallBulk {
		if err := s.takeTurn(ctx); err != nil {
			return err
		}
		defer func() { <-s.turn }()
	}
	patience := bulkPatience
	if changes <= SmallBulk {
		patience = smallPatience
	}
	var err error
	for attempt := range bulkAttempts {
		if err = s.bulk(ctx, attempt > 0, patience, f); !lostRace(err) {
			return translate(err)
		}
	}
	return errBulkBusy.Because(Loggable(err))
}

func (s *Store) takeTurn(ctx context.Context) error {
	patience := time.NewTimer(bulkPatience)
	defer patience.Stop()
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-patience.C:
		return errBulkBusy
	case <-ctx.Done():
		return translate(ctx.Err())
	}
}

// Undone says whether an error of [Store.Bulk] tells for certain that nothing was changed,
// for a reason that may lie with one of the changes and not with the others.
func Undone(err error) bool {
	if errors.Is(err, errBulkBusy) || state(err) == lockTimeout {
		return true
	}
	kind := user.KindOf(err)
	return err != nil && kind != user.Unavailable && kind != user.Timeout && !errors.Is(err, context.Canceled)
}

const lockTimeout = "55P03"

func (s *Store) bulk(ctx context.Context, alone bool, patience time.Duration, f func(*Bulk) error) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	// Planned for every call anew, the record's statement alone would take longer to plan than to run.
	begin := "SELECT set_config('lock_timeout', $1, true), set_config('plan_cache_mode', 'force_generic_plan', true), pg_advisory_xact_lock"
	if !alone {
		begin += "_shared"
	}
	begin += "($2::bigint)"
	if _, err := tx.ExecContext(ctx, begin, prepared(number(int(patience.Milliseconds())), int64(bulkLock))...); err != nil {
		return err
	}
	if err := f(&Bulk{s, tx, alone}); err != nil {
		return err
	}
	return tx.Commit()
}

// errInterfered ends an attempt that met a delivery which may be another bulk's.
var errInterfered = errors.New("another delivery of the same request is being carried out")

// lostRace says whether a bulk failed for what another transaction did at the same time.
func lostRace(err error) bool {
	const uniqueViolation, deadlock, serialization = "23505", "40P01", "40001"
	code := state(err)
	return errors.Is(err, errInterfered) || code == uniqueViolation || code == deadlock || code == serialization
}

// ClaimState is what is known of a claim once a bulk has asked for it.
type ClaimState struct {
	Busy   bool    // another delivery, which is no bulk's, is being carried out at this moment
	Replay *Replay // the recorded answer; nil when the claim is free
}

// Claim reserves claims for the rest of the transaction. A nil entry stands for none.
func (b *Bulk) Claim(ctx context.Context, claims []*user.Claim) ([]ClaimState, error) {
	result := make([]ClaimState, len(claims))
	keys, locks := make([][]byte, 0, len(claims)), make([]int64, len(claims))
	places := map[string][]int{}
	for i, claim := range claims {
		if claim == nil {
			continue
		}
		key := claim.Key()
		keys, locks[i] = append(keys, key[:]), claimLock(key)
		places[string(key[:])] = append(places[string(key[:])], i)
	}
	if len(keys) == 0 {
		return result, nil
	}
	got, err := queryValues[bool](ctx, b.tx,
		"SELECT pg_try_advisory_xact_lock(lock) FROM unnest($1::bigint[]) WITH ORDINALITY AS l(lock, n) ORDER BY n", prepared(locks))
	if err != nil {
		return nil, err
	}
	for i := range got {
		if result[i].Busy = claims[i] != nil && !got[i]; result[i].Busy && !b.alone {
			return nil, errInterfered
		}
	}
	// Only a later statement sees what those committed that held the locks before.
	replays, err := replays(ctx, b.tx, "= ANY ($1)", keys)
	for key, replay := range replays {
		for _, i := range places[key] {
			result[i].Replay = replay
		}
	}
	return result, err
}

func claimLock(key [32]byte) int64 {
	return int64(binary.BigEndian.Uint64(key[:8])) //nolint:gosec // any 64 bits do
}

// Lock returns the users that ids and tags name, and keeps others from changing them
// until the end of the transaction.
func (b *Bulk) Lock(ctx context.Context, ids []uuid.UUID, tags []string) ([]*user.User, error) {
	if len(ids)+len(tags) == 0 {
		return nil, nil
	}
	return queryUsers(ctx, b.tx, "SELECT "+userColumns+
		" FROM users WHERE id = ANY ($1::uuid[]) OR tag = ANY ($2::text[]) ORDER BY id FOR UPDATE", prepared(ids, tags))
}

// Seals returns the sealed values of users, by user and provider.
func (b *Bulk) Seals(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]map[string]string, error) {
	found := map[uuid.UUID]map[string]string{}
	if len(ids) == 0 {
		return found, nil
	}
	rows, err := b.tx.QueryContext(ctx, "SELECT user_id, provider, sealed FROM credentials WHERE user_id = ANY ($1::uuid[])", prepared(ids)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id uuid.UUID
		var provider, sealed string
		if err := rows.Scan(&id, &provider, &sealed); err != nil {
			return nil, err
		}
		if found[id] == nil {
			found[id] = map[string]string{}
		}
		found[id][provider] = sealed
	}
	return found, rows.Err()
}

// errCounted guards a statement whose effect must be known exactly.
var errCounted = errors.New("a bulk statement changed another number of rows than it was given")
