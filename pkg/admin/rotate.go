package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Rotation is how far a rotation has come.
type Rotation struct {
	KeyID    string // of the primary key, as mounted here
	Already  int64  // values that were under the primary key when it began
	Total    int64  // values that were not
	Resealed int64
	Refused  int64 // could not be opened, and were left as they are
	Held     int64 // users whom another session holds at the moment

	id uuid.UUID // of the audit entry that counts what was resealed
}

const (
	rotationBatch    = 200         // users
	rotationPatience = time.Minute // with one user whom another session holds
)

// Rotate reseals every value that is not under the primary key, the old function's and the secrets kept for
// repeated requests included, while the service runs. It works in batches, each committed by itself: if it is
// ended, the next run continues. Progress is called after each try at a batch. Values that
// cannot be opened are logged, left as they are, and make it return an error.
// It keeps no lock while it waits for a user that another session has locked, and gives up after a minute.
func (s *Service) Rotate(ctx context.Context, progress func(Rotation)) (Rotation, error) {
	keys := s.keys.Load()
	prefix := keys.Primary() + ":"
	done := Rotation{KeyID: keys.Primary(), id: user.NewID()}
	sealed, err := s.store.SealedBy(ctx)
	if err != nil {
		return done, err
	}
	for key, values := range sealed {
		if key == done.KeyID {
			done.Already = values
		} else {
			done.Total += values
		}
	}
	for place := uuid.Nil; ; {
		users, err := s.store.Foreign(ctx, place, prefix, rotationBatch)
		if err != nil {
			return done, err
		}
		if len(users) == 0 {
			break
		}
		if err := s.rotateUsers(ctx, keys, users, &done, progress); err != nil {
			return done, err
		}
		place = users[len(users)-1]
	}
	if err := s.rotateClaims(ctx, keys, &done, progress); err != nil {
		return done, err
	}
	if done.Refused > 0 {
		return done, fmt.Errorf("%d values could not be opened: the log names them", done.Refused)
	}
	return done, nil
}

// rotateClaims reseals the secrets that are kept with Idempotency-Keys, for as long as these are.
func (s *Service) rotateClaims(ctx context.Context, keys *vault.KeyRing, done *Rotation, progress func(Rotation)) error {
	for place := []byte{}; ; {
		claims, err := s.store.ForeignClaims(ctx, place, keys.Primary()+":", rotationBatch)
		if err != nil || len(claims) == 0 {
			return err
		}
		place = claims[len(claims)-1].Key
		var writes store.Writes
		for _, claim := range claims {
			if claim.Sealed, err = reopened(keys, claim.UserID, claimedSecret, claim.Sealed); err != nil {
				s.refused(ctx, claim.UserID, claimedSecret, err)
				done.Refused++
				continue
			}
			writes.Claimed = append(writes.Claimed, claim)
		}
		if err := s.writeClaims(ctx, &writes, done); err != nil {
			return err
		}
		progress(*done)
	}
}

func (s *Service) writeClaims(ctx context.Context, writes *store.Writes, done *Rotation) error {
	tx, _, err := s.store.Begin(ctx, store.Blind, &store.Wanted{})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	resealed := int64(len(writes.Claimed))
	if err := tx.Commit(ctx, writes, done.records(resealed)); err != nil {
		return err
	}
	done.Resealed += resealed
	return nil
}

// reopened seals a value under the primary key.
func reopened(keys *vault.KeyRing, of uuid.UUID, provider, stored string) (string, error) {
	plain, err := keys.Open(of.String(), provider, stored)
	if err != nil {
		return "", err
	}
	return keys.Seal(of.String(), provider, plain)
}

// rotateUsers reseals the values of users: at once those whom nobody holds, then the others one at a time.
func (s *Service) rotateUsers(ctx context.Context, keys *vault.KeyRing, users []uuid.UUID, done *Rotation, progress func(Rotation)) error {
	held, err := s.reseal(ctx, store.Skip, keys, users, done)
	if err != nil {
		return err
	}
	for begun := time.Now(); ; {
		done.Held = int64(len(held))
		progress(*done)
		if len(held) == 0 {
			return nil
		}
		if time.Since(begun) > s.rotationPatience {
			return fmt.Errorf("%d users are held by another session, for %v or longer, the first of them %s: see pg_stat_activity, then run this again",
				len(held), s.rotationPatience, held[0])
		}
		switch _, err := s.reseal(ctx, store.Wait, keys, held[:1], done); {
		case err == nil:
			held, begun = held[1:], time.Now()
		case store.Held(err) || store.Conflict(err):
			held = slices.Concat(held[1:], held[:1])
		default:
			return err
		}
	}
}

// reseal reseals the values of users in one transaction. It uses the path of every
// change, but keeps the versions and records no event: the secrets are the same.
func (s *Service) reseal(ctx context.Context, mode store.Mode, keys *vault.KeyRing, users []uuid.UUID, done *Rotation) (held []uuid.UUID, err error) {
	wanted := &store.Wanted{Seals: true}
	for _, id := range users {
		wanted.Users = append(wanted.Users, user.Ref{ID: id})
	}
	tx, known, err := s.store.Begin(ctx, mode, wanted)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	var writes store.Writes
	var resealed, refused int64
	for _, u := range known.Users {
		fresh, failed := s.freshSeals(ctx, keys, u, known.Seals[u.ID])
		refused += failed
		if len(fresh) == 0 {
			continue
		}
		after := *u
		after.Credentials = slices.Clone(u.Credentials)
		for i := range after.Credentials {
			if _, ok := fresh[after.Credentials[i].Provider]; ok {
				after.Credentials[i].KeyID = keys.Primary()
			}
		}
		writes.Update = append(writes.Update, &after)
		for provider, sealed := range fresh {
			writes.Seal = append(writes.Seal, store.Seal{User: &after, Provider: provider, Sealed: sealed})
			resealed++
		}
	}
	for _, u := range known.Held {
		held = append(held, u.ID)
	}
	if err := tx.Commit(ctx, &writes, done.records(resealed)); err != nil {
		return nil, err
	}
	done.Resealed += resealed
	done.Refused += refused
	return held, nil
}

// records returns what the audit log says of resealed values: one entry for a whole rotation.
func (r *Rotation) records(resealed int64) []store.Record {
	if resealed == 0 {
		return nil
	}
	return []store.Record{{Audit: []user.AuditEntry{{Action: user.VaultRotated, Actor: "ai-admin rotate", Bucket: string(user.VaultRotated) + " " + r.id.String(),
		Count: resealed, Detail: jsontext.Value(`{"keyId":"` + r.KeyID + `"}`)}}}} // a key id needs no escape
}

// freshSeals seals what can be opened under the primary key. One value's fault is not the others'.
func (s *Service) freshSeals(ctx context.Context, keys *vault.KeyRing, u *user.User, seals map[string]string) (fresh map[string]string, failed int64) {
	fresh = map[string]string{}
	for provider, stored := range seals {
		if vault.KeyID(stored) == keys.Primary() {
			continue
		}
		sealed, err := reopened(keys, u.ID, provider, stored)
		if err != nil {
			s.refused(ctx, u.ID, provider, err)
			failed++
			continue
		}
		fresh[provider] = sealed
	}
	return fresh, failed
}
