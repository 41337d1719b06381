package store

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"

	"aiadmin/pkg/user"
)

// totals remembers for a moment what is known of how many users a filter finds, so that
// not every page of a large listing asks anew.
type totals struct{ kept *lru.Cache[string, total] }

type total struct {
	expected int64     // by the planner
	until    time.Time // when that is asked again
	past     time.Time // until when more are known to be found than are counted exactly
	changes  int64     // of any users, before that was counted
}

const (
	totalsKept  = 1024
	expectedFor = 10 * time.Second
	countedFor  = 2 * time.Second
	// Up to here, what was past the bound of exact counting may be exact after the next change.
	wellPast = 2 * user.MaxExact
	// From here on, the planner is believed: it is not that far off.
	farPast = 10 * user.MaxExact
)

func newTotals() *totals {
	kept, err := lru.New[string, total](totalsKept)
	if err != nil {
		panic(err) // the constant above is not a size
	}
	return &totals{kept}
}

func totalKey(f user.Filter) string { return string(f.AppendKey(nil)) }

// expected is how many users the planner expects a filter to find.
func (s *Store) expected(ctx context.Context, f user.Filter) (int64, error) {
	key := totalKey(f)
	kept, _ := s.totals.kept.Get(key)
	if time.Now().Before(kept.until) {
		return kept.expected, nil
	}
	expected, err := s.estimate(ctx, s.listing(user.Query{Filter: f}))
	if err == nil {
		kept.expected, kept.until = expected, time.Now().Add(expectedFor)
		s.totals.kept.Add(key, kept)
	}
	return expected, err
}

// total is how many users a listing's filter finds: exact where that was asked for or up
// to the bound of exact counting, past it an estimate for the same filter. What is known
// is a count, or uncounted; more says that a full page was found.
func (s *Store) total(ctx context.Context, q user.Query, known int64, more bool) (int64, bool, error) {
	if known != uncounted {
		return known, q.Count == user.CountExact || known <= user.MaxExact, nil
	}
	if q.Count == user.CountExact {
		counted, err := s.count(ctx, s.listing(q), nil)
		return counted, true, err
	}
	expected, err := s.expected(ctx, q.Filter)
	if err != nil || more && expected >= farPast {
		return expected, false, err
	}
	key := totalKey(q.Filter)
	kept, ok := s.totals.kept.Get(key)
	changes := s.changes.made.Load()
	if time.Now().Before(kept.past) && (expected >= wellPast || changes == kept.changes) {
		return max(expected, user.MaxExact+1), false, nil
	}
	bound := user.MaxExact + 1
	counted, err := s.count(ctx, s.listing(q), &bound)
	if err != nil || counted <= user.MaxExact {
		return counted, true, err
	}
	if ok {
		kept.past, kept.changes = time.Now().Add(countedFor), changes
		s.totals.kept.Add(key, kept)
	}
	return max(expected, counted), false, nil
}

// count counts what a listing's conditions find, up to a bound if that is not nil.
func (s *Store) count(ctx context.Context, b *listing, bound *int) (int64, error) {
	counts, err := queryValues[int64](ctx, s.pool, b.count(bound), b.arguments())
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// estimate asks the planner how many rows it expects.
func (s *Store) estimate(ctx context.Context, b *listing) (int64, error) {
	plans, err := queryValues[string](ctx, s.pool, "EXPLAIN (FORMAT JSON) "+b.users("1", b.along, b.rest).String(), b.planned())
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
