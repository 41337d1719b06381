package store

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Wanted is what a bulk has to know and to hold before anything can be decided.
type Wanted struct {
	Claims []*user.Claim // nil stands for none
	IDs    []uuid.UUID   // of users, kept from being changed by others until the end of the transaction
	Tags   []string      // of such users
	Keys   Keys
	Seals  bool // those of the users
}

// Known is what a bulk has learned.
type Known struct {
	Claims []ClaimState // as wanted
	Users  []*user.User // those that there are
	Held   Held
	Seals  map[uuid.UUID]map[string]string // sealed values by user and provider
	// Assumed says that nothing was looked for, and what there is makes the writing fail. Who
	// refuses a command, which writes nothing, for a reason that its claim could overrule returns
	// [ErrAssumed], and will be asked again when all is known.
	Assumed bool
}

// ErrAssumed ends an attempt that would have to know what it only assumed.
var ErrAssumed = errors.New("nothing is known of the claim of a command that is refused")

// ClaimState is what is known of a claim once a bulk has asked for it.
type ClaimState struct {
	Busy   bool    // another delivery, which is no bulk's, is being carried out at this moment
	Replay *Replay // the recorded answer; nil when the claim is free
}

// begin starts the transaction, and finds and locks what is wanted. An optimistic one takes
// it that there is nothing to find, and goes with what is written.
func (b *Bulk) begin(ctx context.Context, patience time.Duration, wanted Wanted) (Known, error) {
	b.settle(patience)
	known := Known{Claims: make([]ClaimState, len(wanted.Claims)), Held: noneHeld(), Seals: map[uuid.UUID]map[string]string{}}
	asked := claimsOf(wanted.Claims)
	if b.manner == optimistic {
		b.next.reserve(asked)
		known.Assumed = true
		return known, nil
	}
	b.next.claim(asked, known.Claims)
	b.next.lock(wanted, &known)
	b.next.holders(wanted.Keys, known.Held)
	if err := b.run(ctx); err != nil {
		return known, err
	}
	if b.manner != alone && slices.ContainsFunc(known.Claims, func(c ClaimState) bool { return c.Busy }) {
		return known, errInterfered
	}
	return known, b.lookAgain(ctx, wanted, known)
}

// lookAgain ends an attempt that waited for a row while others gave its id or its tag to another:
// only a later statement sees whom.
func (b *Bulk) lookAgain(ctx context.Context, wanted Wanted, known Known) error {
	missing := wanted.without(known.Users)
	if len(missing.IDs)+len(missing.Tags) == 0 {
		return nil
	}
	var found Known
	b.next.lock(missing, &found)
	if err := b.run(ctx); err != nil {
		return err
	}
	if len(found.Users) > 0 {
		return errInterfered
	}
	return nil
}

// without are those of the wanted users that are not among the found.
func (w Wanted) without(found []*user.User) Wanted {
	if len(found) == len(w.IDs)+len(w.Tags) {
		return Wanted{}
	}
	ids, tags := map[uuid.UUID]bool{}, map[string]bool{}
	for _, u := range found {
		ids[u.ID], tags[u.Tag] = true, true
	}
	return Wanted{IDs: slices.DeleteFunc(slices.Clone(w.IDs), func(id uuid.UUID) bool { return ids[id] }),
		Tags: slices.DeleteFunc(slices.Clone(w.Tags), func(tag string) bool { return tags[tag] })}
}

func (b *Bulk) settle(patience time.Duration) {
	b.next.exec("BEGIN")
	// Planned for every call anew, the record's statement alone would take longer to plan than to run.
	text := "SELECT set_config('lock_timeout', $1, true), set_config('plan_cache_mode', 'force_generic_plan', true), pg_advisory_xact_lock"
	if b.manner != alone {
		text += "_shared"
	}
	b.next.exec(text+"($2::bigint)", number(int(patience.Milliseconds())), int64(bulkLock))
}

// asked are the claims that there are.
type asked struct {
	keys   [][]byte
	locks  []int64
	at     []int            // the claim's place among the commands
	places map[string][]int // the same by key, which several commands may bring
}

func claimsOf(claims []*user.Claim) asked {
	a := asked{places: map[string][]int{}}
	for i, claim := range claims {
		if claim != nil {
			key := claim.Key()
			a.keys, a.at = append(a.keys, key[:]), append(a.at, i)
			a.places[string(key[:])] = append(a.places[string(key[:])], i)
			a.locks = append(a.locks, int64(binary.BigEndian.Uint64(key[:8]))) //nolint:gosec // any 64 bits do
		}
	}
	return a
}

const (
	tryLock        = "pg_try_advisory_xact_lock(lock)"
	ofClaims       = " FROM unnest($1::bigint[]) WITH ORDINALITY AS l(lock, n) ORDER BY n"
	divisionByZero = "22012"
)

// reserve takes the locks of claims for the rest of the transaction, or divides by zero
// when another delivery has one.
func (r *round) reserve(a asked) {
	if len(a.locks) > 0 {
		r.exec("SELECT 1 / "+tryLock+"::int"+ofClaims, a.locks)
	}
}

// claim takes the locks of claims, and finds the answers to those that are taken.
func (r *round) claim(a asked, states []ClaimState) {
	if len(a.keys) == 0 {
		return
	}
	n := 0
	r.each("SELECT "+tryLock+ofClaims, []any{a.locks}, func(rows pgx.Rows) error {
		states[a.at[n]].Busy = !boolean(rows.RawValues()[0])
		n++
		return nil
	})
	// Only a later statement sees what those committed that held the locks before.
	r.each(selectClaims+"= ANY ($1)", []any{a.keys}, func(rows pgx.Rows) error {
		key, replay, err := scanReplay(rows)
		for _, place := range a.places[key] {
			states[place].Replay = replay
		}
		return err
	})
}

const ofThese = " FROM users WHERE id = ANY ($1::uuid[]) OR tag = ANY ($2::text[])"

// lock finds users and keeps others from changing them.
func (r *round) lock(wanted Wanted, known *Known) {
	if len(wanted.IDs)+len(wanted.Tags) == 0 {
		return
	}
	these := []any{wanted.IDs, wanted.Tags}
	r.each("SELECT "+userColumns+ofThese+" ORDER BY id FOR UPDATE", these, func(rows pgx.Rows) error {
		u, err := decodeUser(rows.RawValues())
		known.Users = append(known.Users, u)
		return err
	})
	if !wanted.Seals {
		return
	}
	r.each("SELECT user_id, provider, sealed FROM credentials WHERE user_id IN (SELECT id"+ofThese+")", these, func(rows pgx.Rows) error {
		v := rows.RawValues()
		id := uuid.UUID(v[0])
		if known.Seals[id] == nil {
			known.Seals[id] = map[string]string{}
		}
		known.Seals[id][string(v[1])] = string(v[2])
		return nil
	})
}
