package store

import (
	"context"

	"github.com/google/uuid"
)

// CountForeign counts the sealed values that do not begin with a prefix: a key's id and a colon.
func (s *Store) CountForeign(ctx context.Context, prefix string) (int64, error) {
	n, err := s.db.NewSelect().Model((*credentialRow)(nil)).Where("NOT starts_with(sealed, ?)", prefix).Count(ctx)
	return int64(n), translate(err)
}

// Foreign returns at most limit users after one, in the order of their ids, that have sealed
// values which do not begin with a prefix.
func (s *Store) Foreign(ctx context.Context, after uuid.UUID, prefix string, limit int) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := s.db.NewSelect().Model((*credentialRow)(nil)).Column("user_id").Distinct().
		Where("user_id > ? AND NOT starts_with(sealed, ?)", after, prefix).Order("user_id").Limit(int64(limit)).Scan(ctx, &ids)
	return ids, translate(err)
}
