package store_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// everySort lists the documented fields in every order and direction.
func everySort() []string {
	var sorts []string
	var extend func(taken []string)
	extend = func(taken []string) {
		if len(taken) > 0 {
			sorts = append(sorts, strings.Join(taken, ","))
		}
		for _, field := range []string{"createdAt", "tag", "name", "email"} {
			if !slices.Contains(taken, field) && !slices.Contains(taken, "-"+field) {
				extend(append(slices.Clip(taken), field))
				extend(append(slices.Clip(taken), "-"+field))
			}
		}
	}
	extend(nil)
	return sorts
}

// TestPagesAgreeWithAReference walks listings in every sort, by cursor and by page number,
// and compares each page with a sort in memory: every user once, in order, whatever way the
// store chose.
func TestPagesAgreeWithAReference(t *testing.T) {
	t.Parallel()
	all, db := crowded(t, 150, 1)
	s := open(t, db)
	for i, sort := range everySort() {
		if strings.Count(sort, ",") > 1 && i%15 != 0 { // all sorts by one and two fields, some of the others
			continue
		}
		r := rand.New(rand.NewPCG(uint64(i), 2)) //nolint:gosec // a failure can be had again
		values := url.Values(someConditions(r, all))
		if i%2 == 0 {
			values = url.Values{}
		}
		values.Set("sort", sort)
		values.Set("limit", fmt.Sprint(pick(r, 5+r.IntN(9), 20, 50, 100)))
		query := parse(t, values.Encode())
		want := reference(t, all, query)
		byCursor(t, s, values, want)
		byNumber(t, s, values, want)
		everyPlan(t, s, values, want, r)
		if t.Failed() {
			t.Fatalf("in %s", values.Encode())
		}
	}
}

// TestAScanGoesPastThePage: whether users follow a page is known with one of them alone.
func TestAScanGoesPastThePage(t *testing.T) {
	t.Parallel()
	all, db := crowded(t, 150, 1)
	s := open(t, db)
	q := parse(t, "role=member&sort=name&limit=10")
	given := 0
	for budget := range int64(len(all)) {
		users, enough, err := s.Scan(t.Context(), q, budget+1)
		must(t, err)
		if enough != (len(users) == q.Limit+1) {
			t.Errorf("%d users after %d: enough %v", len(users), budget, enough)
		}
		if !enough {
			given++
		}
	}
	if given < q.Limit || given == len(all) {
		t.Errorf("%d of %d scans were given up", given, len(all))
	}
}

func names(users []*user.User) []string {
	out := []string{}
	for _, u := range users {
		email := "-"
		if u.Email != nil {
			email = *u.Email
		}
		out = append(out, strings.Join([]string{user.FormatTime(u.CreatedAt), u.Tag, u.Name, email, u.ID.String()}, " "))
	}
	return out
}

func same(t *testing.T, what string, want, got []*user.User) bool {
	t.Helper()
	diff := cmp.Diff(names(want), names(got))
	if diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	return diff == ""
}

func byCursor(t *testing.T, s *store.Store, values url.Values, want []*user.User) {
	t.Helper()
	q, seen := parse(t, values.Encode()), 0
	for {
		page, err := s.List(t.Context(), q)
		must(t, err)
		expected := want[seen:min(len(want), seen+q.Limit)]
		if !same(t, fmt.Sprintf("the page behind %d users", seen), expected, page.Users) {
			return
		}
		if page.Total == nil || *page.Total != int64(len(want)) || !page.TotalIsExact {
			t.Errorf("total %v, exact %v, of %d", *page.Total, page.TotalIsExact, len(want))
		}
		seen += len(page.Users)
		if page.More != (seen < len(want)) {
			t.Errorf("more: %v after %d of %d", page.More, seen, len(want))
		}
		if !page.More {
			return
		}
		next := parse(t, values.Encode())
		values := cloned(values)
		values.Set("cursor", next.CursorAfter(page.Users[len(page.Users)-1]))
		q = parse(t, values.Encode())
	}
}

func byNumber(t *testing.T, s *store.Store, values url.Values, want []*user.User) {
	t.Helper()
	q := parse(t, values.Encode())
	pages := len(want)/q.Limit + 2 // the last is empty
	for n := 1; n <= pages; n += 1 + pages/6 {
		q.Page = n
		page, err := s.List(t.Context(), q)
		must(t, err)
		from, to := min(len(want), (n-1)*q.Limit), min(len(want), n*q.Limit)
		if !same(t, fmt.Sprintf("page %d", n), want[from:to], page.Users) {
			return
		}
		if *page.Total != int64(len(want)) || page.More != (to < len(want)) {
			t.Errorf("page %d: total %d, more %v, of %d", n, *page.Total, page.More, len(want))
		}
	}
}

// everyPlan holds the plans for a page against each other, after a user and after none.
func everyPlan(t *testing.T, s *store.Store, values url.Values, want []*user.User, r *rand.Rand) {
	t.Helper()
	q, seen := parse(t, values.Encode()), 0
	if !s.Filtered(q) {
		return
	}
	if len(want) > 1 && chance(r, 0.7) {
		seen = 1 + r.IntN(len(want)-1)
		values := cloned(values)
		values.Set("cursor", q.CursorAfter(want[seen-1]))
		q = parse(t, values.Encode())
	}
	expected := want[seen:min(len(want), seen+q.Limit+1)]
	users, err := s.Sorted(t.Context(), q)
	must(t, err)
	same(t, "sorted", expected, users)
	for _, budget := range []int64{1_000_000, 10} {
		users, enough, err := s.Scan(t.Context(), q, budget)
		must(t, err)
		if whole := budget > 10 && q.Sort[0].Field != "email"; !enough && !whole {
			expected = expected[:min(len(users), len(expected))]
		}
		same(t, fmt.Sprint("scan of ", budget), expected, users)
	}
}

func cloned(values url.Values) url.Values {
	clone := url.Values{}
	for name, v := range values {
		clone[name] = slices.Clone(v)
	}
	return clone
}

// TestFiltersAgreeWithAReference compares what random filters find with a loop over all users.
func TestFiltersAgreeWithAReference(t *testing.T) {
	t.Parallel()
	all, db := crowded(t, 200, 3)
	s := open(t, db)
	r := rand.New(rand.NewPCG(4, 4)) //nolint:gosec // a failure can be had again
	found := 0
	for range 250 {
		values := url.Values(someConditions(r, all))
		values.Set("limit", "500")
		values.Set("count", pick(r, "exact", "estimated", "none"))
		q := parse(t, values.Encode())
		page, err := s.List(t.Context(), q)
		must(t, err)
		want := reference(t, all, q)
		found += len(want)
		if !same(t, values.Encode(), want, page.Users) {
			return
		}
		if (page.Total == nil) != (q.Count == user.CountNone) || page.Total != nil && (*page.Total != int64(len(want)) || !page.TotalIsExact) {
			t.Errorf("%s: total %v", values.Encode(), page.Total)
		}
	}
	if found < 500 {
		t.Fatalf("the filters found %d users in all: they test little", found)
	}
}

// TestMembersOfAGroup finds users by a group's id and by its name in comparison form, also among others.
func TestMembersOfAGroup(t *testing.T) {
	t.Parallel()
	all, db := crowded(t, 40, 9)
	s := open(t, db)
	id := func(n int) string { return fmt.Sprintf("018f0000-0000-7000-8000-00000000000%d", n) }
	for n, name := range []string{"Größe", "Other"} {
		_, err := s.DB().ExecContext(t.Context(), "INSERT INTO groups (id, created_at, updated_at, version, display_name, name_key) VALUES (?, now(), now(), 1, ?, ?)", id(n), name, user.Fold(name))
		must(t, err)
		for _, u := range all[10*n : 10*n+15] {
			_, err := s.DB().ExecContext(t.Context(), "INSERT INTO group_members (group_id, user_id) VALUES (?, ?)", id(n), u.ID)
			must(t, err)
		}
	}
	for filter, want := range map[string][]*user.User{
		"group=" + id(0): all[:15], "group=GR%C3%96SSE": all[:15], "group=other": all[10:25], "group=gr%C3%B6%C3%9Fe&group=" + strings.ToUpper(id(1)): all[:25],
		"group=none": nil, "group=" + id(5): nil, "group=other&tag=" + all[12].Tag: all[12:13], "group=other&tag=" + all[2].Tag: nil,
	} {
		q := parse(t, filter+"&sort=tag")
		want = slices.Clone(want)
		slices.SortFunc(want, compare(q.Sort))
		page, err := s.List(t.Context(), q)
		must(t, err)
		if same(t, filter, want, page.Users) && *page.Total != int64(len(want)) {
			t.Errorf("%s: total %d", filter, *page.Total)
		}
	}
}

// TestOneUniqueValueIsLookedUp: a listing of one unique value alone is served as a read of one user is, with
// the answers of any other listing.
func TestOneUniqueValueIsLookedUp(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	insert(t, s, u, ann(t, "bob"))
	for _, filter := range []string{"tag=ANN", "email=ann%40x.EXAMPLE", "externalId=e-ann", "userName=ANN%2Fann"} {
		for more, found := range map[string]int{"": 1, "&page=2": 0, "&count=none": 1, "&count=exact": 1, "&role=viewer": 1, "&role=admin": 0} {
			page, err := s.List(t.Context(), parse(t, filter+more))
			must(t, err)
			if len(page.Users) != found || found == 1 && page.Users[0].ID != u.ID || page.More || (page.Total == nil) != (more == "&count=none") {
				t.Errorf("%s: %+v", filter+more, page)
			}
			if page.Total != nil && (*page.Total == 1) != (more != "&role=admin") {
				t.Errorf("%s: total %d", filter+more, *page.Total)
			}
		}
	}
	page, err := s.List(t.Context(), parse(t, "email=nobody%40x.example"))
	must(t, err)
	if len(page.Users) != 0 || *page.Total != 0 || !page.TotalIsExact {
		t.Errorf("nobody: %+v", page)
	}
}
