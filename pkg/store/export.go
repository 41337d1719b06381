package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Export calls yield with every user that a query's filter selects, in its order, without holding more than
// one. All are of one snapshot; the place that it returns is that snapshot's in the change feed: whoever
// follows the feed from there misses no later change, and meets again only what was under way meanwhile. An
// error of yield ends the export and is returned as it is. The query's page, cursor and count do not matter.
// It keeps a connection for as long as it runs.
func (s *Store) Export(ctx context.Context, q user.Query, yield func(*user.User) error) (user.Place, error) {
	q.After, q.Page = nil, 0
	var place user.Place
	var stopped error
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var err error
		if place, err = s.headOn(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = on"); err != nil { // all users are what is asked for
			return err
		}
		l := s.listing(q)
		statement := orderBy(where(l.read.shown(l.users(nil)), l.index, l.filter, l.recheck()), l.keys)
		rows, err := tx.Query(ctx, statement.String(), l.arguments()...)
		if err != nil {
			return err
		}
		return eachUser(rows, l.read, func(u *user.User) error {
			stopped = yield(u)
			return stopped
		})
	})
	if stopped != nil {
		return place, stopped
	}
	return place, translate(err)
}
