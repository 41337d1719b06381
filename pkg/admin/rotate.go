package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/vault"
)

// Rotation is how far a rotation has come.
type Rotation struct {
	KeyID    string // of the primary key, as mounted here
	Total    int64  // values that were not under the primary key when it began
	Resealed int64
	Skipped  int64 // written anew meanwhile, and so under the primary key already, or deleted
	Refused  int64 // could not be opened, and were left as they are
	Held     int64 // of users whom another session holds at the moment
}

const (
	rotationBatch    = 200
	rotationPatience = time.Minute // with a batch of which every user left is held
)

// Rotate seals every value that is not under the primary key anew, the old function's
// included, while the service runs. It works in batches, each committed by itself: ended
// at any moment, it goes on where it was when it is started again. Progress is told after
// each try at a batch. Values that cannot be opened are logged, left as they are, and make its error.
// It holds nobody while it waits for a user whom another session holds, and gives up after a minute.
func (s *Service) Rotate(ctx context.Context, progress func(Rotation)) (Rotation, error) {
	keys := s.keys.Load()
	prefix := keys.Primary() + ":"
	done := Rotation{KeyID: keys.Primary()}
	var err error
	if done.Total, err = s.store.CountForeign(ctx, prefix); err != nil {
		return done, err
	}
	var place store.SealedValue
	for {
		batch, err := s.store.Foreign(ctx, place, prefix, rotationBatch)
		if err != nil {
			return done, err
		}
		if len(batch) == 0 {
			break
		}
		if err := s.rotateBatch(ctx, keys, batch, &done, progress); err != nil {
			return done, err
		}
		place = batch[len(batch)-1]
	}
	if done.Refused > 0 {
		return done, fmt.Errorf("%d values could not be opened: the log names them", done.Refused)
	}
	return done, nil
}

func (s *Service) rotateBatch(ctx context.Context, keys *vault.KeyRing, batch []store.SealedValue, done *Rotation, progress func(Rotation)) error {
	left := s.renewals(ctx, keys, batch, done)
	for now, moved := len(left), time.Now(); ; now = ofFirst(left) { // all at once; then one user at a time, which waits
		resealed, held, err := s.store.Reseal(ctx, left[:now], keys.Primary())
		if err != nil {
			return err
		}
		done.Resealed += int64(resealed)
		done.Skipped += int64(now - len(held) - resealed)
		if len(held) < now {
			moved = time.Now()
		}
		left = append(slices.Clone(left[now:]), held...)
		done.Held = int64(len(left))
		progress(*done)
		if len(left) == 0 {
			return nil
		}
		if time.Since(moved) > s.rotationPatience {
			return fmt.Errorf("%d values belong to users whom another session has held for %v, the first of them to %s: see pg_stat_activity, then run this again",
				len(left), s.rotationPatience, left[0].UserID)
		}
	}
}

// ofFirst is how many of the renewals, which is at least one, are the first's user's.
func ofFirst(left []store.Renewal) int {
	n := slices.IndexFunc(left, func(r store.Renewal) bool { return r.UserID != left[0].UserID })
	if n < 0 {
		return len(left)
	}
	return n
}

// renewals seals what can be opened under the primary key.
func (s *Service) renewals(ctx context.Context, keys *vault.KeyRing, batch []store.SealedValue, done *Rotation) []store.Renewal {
	var renewals []store.Renewal
	for _, v := range batch {
		plain, err := keys.Open(v.UserID.String(), v.Provider, v.Sealed)
		fresh := ""
		if err == nil {
			fresh, err = keys.Seal(v.UserID.String(), v.Provider, plain)
		}
		if err != nil { // one value's fault is not the others'
			s.refused(ctx, v.UserID, v.Provider, err)
			done.Refused++
			continue
		}
		renewals = append(renewals, store.Renewal{SealedValue: v, Fresh: fresh})
	}
	return renewals
}
