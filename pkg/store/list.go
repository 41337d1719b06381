package store

import (
	"context"

	"aiadmin/pkg/user"
)

// List returns one page of users.
func (s *Store) List(ctx context.Context, q user.Query) (user.Page, error) {
	users, found, err := s.find(ctx, q)
	if err != nil {
		return user.Page{}, err
	}
	page := user.Page{Users: users}
	if len(users) > q.Limit {
		page.Users, page.More = users[:q.Limit], true
	}
	if q.Count == user.CountNone {
		return page, nil
	}
	if q.After == nil && q.Page <= 1 && !page.More { // the first page is all there is
		found = int64(len(users))
	}
	total, exact, err := s.total(ctx, q, found, page.More)
	page.Total, page.TotalIsExact = &total, exact
	return page, err
}
