package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Keys are values of which only one user can have each, by the unique index that sees to
// it. They are in the order in which an insert finds them taken.
type Keys [4][]string

// The indexes of [Keys].
const (
	KeyID = iota
	KeyTag
	KeyEmail // folded
	KeyExternalID
)

// taken are the refusals by index of [Keys].
var taken = [4]*user.Error{duplicates["users_pkey"], duplicates["users_tag"], duplicates["users_email"], duplicates["users_external_id"]}

// Taken is the refusal of a change for a key that another user has.
func Taken(key int) error { return taken[key] }

// ErrNotFound is the refusal of a change for there being no such user.
var ErrNotFound = errNotFound

// Key is a unique value that a user may have. An empty externalId is one.
type Key = user.Optional[string]

// KeysOf returns the user's own keys.
func KeysOf(u *user.User) [4]Key {
	keys := [4]Key{KeyID: user.Some(u.ID.String()), KeyTag: user.Some(u.Tag)}
	if u.Email != nil {
		keys[KeyEmail] = user.Some(*foldedEmail(u))
	}
	if u.ExternalID != nil {
		keys[KeyExternalID] = user.Some(*u.ExternalID)
	}
	return keys
}

// each arm has an index to itself: as one condition with OR, the worst of them would
// decide how the whole is read.
const selectHolders = `
	SELECT 0, id::text, id FROM users WHERE id = ANY ($1::text[]::uuid[])
	UNION ALL SELECT 1, tag, id FROM users WHERE tag = ANY ($2::text[])
	UNION ALL SELECT 2, email_key, id FROM users WHERE email_key = ANY ($3::text[]) AND email_key IS NOT NULL
	UNION ALL SELECT 3, external_id, id FROM users WHERE external_id = ANY ($4::text[]) AND external_id IS NOT NULL`

// Held is who has which key, by the indexes of [Keys].
type Held [4]map[string]uuid.UUID

func noneHeld() (none Held) {
	for i := range none {
		none[i] = map[string]uuid.UUID{}
	}
	return none
}

// holders asks which of the keys are taken, and by whom.
func (r *round) holders(keys Keys, held Held) {
	var args []any
	asked := 0
	for _, these := range keys {
		asked += len(these)
		args = append(args, append([]string{}, these...)) // nil would be NULL
	}
	if asked == 0 {
		return
	}
	r.each(selectHolders, args, func(rows pgx.Rows) error {
		v := rows.RawValues()
		held[word(v[0])][string(v[1])] = uuid.UUID(v[2])
		return nil
	})
}
