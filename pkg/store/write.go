package store

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Write is a user after a change, with the event of the change.
type Write struct {
	// Before is the user as read, nil for a creation. The write is Missed unless the stored
	// version, the time of creation and the credentials that rotation may have resealed are
	// still the same.
	Before *user.User
	User   *user.User
	Event  user.Event
	// Sealed are the values to store by provider, Dropped the providers to remove.
	Sealed  map[string]string
	Dropped []string
	// Claim, when not nil, must be free, and is taken until Expires.
	Claim   *user.Claim
	Expires time.Time
}

// Outcome says what a mutating statement did.
type Outcome int

// The outcomes.
const (
	Done    Outcome = iota
	Claimed         // another delivery of the request has done it: see [Store.Replay]
	Busy            // another delivery is doing it at this moment
	Missed          // the row was not as expected: gone, changed, or its precondition fails
)

// Insert makes a user. A taken id, tag, e-mail address or externalId is a [user.Error].
func (s *Store) Insert(ctx context.Context, w Write) (Outcome, error) {
	return s.mutate(ctx, s.change, insertUser, w.shape(), w.args(), w.Claim)
}

// Update writes a user whose stored version must be the one before; otherwise it is Missed.
func (s *Store) Update(ctx context.Context, w Write) (Outcome, error) {
	leave, err := s.crowds.enter(ctx, w.User.ID, s.patience)
	if err != nil {
		return Missed, err
	}
	defer leave()
	return s.mutate(ctx, s.change, updateUser, w.shape(), w.args(), w.Claim)
}

// Removal is a deletion. What its event tells of the user is filled in by the statement.
type Removal struct {
	ID      uuid.UUID
	Tag     string // that the user must have; empty for any
	Event   user.Event
	IfMatch *user.Precondition
	Claim   *user.Claim
	Expires time.Time
}

// Delete removes a user and its credentials, and completes the removal's event.
func (s *Store) Delete(ctx context.Context, r *Removal) (Outcome, error) {
	leave, err := s.crowds.enter(ctx, r.ID, s.patience)
	if err != nil {
		return Missed, err
	}
	defer leave()
	var versions []int64
	if r.IfMatch != nil && !r.IfMatch.Any {
		versions = append([]int64{}, r.IfMatch.Versions...)
	}
	args := prepared([16]byte(r.ID), [16]byte(r.Event.ID), r.Event.At, r.Event.Actor, r.Event.Cause, Partition(r.ID), versions, r.Tag)
	args = append(args, claimArgs(r.Claim, r.Event.ID, r.Expires)...)
	var got, done bool
	err = each(ctx, s.change, deleteUser(r.Claim != nil), args, func(v [][]byte) error {
		if got, done = boolean(v[0]), v[1] != nil; done {
			r.Event.Version, r.Event.Data = integer(v[1]), append([]byte(nil), v[2]...)
		}
		return nil
	})
	if err != nil {
		return Missed, err
	}
	return outcomeOf(got, done, r.Claim), nil
}

// TakeClaim records a request that changed nothing, so that its repetition changes
// nothing either.
func (s *Store) TakeClaim(ctx context.Context, claim *user.Claim, expires time.Time) (Outcome, error) {
	return s.mutate(ctx, s.change, takeClaim, shape{}, append(prepared(), claimArgs(claim, uuid.Nil, expires)...), claim)
}

// statement composes the text of a mutation of some shape; it is cheap, and the driver
// keeps the prepared form by text.
type statement func(shape) string

type shape struct{ claimed, sealed bool }

func (w *Write) shape() shape {
	return shape{w.Claim != nil, len(w.Sealed)+len(w.Dropped) > 0}
}

func (w *Write) args() []any {
	args := writeArgs(w.User, w.Event)
	if w.shape().sealed {
		providers, sealed := []string{}, []string{}
		for provider, value := range w.Sealed {
			providers, sealed = append(providers, provider), append(sealed, value)
		}
		args = append(args, providers, sealed, append([]string{}, w.Dropped...))
	}
	args = append(args, claimArgs(w.Claim, w.Event.ID, w.Expires)...)
	if w.Before != nil {
		args = append(args, string(user.AppendCredentials(nil, w.Before.Credentials)))
	}
	return args
}

func claimArgs(claim *user.Claim, event uuid.UUID, expires time.Time) []any {
	if claim == nil {
		return nil
	}
	key := claim.Key()
	var eventID *uuid.UUID
	if event != uuid.Nil {
		eventID = &event
	}
	return []any{key[:], claim.Digest, eventID, expires, int64(binary.BigEndian.Uint64(key[:8]))} //nolint:gosec // any 64 bits do
}

// mutate runs a statement that returns whether the claim's lock was got and whether the
// change was made.
func (s *Store) mutate(ctx context.Context, on querier, text statement, sh shape, args []any, claim *user.Claim) (Outcome, error) {
	var got, done bool
	err := each(ctx, on, text(sh), args, func(v [][]byte) error {
		got, done = boolean(v[0]), boolean(v[1])
		return nil
	})
	if err != nil {
		return Missed, err
	}
	return outcomeOf(got, done, claim), nil
}

func outcomeOf(got, done bool, claim *user.Claim) Outcome {
	switch {
	case done:
		return Done
	case !got:
		return Busy
	case claim != nil:
		return Claimed
	default:
		return Missed
	}
}
