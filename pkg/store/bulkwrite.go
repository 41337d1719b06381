package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"aiadmin/pkg/user"
)

// Group are changes to different users that do not depend on each other's order, but that
// deletions come first: a user may take over a deleted one's tag.
type Group struct {
	Delete         []uuid.UUID
	Update, Insert []*user.User
	Seal           []Seal
}

// Seal is a value of a user's credential for a provider; an empty one removes it.
type Seal struct {
	User             uuid.UUID
	Provider, Sealed string
}

// Write writes users, without their events, for changes that could not be written along with it.
func (b *Bulk) Write(ctx context.Context, g Group) error {
	b.next.write(g)
	return b.run(ctx)
}

// Finish writes users and records, and commits.
func (b *Bulk) Finish(ctx context.Context, g Group, records []Record) error {
	b.next.write(g)
	b.next.record(records)
	b.next.exec("COMMIT")
	return b.run(ctx)
}

func (r *round) write(g Group) {
	if len(g.Delete) > 0 {
		r.exec("WITH changed AS (DELETE FROM users WHERE id = ANY ($1::uuid[]) RETURNING id)"+allChanged, g.Delete)
	}
	if len(g.Update) > 0 {
		r.exec("WITH changed AS ("+updateUsers+" RETURNING users.id)"+allChanged, userArrays(g.Update)...)
	}
	if len(g.Insert) > 0 {
		r.exec(insertUsers, userArrays(g.Insert)...)
	}
	if len(g.Seal) > 0 {
		r.seal(g.Seal)
	}
}

// allChanged fails, by a division by zero, unless just as many rows were changed as there
// are ids: by the time that a count came here, the transaction would be over.
const allChanged = " SELECT 1 / (count(*) = cardinality($1::uuid[]))::int FROM changed"

func (r *round) seal(seals []Seal) {
	r.exec(`WITH given AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS g(user_id, provider, sealed)),
		dropped AS (DELETE FROM credentials c USING given g WHERE c.user_id = g.user_id AND c.provider = g.provider AND g.sealed = '')
		INSERT INTO credentials (user_id, provider, sealed, user_created_at)
			SELECT g.user_id, g.provider, g.sealed, u.created_at FROM given g JOIN users u ON u.id = g.user_id WHERE g.sealed <> ''
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed`,
		column(seals, func(s Seal) pgtype.UUID { return uuidOf(s.User) }),
		column(seals, func(s Seal) string { return s.Provider }),
		column(seals, func(s Seal) string { return s.Sealed }))
}
