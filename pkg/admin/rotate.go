package admin

import (
	"context"
	"fmt"

	"aiadmin/pkg/store"
	"aiadmin/pkg/vault"
)

// Rotation is how far a rotation has come.
type Rotation struct {
	KeyID    string // of the primary key, as mounted here
	Total    int64  // values that were not under the primary key when it began
	Resealed int64
	Skipped  int64 // written anew meanwhile, and so under the primary key already
	Refused  int64 // could not be opened, and were left as they are
}

const rotationBatch = 200

// Rotate seals every value that is not under the primary key anew, the old function's
// included, while the service runs. It works in batches, each committed by itself: ended
// at any moment, it goes on where it was when it is started again. Progress is told after
// each batch. Values that cannot be opened are logged, left as they are, and make its error.
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
		if err := s.rotateBatch(ctx, keys, batch, &done); err != nil {
			return done, err
		}
		place = batch[len(batch)-1]
		progress(done)
	}
	if done.Refused > 0 {
		return done, fmt.Errorf("%d values could not be opened: the log names them", done.Refused)
	}
	return done, nil
}

func (s *Service) rotateBatch(ctx context.Context, keys *vault.KeyRing, batch []store.SealedValue, done *Rotation) error {
	var old, fresh []store.SealedValue
	for _, v := range batch {
		plain, err := keys.Open(v.UserID.String(), v.Provider, v.Sealed)
		if err != nil {
			s.refused(ctx, v.UserID, v.Provider, err)
			done.Refused++
			continue
		}
		sealed, err := keys.Seal(v.UserID.String(), v.Provider, plain)
		if err != nil { // one value's fault is not the others'
			s.refused(ctx, v.UserID, v.Provider, err)
			done.Refused++
			continue
		}
		old, fresh = append(old, v), append(fresh, store.SealedValue{UserID: v.UserID, Provider: v.Provider, Sealed: sealed})
	}
	resealed, err := s.store.Reseal(ctx, old, fresh, keys.Primary())
	done.Resealed += int64(resealed)
	done.Skipped += int64(len(old) - resealed)
	return err
}
