package store

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Values are compared and searched by their forms. Go computes the forms, so that no database locale
// decides which values are equal. Users written by an older revision or by plain SQL are listed in
// unformed_users until [Store.Form] has computed theirs.

// FormConflict is a user whose value equals another user's, now that values are compared by new
// forms. It keeps the value, under a key of its own, until one of the two is changed.
type FormConflict struct {
	UserID uuid.UUID
	Field  string // email or userName
}

// formBatch is how many users get their forms in one transaction: few enough that nobody waits long.
const formBatch = 500

// Form computes the forms of all users that lack them, in bounded transactions, and returns how many those were.
// Any number of processes may call it at once, and may be ended at any moment. Progress, which may be
// nil, is called after each transaction. It waits for locked users as long as a change does.
func (s *Store) Form(ctx context.Context, progress func(done int)) (int, error) {
	const pause = 100 * time.Millisecond
	done := 0
	for moved := time.Now(); ; {
		formed, left, err := s.formPass(ctx, func(users int) {
			if progress != nil {
				progress(done + users)
			}
		})
		if done += formed; err != nil || left == 0 {
			return done, Translate(err)
		}
		if formed > 0 {
			moved = time.Now()
		} else if time.Since(moved) > s.patience {
			return done, errHeld
		}
		select {
		case <-ctx.Done():
			return done, Translate(ctx.Err())
		case <-time.After(pause):
		}
	}
}

// formPass computes the forms of all users that lack them, except users that other sessions have locked. It
// returns how many it computed, and how many are left.
func (s *Store) formPass(ctx context.Context, progress func(done int)) (formed, left int, err error) {
	for place := uuid.Nil; ; {
		var ids []uuid.UUID
		err := s.db.NewSelect().Model((*unformedRow)(nil)).Column("user_id").Where("user_id > ?", place).
			Order("user_id").Limit(formBatch).Scan(ctx, &ids)
		if err != nil || len(ids) == 0 {
			return formed, left, err
		}
		held, err := s.formSome(ctx, ids)
		if Conflict(err) { // another change took a value meanwhile
			continue
		}
		if err != nil {
			return formed, left, err
		}
		formed, left, place = formed+len(ids)-held, left+held, ids[len(ids)-1]
		progress(formed)
	}
}

// formSome computes the forms of users in one transaction. It works like any change, but versions
// stay. It returns how many users other sessions have locked.
func (s *Store) formSome(ctx context.Context, ids []uuid.UUID) (held int, err error) {
	tx, known, err := s.Begin(ctx, Skip, &Wanted{Users: rowsOf(ids, func(id uuid.UUID) user.Ref { return user.Ref{ID: id} })})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if err := tx.form(ctx, known); err != nil {
		return 0, err
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool {
		return slices.ContainsFunc(known.Held, func(u *user.User) bool { return u.ID == id })
	})
	tx.next.exec(s.statements().writing.formed, ids)
	return len(known.Held), tx.Commit(ctx, &Writes{Update: known.Users}, nil)
}

// form computes the unique forms of users. If another user has a key, the user's id is appended to
// it.
func (tx *Tx) form(ctx context.Context, known *Known) error {
	var keys UniqueKeys
	for _, u := range known.Users {
		u.SetForms()
		keys[KeyEmail], keys[KeyUserName] = append(keys[KeyEmail], u.EmailKey), append(keys[KeyUserName], u.UserNameKey)
	}
	tx.askHolders(keys, known)
	if err := tx.next.run(ctx, tx.conn); err != nil {
		return err
	}
	if known.releaseKeys() {
		tx.next.exec(tx.store.statements().writing.release, rowsOf(known.Users, func(u *user.User) uuid.UUID { return u.ID }))
	}
	for _, u := range known.Users {
		if u.EmailKey != "" {
			u.EmailKey = ownKey(known.Holders[KeyEmail], u.EmailKey, u.ID)
		}
		u.UserNameKey = ownKey(known.Holders[KeyUserName], u.UserNameKey, u.ID)
	}
	return nil
}

// releaseKeys drops holders that get other keys in this transaction, and reports whether there are any. What
// an older revision wrote for one user may be another user's key by the new forms.
func (k *Known) releaseKeys() (released bool) {
	formed := map[uuid.UUID]bool{}
	for _, u := range k.Users {
		formed[u.ID] = true
	}
	for _, index := range []int{KeyEmail, KeyUserName} {
		for _, u := range k.Users {
			key := KeysOf(u)[index]
			if holder, held := k.Holders[index][key]; held && holder != u.ID && formed[holder] {
				delete(k.Holders[index], key)
				released = true
			}
		}
	}
	return released
}

// ownKey makes a key the user's and returns it, with the id appended if another user has it.
func ownKey(holders map[string]uuid.UUID, key string, id uuid.UUID) string {
	if holder, taken := holders[key]; taken && holder != id {
		key += "#" + id.String()
	}
	holders[key] = id
	return key
}

// FormConflicts returns the users whose values equal other users'.
func (s *Store) FormConflicts(ctx context.Context) (conflicts []FormConflict, err error) {
	err = s.db.NewSelect().Model((*userRow)(nil)).ColumnExpr("id AS user_id").
		ColumnExpr("CASE WHEN right(email_key, 37) = '#' || id::text THEN 'email' ELSE 'userName' END AS field").
		Where("right(email_key, 37) = '#' || id::text OR right(user_name_key, 37) = '#' || id::text").OrderExpr("id").Scan(ctx, &conflicts)
	return conflicts, Translate(err)
}
