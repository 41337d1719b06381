package store_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// documented are the filters of docs/api.md, alone and in pairs that planners find hard: their
// statistics do not say how one column depends on another.
var documented = []string{
	"", "role=member", "role=admin", "role=service", "status=active", "status=suspended",
	"role=admin&status=suspended", "role=viewer&status=suspended", "role=service&status=active", "role=service&status=suspended",
	"role=admin&role=service", "role=service&role=viewer&status=suspended", "status=active&status=suspended",
	"tag=svc-0000003", "tag=SVC-0000003&tag=svc-0000004", "email=nobody%40corp1.example", "externalId=00u0000", "id=019d0000-0000-7000-8000-000000000000",
	"model=gpt-5", "model=gpt-5-mini", "model=llama-4", "model=claude-4", "model=gpt-4-turbo",
	"provider=openai", "provider=mistral", "provider=legacy", "provider=none",
	"metadata.region=eu", "metadata.region=sa", "metadata.team=team-7", "metadata.cost.center=cc-0007", "metadata.region=sa&metadata.team=team-7", "metadata.team=none",
	"provider=legacy&model=llama-4", "provider=legacy&metadata.region=sa", "role=service&provider=openai", "role=admin&provider=legacy",
	"q=son", "q=example", "q=schmiri", "q=corp17", "q=svc-", "q=zzzzz", "q=%40corp", "q=m", "q=ma", "q=zz", "q=sv", "q=_", "q=mason", "q=service+1", "q=son&role=admin", "q=son&role=admin&role=admin", "q=a.b", "q=n.r", "q=---",
	"userName=nobody", "userName=nobody&status=active", "expiresBefore=2020-01-01T00:00:00Z", "without=email", "without=email&role=admin",
	"metadata.level=7", "metadata.level=7&role=admin", "q=%E5%B0%8F%E9%BE%8D", "group=019d0000-0000-7000-8000-000000000000", "group=nobody",
	"createdFrom=2024-02-01T00:00:00Z&createdTo=2024-02-02T00:00:00Z", "createdTo=2024-01-02T00:00:00Z", "createdFrom=2030-01-01T00:00:00Z",
	"role=admin&createdTo=2024-02-01T00:00:00Z", "status=suspended&createdFrom=2024-03-10T00:00:00Z", "provider=legacy&createdFrom=2024-03-10T00:00:00Z",
}

var sorts = []string{"-createdAt", "createdAt", "tag", "-tag", "name", "-name", "email", "-email", "-createdAt,name", "name,-createdAt", "email,tag", "-email,name", "tag,-email"}

// TestNoListingReadsTheWholeTable looks at the plan of every statement that serves a page of
// a documented filter in a documented order, at a size where the planner has the choice.
func TestNoListingReadsTheWholeTable(t *testing.T) {
	t.Parallel()
	const people = 4000
	s := peopled(t, people, 15)
	last := person(people/2, people)
	looked := 0
	for i, filter := range documented {
		for j, sort := range sorts {
			if filter != "" && (i+j)%4 > 0 { // each filter in a quarter of the orders, and the other way round
				continue
			}
			text := strings.TrimPrefix(filter+"&sort="+sort, "&")
			q := parse(t, text)
			if i%2 > 0 || filter == "" {
				q = parse(t, text+"&cursor="+q.CursorAfter(last))
			}
			plans, err := s.Plans(t.Context(), q)
			must(t, err)
			for name, plan := range plans {
				looked++
				if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "users") {
					t.Errorf("%s: the %s reads the whole table:\n%s", text, name, plan)
				}
			}
		}
	}
	if looked < 400 {
		t.Errorf("only %d plans were looked at", looked)
	}
}

// TestPairsOfFiltersShareAnIndex: one index scan finds the users that two filters select.
func TestPairsOfFiltersShareAnIndex(t *testing.T) {
	t.Parallel()
	s := peopled(t, 4000, 5)
	for pair, columns := range map[string][]string{
		"q=schmiri&role=viewer&sort=name":                {"search", "role"},
		"metadata.team=team-7&role=service&sort=name":    {"facets", "role"},
		"metadata.team=team-7&status=suspended&sort=tag": {"facets", "status"},
		"q=schmiri&provider=mistral&sort=name":           {"search", "facets"},
	} {
		plans, err := s.Plans(t.Context(), parse(t, pair))
		must(t, err)
		_, condition, _ := strings.Cut(plans["sort"], "Bitmap Index Scan on users_search_forms")
		for _, column := range columns {
			if !strings.Contains(condition, column) || strings.Contains(plans["sort"], "BitmapAnd") {
				t.Errorf("%s: not all is found in users_search_forms:\n%s", pair, plans["sort"])
				break
			}
		}
	}
}

// peopled is a store of so many people, so many times.
func peopled(t *testing.T, people, times int) *store.Store {
	t.Helper()
	db := pgtest.Database(t)
	loadTimes(t, db, people, times, func(i int) *user.User { return person(i, people) })
	return open(t, db)
}

func parse(t testing.TB, text string) user.Query {
	t.Helper()
	values, err := url.ParseQuery(text)
	must(t, err)
	q, err := user.ParseQuery(values)
	must(t, err)
	return q
}

// TestEveryFilterHasACondition fails when a field of the filter is added that no statement heeds.
func TestEveryFilterHasACondition(t *testing.T) {
	t.Parallel()
	s := open(t, "postgres://localhost/none") // nothing is asked of it
	values := map[string]any{"IDs": []uuid.UUID{uuid.New()}, "Metadata": []user.MetadataEqual{{Path: []string{"a"}, Value: "a"}},
		"Without": []string{"email"}, "CreatedFrom": epoch, "CreatedTo": epoch, "ExpiresBefore": epoch}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[user.Filter]()) {
		var f user.Filter
		value, ok := values[field.Name]
		switch {
		case ok:
		case field.Type == reflect.TypeFor[[]string]():
			value = []string{"a"}
		default:
			value = "abc"
		}
		reflect.ValueOf(&f).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
		if n := s.Conditions(f); n != 1 {
			t.Errorf("%s: %d conditions", field.Name, n)
		}
	}
	for _, name := range user.Absences {
		if !s.HasAbsence(name) {
			t.Errorf("without=%s has no condition", name)
		}
	}
}
