package store

import (
	"context"

	"github.com/google/uuid"

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

// Holders tells which of the keys are taken, and by whom.
func (b *Bulk) Holders(ctx context.Context, keys Keys) ([4]map[string]uuid.UUID, error) {
	var held [4]map[string]uuid.UUID
	args, asked := prepared(), 0
	for i := range keys {
		held[i] = map[string]uuid.UUID{}
		asked += len(keys[i])
		args = append(args, append([]string{}, keys[i]...)) // nil would be NULL
	}
	if asked == 0 {
		return held, nil
	}
	rows, err := b.tx.QueryContext(ctx, selectHolders, args...)
	if err != nil {
		return held, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var index int
		var key string
		var holder uuid.UUID
		if err := rows.Scan(&index, &key, &holder); err != nil {
			return held, err
		}
		held[index][key] = holder
	}
	return held, rows.Err()
}
