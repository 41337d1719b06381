package store

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Plan is how PostgreSQL would run a listing's statement, with the values that it has.
func (s *Store) Plan(ctx context.Context, q user.Query) (string, error) {
	part := ""
	if q.Sort[0].Field == "email" {
		part = "u.email_key IS NOT NULL"
	}
	text, args := s.statement(q, q.Sort, q.After, part, 0, q.Limit+1)
	args[0] = pgx.QueryExecModeExec
	lines, err := queryValues[string](ctx, s.pool, "EXPLAIN "+text, args)
	return strings.Join(lines, "\n"), err
}
