package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// Use is a key's first use in an hour.
type Use struct {
	KeyID uuid.UUID
	At    time.Time
}

// Reveal is how often a gateway was handed one credential in one hour.
type Reveal struct {
	Gateway  string
	UserID   uuid.UUID
	Provider string
	Hour     time.Time // its beginning
}

func (c *checking) composeTallies(db *bun.DB) {
	// What another session holds is left for the next time: a key's use is approximate.
	free := db.NewSelect().Model((*keyRow)(nil)).Column("id").Where("k.id = ANY ($1::uuid[])").OrderExpr("k.id").For("UPDATE SKIP LOCKED")
	c.used = db.NewUpdate().Model((*keyRow)(nil)).TableExpr("unnest($1::uuid[], $2::timestamptz[]) AS given(id, at)").
		Set("last_used_at = given.at").Where("k.id = given.id AND k.id IN (?)", free).
		Where("(k.last_used_at IS NULL OR k.last_used_at < date_trunc('hour', given.at, 'UTC'))").String()
	columns := []string{"id", "at", "actor", "action", "user_id", "provider", "request_id", "source_ip", "outcome", "bucket", "count"}
	c.reveals = db.NewInsert().Model((*auditRow)(nil)).Column(columns...).
		TableExpr(`(SELECT id, at, actor, 'credential.revealed' AS action, user_id, provider, '' AS request_id, '' AS source_ip, 'success' AS outcome, bucket, count
			FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[])
			AS g(id, at, actor, user_id, provider, bucket, count) ORDER BY bucket) AS given`).
		On("CONFLICT (bucket) WHERE bucket IS NOT NULL DO UPDATE").Set("count = a.count + excluded.count").String()
}

// NoteUses writes when keys were used, at most once in an hour of the clock for each.
func (s *Store) NoteUses(ctx context.Context, uses []Use) error {
	ids, times := make([][16]byte, len(uses)), make([]time.Time, len(uses))
	for i, use := range uses {
		ids[i], times[i] = use.KeyID, use.At
	}
	_, err := s.pool.Exec(ctx, s.statements.checking.used, prepared(ids, times)...)
	return translate(err)
}

// CountReveals adds to the counts of credentials that gateways were handed.
func (s *Store) CountReveals(ctx context.Context, counts map[Reveal]int64) error {
	n := len(counts)
	ids, users := make([][16]byte, 0, n), make([][16]byte, 0, n)
	hours, gateways, providers, buckets, numbers := make([]time.Time, 0, n), make([]string, 0, n), make([]string, 0, n), make([]string, 0, n), make([]int64, 0, n)
	for r, count := range counts {
		ids, hours, gateways, users = append(ids, user.NewID()), append(hours, r.Hour), append(gateways, r.Gateway), append(users, r.UserID)
		providers, numbers = append(providers, r.Provider), append(numbers, count)
		// The gateway's name, which may hold anything, comes last: no two buckets are spelled alike.
		buckets = append(buckets, "credential.revealed "+r.Hour.UTC().Format(time.RFC3339)+" "+r.UserID.String()+" "+r.Provider+" "+r.Gateway)
	}
	_, err := s.pool.Exec(ctx, s.statements.checking.reveals, prepared(ids, hours, gateways, users, providers, buckets, numbers)...)
	return translate(err)
}
