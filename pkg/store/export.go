package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Export calls yield with every user that a query's filter selects, in its order, and holds one at a time.
// All are of one snapshot. The place returned is the snapshot's in the change feed: following the feed from
// there misses no later change, and repeats only changes that were under way. An error of yield ends the
// export and is returned as it is. The query's page, cursor and count are ignored. Export holds a connection
// until it ends.
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
