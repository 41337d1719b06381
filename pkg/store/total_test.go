package store_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestTotalsPastTheBound: up to ten thousand a total is counted, past that it is an
// estimate for the same filter, exact only where that is asked for.
func TestTotalsPastTheBound(t *testing.T) {
	t.Parallel()
	const people, times = 3000, 10 // 10,000 viewers, 20,000 members of whom 10,010 hold a credential
	db := pgtest.Database(t)
	loadTimes(t, db, people, times, func(i int) *user.User {
		u := person(i, people)
		u.Role, u.Credentials, u.Models = user.Member, nil, []string{"m-1"}
		switch {
		case i%3 == 0:
			u.Role = user.Viewer
		case i%3 == 1 || i == 2:
			u.Credentials = []user.Credential{{Provider: "openai", KeyID: "k1", UpdatedAt: morning}}
		}
		return u
	})
	s := open(t, db)
	for _, test := range []struct {
		query string
		exact bool
		total int64
	}{
		{"", false, 30_000},
		{"count=exact", true, 30_000},
		{"role=viewer", true, 10_000},
		{"role=viewer&sort=name", true, 10_000},
		{"role=viewer&page=200&limit=50", true, 10_000},
		{"provider=openai", false, 10_010},
		{"provider=openai&count=exact", true, 10_010},
		{"provider=openai&sort=tag", false, 10_010},
		{"model=m-1", false, 30_000},
		{"role=member&provider=openai&count=exact", true, 10_010},
		{"metadata.team=none", true, 0},
		{"role=admin", true, 0},
	} {
		for range 2 { // the second knows what the first found
			page, err := s.List(t.Context(), parse(t, test.query))
			must(t, err)
			total := *page.Total
			if page.TotalIsExact != test.exact || test.exact && total != test.total {
				t.Errorf("%s: total %d, exact %v, of %d", test.query, total, page.TotalIsExact, test.total)
			}
			if !test.exact && (total < 10_010 || total < test.total*8/10 || total > test.total*12/10) {
				t.Errorf("%s: estimated %d of %d", test.query, total, test.total)
			}
		}
	}
	// A large count is repeated once it may no longer be large: after a change.
	page, err := s.List(t.Context(), parse(t, "provider=openai&limit=11"))
	must(t, err)
	if page.TotalIsExact {
		t.Fatalf("%d are exact", *page.Total)
	}
	for n, u := range page.Users {
		must(t, remove(t.Context(), s, u.ID, nil))
		page, err := s.List(t.Context(), parse(t, "provider=openai&limit=1"))
		must(t, err)
		if left := int64(10_010 - 1 - n); page.TotalIsExact != (left <= user.MaxExact) || page.TotalIsExact && *page.Total != left {
			t.Errorf("of %d left, told are %d, exact %v", left, *page.Total, page.TotalIsExact)
		}
	}
}

// TestAFilterThatDependsOnTheOrder: the users that a filter finds are all at the other end
// of the order. Whatever way the store takes, it finds them.
func TestAFilterThatDependsOnTheOrder(t *testing.T) {
	t.Parallel()
	const people, times = 2000, 20
	db := pgtest.Database(t)
	loadTimes(t, db, people, times, func(i int) *user.User {
		u := person(i, people)
		u.Role, u.Tag = user.Member, "m"+u.Tag
		if i < people/3 {
			u.Role, u.Tag = user.Service, "z"+u.Tag
		}
		return u
	})
	s := open(t, db)
	for _, sort := range []string{"tag", "createdAt", "-createdAt", "-email", "name,-email"} {
		for _, filter := range []string{"role=service&sort=" + sort, "q=zm&sort=" + sort, "role=service&role=admin&sort=" + sort} {
			seen := map[string]bool{}
			q := parse(t, filter+"&limit=500&count=none")
			for pages := 0; ; pages++ {
				page, err := s.List(t.Context(), q)
				must(t, err)
				for _, u := range page.Users {
					if seen[u.Tag] || filter[:2] != "q=" && u.Role != user.Service {
						t.Fatalf("%s: %s again, or as %s", filter, u.Tag, u.Role)
					}
					seen[u.Tag] = true
				}
				if !page.More || pages == 1 {
					break
				}
				first := parse(t, filter+"&limit=500&count=none")
				q = parse(t, filter+"&limit=500&count=none&cursor="+first.CursorAfter(page.Users[len(page.Users)-1]))
			}
			if len(seen) != 1000 && filter[:2] != "q=" || len(seen) == 0 {
				t.Errorf("%s: %d users on two pages", filter, len(seen))
			}
		}
	}
}

// TestTotalsTakeLittleMemory: a filter's entry does not grow with its text.
func TestTotalsTakeLittleMemory(t *testing.T) { //nolint:paralleltest // it measures the heap
	s := openOne(t, pgtest.Database(t))
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	ask := func(n int) {
		q := user.Query{Sort: []user.SortKey{{Field: "tag"}}, Limit: 1, Count: user.CountEstimated, Filter: user.Filter{
			Metadata: []user.MetadataEqual{{Path: []string{"a"}, Value: fmt.Sprint(n, strings.Repeat("x", 64<<10))}}}}
		_, err := s.List(t.Context(), q)
		must(t, err)
	}
	ask(-1)
	before := heap()
	for n := range 1024 {
		ask(n)
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 { //nolint:gosec // heaps are smaller
		t.Errorf("1,024 filters of 64 KiB keep %d KiB", grown>>10)
	}
}

// TestCountsAreKeptUntilSomethingChanges: a second page does not count again, and any change is counted, also
// that of another process.
func TestCountsAreKeptUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	load(t, db, 100, func(i int) *user.User { return person(i, 100) })
	s, other := open(t, db), open(t, db)
	ask := func(want int64) {
		t.Helper()
		page, err := s.List(t.Context(), parse(t, "limit=10"))
		must(t, err)
		if *page.Total != want || !page.TotalIsExact {
			t.Errorf("total %d, exact %t, want %d", *page.Total, page.TotalIsExact, want)
		}
	}
	ask(100)
	kept := 0
	for range 20 { // autovacuum may begin a transaction between two of them
		before := s.Counts()
		ask(100)
		if s.Counts() == before {
			kept++
		}
	}
	if kept == 0 {
		t.Error("every page counts")
	}
	for n := range int64(5) {
		insert(t, other, ann(t, fmt.Sprint("new-", n)))
		ask(101 + n)
	}
}
