package store

import (
	"context"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

const (
	selectByID     = "SELECT " + userColumns + " FROM users WHERE id = $1"
	selectByTag    = "SELECT " + userColumns + " FROM users WHERE tag = $1"
	selectSealed   = "SELECT sealed FROM credentials WHERE user_id = $1 AND provider = $2"
	selectAllSeals = "SELECT provider, sealed FROM credentials WHERE user_id = $1"
)

// Get finds one user, by id or else by tag. An unknown one is [user.NotFound].
func (s *Store) Get(ctx context.Context, ref user.Ref) (*user.User, error) {
	if ref.ID == uuid.Nil {
		return s.get(ctx, s.pool, ref, "")
	}
	found, err := s.single.get(ctx, ref.ID)
	if err == nil && found == nil {
		err = errNotFound
	}
	return found, err
}

func (s *Store) get(ctx context.Context, on querier, ref user.Ref, lock string) (*user.User, error) {
	query, key := selectByID, any([16]byte(ref.ID))
	if ref.ID == uuid.Nil {
		query, key = selectByTag, ref.Tag
	}
	found, err := queryUsers(ctx, on, query+lock, prepared(key))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errNotFound
	}
	return found[0], nil
}

var errNotFound = user.Errorf(user.NotFound, "no such user")

// Sealed returns the sealed value of one credential; [user.NotFound] when there is none.
func (s *Store) Sealed(ctx context.Context, id uuid.UUID, provider string) (string, error) {
	values, err := queryValues[string](ctx, s.pool, selectSealed, prepared(id, provider))
	if err != nil {
		return "", err
	}
	if len(values) == 0 {
		return "", user.Errorf(user.NotFound, "no such user, or no credential for this provider")
	}
	return values[0], nil
}

// queryValues runs a statement that returns one column.
func queryValues[T any](ctx context.Context, on querier, query string, args []any) ([]T, error) {
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var values []T
	for rows.Next() {
		var value T
		if err := rows.Scan(&value); err != nil {
			return nil, translate(err)
		}
		values = append(values, value)
	}
	return values, translate(rows.Err())
}
