package admin

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Keys returns the keys of a user, newest first.
func (s *Service) Keys(ctx context.Context, ref user.Ref) ([]user.ListedKey, error) {
	u, err := s.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	return s.store.UserKeys(ctx, u.ID)
}

// Key returns one key of a user.
func (s *Service) Key(ctx context.Context, ref user.Ref, id uuid.UUID) (user.ListedKey, error) {
	keys, err := s.Keys(ctx, ref)
	if err != nil {
		return user.ListedKey{}, err
	}
	i := slices.IndexFunc(keys, func(k user.ListedKey) bool { return k.ID == id })
	if i < 0 {
		return user.ListedKey{}, user.ErrNoSuchKey
	}
	return keys[i], nil
}

// FindKeys returns a page of keys across users.
func (s *Service) FindKeys(ctx context.Context, q user.KeyQuery) (user.KeyPage, error) {
	return s.store.FindKeys(ctx, q)
}
