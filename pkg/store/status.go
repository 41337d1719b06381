package store

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Server is the database as the service's connections see it.
type Server struct {
	Role, Name, Version string
	Primary             bool // it takes writes
}

// Server asks the database who it is.
func (s *Store) Server(ctx context.Context) (v Server, err error) {
	const look = "SELECT current_user, current_database(), current_setting('server_version'), NOT pg_is_in_recovery()"
	err = s.pool.QueryRow(ctx, look).Scan(&v.Role, &v.Name, &v.Version, &v.Primary)
	return v, Translate(err)
}

// SealedBy counts the sealed values, credentials and what claims keep, by the vault key that they name; those that
// name none are under "".
func (s *Store) SealedBy(ctx context.Context) (map[string]int64, error) {
	const count = `SELECT CASE WHEN position(':' IN sealed) > 0 THEN split_part(sealed, ':', 1) ELSE '' END, count(*)
		FROM (SELECT sealed FROM credentials UNION ALL SELECT secret FROM claims WHERE secret IS NOT NULL) AS s GROUP BY 1`
	rows, err := s.pool.Query(ctx, count)
	if err != nil {
		return nil, Translate(err)
	}
	counts := map[string]int64{}
	var id string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil })
	return counts, Translate(err)
}

// Foreign returns the ids of at most limit users, in order and after a given one, who have a
// sealed value that does not begin with a prefix.
func (s *Store) Foreign(ctx context.Context, after uuid.UUID, prefix string, limit int) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := s.db.NewSelect().Model((*credentialRow)(nil)).Column("user_id").Distinct().
		Where("user_id > ? AND NOT starts_with(sealed, ?)", after, prefix).Order("user_id").Limit(int64(limit)).Scan(ctx, &ids)
	return ids, Translate(err)
}

// ClaimedSecret is a sealed secret that is kept with a claim, for repetitions of its request: as it is, and as
// it was when it was read.
type ClaimedSecret struct {
	Key            []byte // the claim's
	UserID         uuid.UUID
	Sealed, Former string
}

// ForeignClaims returns at most limit claims after one, in the order of their keys, whose sealed secret does not
// begin with a prefix.
func (s *Store) ForeignClaims(ctx context.Context, after []byte, prefix string, limit int) ([]ClaimedSecret, error) {
	var rows []claimRow
	err := s.db.NewSelect().Model(&rows).Column("key", "user_id", "secret").
		Where("secret IS NOT NULL AND NOT starts_with(secret, ?) AND key > ?", prefix, after).Order("key").Limit(int64(limit)).Scan(ctx)
	return rowsOf(rows, func(r claimRow) ClaimedSecret {
		of := uuid.Nil
		if r.UserID != nil {
			of = *r.UserID
		}
		return ClaimedSecret{Key: r.Key, UserID: of, Sealed: orEmpty(r.Secret), Former: orEmpty(r.Secret)}
	}), Translate(err)
}

// Head returns the present end of the change feed: all events behind it are yet to be shown.
func (s *Store) Head(ctx context.Context) (user.Place, error) { return s.headOn(ctx, s.pool) }

// headOn returns a place in the feed before all events that a transaction's snapshot may lack: those of
// the oldest transaction still under way, and of later ones.
func (s *Store) headOn(ctx context.Context, on querier) (user.Place, error) {
	const oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + f.shift FROM feed_floor AS f"
	places, err := queryValues[int64](ctx, on, oldest, prepared())
	if err != nil {
		return user.Place{}, err
	}
	if len(places) == 0 || places[0] < 1 {
		return user.Place{}, fmt.Errorf("the feed has no floor: restore the row of feed_floor")
	}
	return user.Place{XID: uint64(places[0]) - 1, Seq: math.MaxInt64}, nil
}
