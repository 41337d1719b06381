package store

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// totals remembers how many users filters select, so that not every page of a large listing counts anew. A
// count holds for as long as the database's snapshot does: until any transaction that writes begins or ends,
// in this process or another. Entries are of a fixed size.
type totals struct{ kept *lru.Cache[[16]byte, total] }

type total struct {
	expected      int64     // by the planner
	expectedUntil time.Time // when that is asked again
	counted       count
	countedAt     time.Time
}

// count is how many users were counted, and a hash of the snapshot that they were counted in.
type count struct {
	users    int64
	snapshot int64
}

const (
	totalsKept  = 1024
	expectedFor = 10 * time.Second
	countedFor  = time.Minute // after a failover, another server's snapshot may hash alike
	// How long a count above the bound of exact counting is reused, if far more users are expected.
	pastFor = 2 * time.Second
	// Up to here, a count above the bound of exact counting may be exact after the next change.
	wellPast = 2 * user.MaxExact
	// From here on, the planner's estimate is used: it is never that far off.
	farPast = 10 * user.MaxExact
)

func newTotals() *totals { return &totals{newCache[[16]byte, total](totalsKept)} }

func newCache[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only a size below 1 can do that, and it is a constant
	}
	return cache
}

// update changes what is remembered of a filter.
func (t *totals) update(key [16]byte, change func(*total)) {
	kept, _ := t.kept.Get(key)
	change(&kept)
	t.kept.Add(key, kept)
}

// expected returns how many users the planner expects a filter to select.
func (s *Store) expected(ctx context.Context, f user.Filter) (int64, error) {
	key := f.Key()
	kept, _ := s.totals.kept.Get(key)
	if time.Now().Before(kept.expectedUntil) {
		return kept.expected, nil
	}
	expected, err := s.estimate(ctx, s.listing(user.Query{Filter: f}))
	if err == nil {
		s.totals.update(key, func(t *total) { t.expected, t.expectedUntil = expected, time.Now().Add(expectedFor) })
	}
	return expected, err
}

// total returns how many users a listing's filter selects: exact if that was asked for, or up to the bound
// of exact counting; above it an estimate for the same filter. Known is a count, or uncounted; more says
// that users follow the page.
func (s *Store) total(ctx context.Context, q user.Query, known int64, more bool) (total int64, exact bool, err error) {
	if known != uncounted {
		return known, q.Count == user.CountExact || known <= user.MaxExact, nil
	}
	if q.Count == user.CountExact {
		counted, err := s.count(ctx, s.listing(q), 0)
		return counted.users, true, err
	}
	expected, err := s.expected(ctx, q.Filter)
	if err != nil || more && expected >= farPast {
		return expected, false, err
	}
	counted, err := s.countToBound(ctx, q, expected)
	if err != nil || counted <= user.MaxExact {
		return counted, true, err
	}
	return max(expected, counted), false, nil
}

// countToBound counts what a filter selects up to the bound of exact counting, unless that is known.
func (s *Store) countToBound(ctx context.Context, q user.Query, expected int64) (int64, error) {
	key := q.Filter.Key()
	kept, _ := s.totals.kept.Get(key)
	age := time.Since(kept.countedAt)
	if kept.counted.users > user.MaxExact && expected >= wellPast && age < pastFor {
		return kept.counted.users, nil
	}
	if age < countedFor {
		snapshots, err := queryValues[int64](ctx, s.pool, "SELECT "+snapshotHash, prepared())
		if err != nil || snapshots[0] == kept.counted.snapshot {
			return kept.counted.users, err
		}
	}
	counted, err := s.count(ctx, s.listing(q), user.MaxExact+1)
	if err == nil {
		s.totals.update(key, func(t *total) { t.counted, t.countedAt = counted, time.Now() })
	}
	return counted.users, err
}

// snapshotHash differs when other transactions' changes are visible.
const snapshotHash = "hashtextextended(pg_current_snapshot()::text, 0)"

// count counts what a listing's conditions select, up to a bound if that is not 0.
func (s *Store) count(ctx context.Context, l *listing, bound int64) (count, error) {
	rows, err := s.pool.Query(ctx, l.count(bound).String(), l.arguments()...)
	if err != nil {
		return count{}, Translate(err)
	}
	counted, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (c count, err error) {
		return c, row.Scan(&c.users, &c.snapshot)
	})
	return counted, Translate(err)
}

func (l *listing) count(bound int64) *bun.SelectQuery {
	found := where(l.db.NewSelect().Model((*userRow)(nil)).ColumnExpr("1"), l.index, l.filter, l.recheck())
	if bound > 0 {
		found.Limit(bound)
	}
	return l.db.NewSelect().TableExpr("(?) AS found", found).ColumnExpr("count(*), " + snapshotHash)
}

// estimate asks the planner how many rows it expects.
func (s *Store) estimate(ctx context.Context, l *listing) (int64, error) {
	selected := where(l.db.NewSelect().Model((*userRow)(nil)).ColumnExpr("1"), l.index, l.filter)
	plans, err := queryValues[string](ctx, s.pool, "EXPLAIN (FORMAT JSON) "+selected.String(), l.arguments())
	if err != nil {
		return 0, err
	}
	var parsed []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		} `json:"Plan"`
	}
	if err := json.Unmarshal([]byte(plans[0]), &parsed); err != nil {
		return 0, err
	}
	return int64(parsed[0].Plan.Rows), nil
}
