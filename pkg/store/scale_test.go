package store_test

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestScale measures listings at the size that SCALE_USERS says: it is no test of
// correctness, and reports what is over 20 ms.
func TestScale(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SCALE_USERS"))
	if n == 0 {
		t.Skip("set SCALE_USERS=1000000 to measure")
	}
	s := measuring(t, scaled(t, n))
	for _, filter := range documented {
		measure(t, s, "first", filter, 0)
	}
	for _, sort := range sorts {
		measure(t, s, "first", "sort="+sort, 0)
		measure(t, s, "deep", "sort="+sort, n/2)
		measure(t, s, "offset", "page=200&sort="+sort, 0)
	}
	for _, filter := range []string{"role=service", "role=admin", "status=suspended", "provider=legacy", "model=llama-4", "q=son", "metadata.region=sa", "metadata.team=team-7"} {
		for _, sort := range []string{"createdAt", "tag", "name", "-name", "email", "-email"} {
			measure(t, s, "first", filter+"&sort="+sort, 0)
		}
	}
}

// TestScaleCreate compares what a creation costs the database beside many users and beside few.
func TestScaleCreate(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SCALE_USERS"))
	if n == 0 {
		t.Skip("set SCALE_USERS=1000000 to measure")
	}
	few := measuredOn(t, 10_000, pgtest.Database(t))
	many := measuredOn(t, n, pgtest.Database(t))
	const count = 3000
	for round := range 3 { // interleaved, so that the machine's moods meet both
		a, b := few.created(t, 10_000+round*count, count), many.created(t, n+round*count, count)
		fmt.Printf("create beside 10000 users %.3f ms, beside %d users %.3f ms: %.2f times\n", a, n, b, b/a)
	}
}

func (s *measured) created(t *testing.T, first, count int) float64 {
	t.Helper()
	before := s.worked(t)
	for i := range count {
		u := person(first+i, first+count)
		u.CreatedAt, u.UpdatedAt = epoch.AddDate(10, 0, 0), epoch.AddDate(10, 0, 0)
		insert(t, s.Store, u)
	}
	return (s.worked(t) - before) / float64(count)
}

func measuredOn(t *testing.T, n int, db string) *measured {
	t.Helper()
	load(t, db, n, func(i int) *user.User { return person(i, n) })
	return measuring(t, openOne(t, db))
}

func measuring(t *testing.T, s *store.Store) *measured {
	t.Helper()
	m := &measured{Store: s}
	must(t, s.DB().QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&m.process))
	return m
}

func scaled(t *testing.T, n int) *store.Store {
	t.Helper()
	if kept := os.Getenv("SCALE_URL"); kept != "" {
		s := openOne(t, kept)
		if u, err := s.List(t.Context(), user.Query{Sort: []user.SortKey{{Field: "tag"}}, Limit: 1, Count: user.CountNone}); err == nil && len(u.Users) == 1 {
			return s
		}
		_, err := s.Migrate(t.Context(), nil)
		must(t, err)
		load(t, kept, n, func(i int) *user.User { return person(i, n) })
		return s
	}
	db := pgtest.Database(t)
	load(t, db, n, func(i int) *user.User { return person(i, n) })
	return openOne(t, db)
}

func measure(t *testing.T, s *measured, what, text string, depth int) {
	t.Helper()
	q := parse(t, text)
	if depth > 0 {
		deep := q
		deep.Limit, deep.Page, deep.Count = 1, depth, user.CountNone
		page, err := s.List(t.Context(), deep)
		must(t, err)
		if len(page.Users) == 0 {
			return
		}
		q = parse(t, text+"&cursor="+q.CursorAfter(page.Users[0]))
	}
	cold, warm, page := s.cost(t, q)
	mark := ""
	if cold > 20 || warm > 20 {
		mark = "  <<<<<"
	}
	total := int64(-1)
	if page.Total != nil {
		total = *page.Total
	}
	fmt.Printf("%-7s %-58s %8.2f %8.2f ms %3d rows, total %d %v%s\n", what, text, cold, warm, len(page.Users), total, page.TotalIsExact, mark)
}

// cost is the time that the database works on a listing, in milliseconds: of its process,
// so that what else the machine does is not in it. Cold is with nothing remembered of the filter.
func (s *measured) cost(t *testing.T, q user.Query) (cold, warm float64, page user.Page) {
	t.Helper()
	run := func(forget bool) float64 {
		least := math.Inf(1)
		for range 4 {
			if forget {
				s.ForgetTotals()
			}
			before := s.worked(t)
			var err error
			page, err = s.List(t.Context(), q)
			must(t, err)
			least = min(least, s.worked(t)-before)
		}
		return least
	}
	return run(true), run(false), page
}

type measured struct {
	*store.Store
	process int
}

// worked is how long the one connection's server process has run.
func (s *measured) worked(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", s.process))
	must(t, err)
	var nanoseconds float64
	_, err = fmt.Sscan(string(text), &nanoseconds)
	must(t, err)
	return nanoseconds / 1e6
}

func openOne(t *testing.T, connString string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{ConnString: connString, MaxConnections: 1})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}
