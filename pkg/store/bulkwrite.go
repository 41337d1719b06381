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

// Write writes users, without their events.
func (b *Bulk) Write(ctx context.Context, g Group) error {
	if len(g.Delete) > 0 {
		const forget = `WITH gone AS (DELETE FROM credentials WHERE user_id = ANY ($1::uuid[])) DELETE FROM users WHERE id = ANY ($1::uuid[])`
		if err := b.exec(ctx, len(g.Delete), forget, g.Delete); err != nil {
			return err
		}
	}
	if len(g.Update) > 0 {
		if err := b.exec(ctx, len(g.Update), updateUsers, userArrays(g.Update)...); err != nil {
			return err
		}
	}
	if len(g.Insert) > 0 {
		if err := b.exec(ctx, len(g.Insert), insertUsers, userArrays(g.Insert)...); err != nil {
			return err
		}
	}
	return b.seal(ctx, g.Seal)
}

// exec runs a statement that must change just so many rows.
func (b *Bulk) exec(ctx context.Context, wanted int, text string, args ...any) error {
	result, err := b.tx.ExecContext(ctx, text, prepared(args...)...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || int(n) != wanted {
		return errCounted
	}
	return nil
}

func (b *Bulk) seal(ctx context.Context, seals []Seal) error {
	if len(seals) == 0 {
		return nil
	}
	const store = `WITH given AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS g(user_id, provider, sealed)),
		dropped AS (DELETE FROM credentials c USING given g WHERE c.user_id = g.user_id AND c.provider = g.provider AND g.sealed = '')
		INSERT INTO credentials (user_id, provider, sealed) SELECT user_id, provider, sealed FROM given WHERE sealed <> ''
		ON CONFLICT (user_id, provider) DO UPDATE SET sealed = excluded.sealed`
	_, err := b.tx.ExecContext(ctx, store, prepared(
		column(seals, func(s Seal) pgtype.UUID { return uuidOf(s.User) }),
		column(seals, func(s Seal) string { return s.Provider }),
		column(seals, func(s Seal) string { return s.Sealed }))...)
	return err
}
