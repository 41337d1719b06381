package store

import (
	"context"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"

	"aiadmin/pkg/user"
)

// totals remembers for a moment that a filter finds far more users than are counted
// exactly, so that not every page of a large listing counts ten thousand rows again. An
// estimate that is not well past the bound is never kept: it could soon be exact.
type totals struct {
	kept *lru.Cache[string, keptTotal]
}

type keptTotal struct {
	estimate int64
	until    time.Time
}

const (
	totalsKept  = 1024
	totalsFor   = 2 * time.Second
	wellPastMax = 2 * user.MaxExact
)

func newTotals() *totals {
	kept, err := lru.New[string, keptTotal](totalsKept)
	if err != nil {
		panic(err) // the constant above is not a size
	}
	return &totals{kept}
}

func (t *totals) get(filter string) (int64, bool) {
	total, ok := t.kept.Get(filter)
	return total.estimate, ok && time.Now().Before(total.until)
}

func (t *totals) keep(filter string, estimate int64) {
	if estimate >= wellPastMax {
		t.kept.Add(filter, keptTotal{estimate, time.Now().Add(totalsFor)})
	}
}

// total counts what a filter finds, at most up to the bound of exact counting unless an
// exact count is asked for; past it, it is the planner's estimate for the same filter.
func (s *Store) total(ctx context.Context, f user.Filter, mode user.CountMode) (int64, bool, error) {
	b := s.filtered(f)
	b.q.ColumnExpr("1")
	if mode == user.CountExact {
		total, err := s.count(ctx, b.q.String(), b)
		return total, true, err
	}
	key, err := json.Marshal(f)
	if err != nil {
		return 0, false, err
	}
	if kept, ok := s.totals.get(string(key)); ok {
		return kept, false, nil
	}
	bounded, err := s.count(ctx, b.q.String()+" LIMIT "+strconv.Itoa(user.MaxExact+1), b)
	if err != nil || bounded <= user.MaxExact {
		return bounded, true, err
	}
	estimate, err := s.estimate(ctx, b)
	if err != nil {
		return 0, false, err
	}
	s.totals.keep(string(key), estimate)
	return max(estimate, bounded), false, nil
}

func (s *Store) count(ctx context.Context, text string, b *listing) (int64, error) {
	counts, err := queryValues[int64](ctx, s.pool, "SELECT count(*) FROM ("+text+") AS found", b.arguments())
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// estimate asks the planner how many rows it expects.
func (s *Store) estimate(ctx context.Context, b *listing) (int64, error) {
	b.filtered = true // EXPLAIN cannot be prepared with a generic plan's guess
	plans, err := queryValues[string](ctx, s.pool, "EXPLAIN (FORMAT JSON) "+b.q.String(), b.arguments())
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
