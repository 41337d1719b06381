package blackbox

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestEstimates counts more users than are counted one by one: past 10,000 an estimate,
// which speaks of the filter that was asked for.
func TestEstimates(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const users = 10_800
	for from := 0; from < users; from += 1000 {
		var events []string
		for i := from; i < min(from+1000, users); i++ {
			events = append(events, structured(fmt.Sprintf("many-%d", i), "create",
				fmt.Sprintf(`{"tag":"many-%d","name":"N","role":%q,"metadata":{"all":"yes","few":"%d"}}`, i, []string{"viewer", "member"}[i%2], i%100)))
		}
		s.do(t, "POST", "/ai/admin/events", "["+strings.Join(events, ",")+"]", "Content-Type", batchType).is(t, http.StatusOK)
	}
	for _, tt := range []struct {
		filter string
		n      int
	}{
		{"", users}, {"metadata.all=yes", users}, {"q=many-", users}, {"model=gpt-5", users}, {"status=active", users},
		{"role=viewer", users / 2}, {"metadata.few=7", users / 100}, {"tag=many-1", 1}, {"role=admin", 0}, {"metadata.all=yes&role=member", users / 2},
	} {
		for _, mode := range []string{"exact", "estimated", ""} {
			query, err := url.ParseQuery(tt.filter)
			must(t, err)
			query.Set("limit", "1")
			if mode != "" {
				query.Set("count", mode)
			}
			p, _ := s.list(t, query)
			got := p.Page.Total
			switch {
			case got == nil:
				t.Errorf("%s count=%s: no total", tt.filter, mode)
			case mode == "exact" || tt.n <= 10_000:
				if *got != tt.n || !p.Page.TotalIsExact {
					t.Errorf("%s count=%s: %d, exact %v; want %d", tt.filter, mode, *got, p.Page.TotalIsExact, tt.n)
				}
			case p.Page.TotalIsExact && *got != tt.n, *got < 10_000, *got > 3*tt.n:
				t.Errorf("%s count=%s: %d, exact %v; want about %d", tt.filter, mode, *got, p.Page.TotalIsExact, tt.n)
			}
		}
	}
	// The last page that a number can name, and the one that a cursor alone reaches.
	p, _ := s.list(t, url.Values{"limit": {"500"}, "page": {"20"}, "sort": {"tag"}})
	if len(p.Users) != 500 || p.Page.Next == nil {
		t.Fatalf("%d users, next %v", len(p.Users), p.Page.Next)
	}
	q, _ := s.list(t, url.Values{"limit": {"500"}, "sort": {"tag"}, "cursor": {*p.Page.Next}})
	if len(q.Users) != 500 || q.Users[0].Tag <= p.Users[499].Tag {
		t.Errorf("%d users, %s after %s", len(q.Users), q.Users[0].Tag, p.Users[499].Tag)
	}
}
