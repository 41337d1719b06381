package blackbox

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestListParameters holds the bounds of every parameter of the listing.
func TestListParameters(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	all := makeCrowd(t, s)
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		hundred := func(name, value string, n int) string {
			return strings.TrimSuffix(strings.Repeat(name+"="+value+"&", n), "&")
		}
		for query, field := range map[string]string{
			"foo=1": "foo", "Tag=ada": "Tag", "offset=5": "offset", "tags=ada": "tags", "metadata=x": "metadata", "metadata.=x": "metadata.", "x%00y=1": "x",
			"limit=0": "limit", "limit=501": "limit", "limit=-1": "limit", "limit=x": "limit", "limit=1.5": "limit", "limit=1e2": "limit", "limit=": "limit",
			"limit=99999999999999999999": "limit", "limit=0x10": "limit", "limit=%2B5": "limit", "limit=%205": "limit", "limit=5%00": "limit",
			"page=0": "page", "page=-1": "page", "page=x": "page", "page=1.5": "page", "page=201": "page", "page=101&limit=100": "page",
			"page=21&limit=500": "page", "page=10001&limit=1": "page", "page=9223372036854775807": "page", "page=99999999999999999999": "page",
			"count=all": "count", "count=": "count", "count=EXACT": "count",
			"sort=": "sort", "sort=updatedAt": "sort", "sort=id": "sort", "sort=role": "sort", "sort=--tag": "sort", "sort=tag,": "sort", "sort=,tag": "sort",
			"sort=tag,nope": "sort", "sort=TAG": "sort", "sort=tag%3Bdrop": "sort", "sort=tag%20desc": "sort", "sort=%2Btag": "sort",
			"createdFrom=yesterday": "createdFrom", "createdFrom=2026-01-01": "createdFrom", "createdTo=2026-01-01T00:00:00": "createdTo", "createdTo=": "createdTo", "createdTo=9999-12-31T23:59:59-05:00": "createdTo",
			"createdFrom=2026-13-01T00:00:00Z": "createdFrom", "createdFrom=2026-02-30T00:00:00Z": "createdFrom", "createdFrom=1767225600": "createdFrom",
			"createdFrom=2026-01-01T25:00:00Z": "createdFrom",
			"q=" + strings.Repeat("x", 201):    "q", "q=" + url.QueryEscape(strings.Repeat("é", 201)): "q", "q=a%00b": "q",
			"tag=a%00": "tag", "email=a%00": "email", "externalId=%00": "externalId", "model=%00": "model", "provider=%00": "provider", "metadata.a=%00": "metadata.a",
			hundred("tag", "a", 101): "tag", hundred("id", "01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", 101): "id", hundred("role", "admin", 101): "role",
			hundred("email", "a@example.com", 101): "email", hundred("externalId", "e", 101): "externalId", hundred("status", "active", 101): "status",
			"email=ada+ai@example.com": "email", "userName=ada+ai@example.com": "userName", "expiresBefore=2030-01-01T00:00:00+01:00": "expiresBefore",
			"without=name": "without", "without=": "without", hundred("group", "a", 101): "group", "userName=" + strings.Repeat("x", 256): "userName", "q=%CC%81": "q",
			"cursor=": "cursor", "cursor=x": "cursor", "cursor=%00": "cursor", "cursor=AAAAAAAAAAAAAAAA": "cursor", "cursor=" + strings.Repeat("A", 10_000): "cursor",
		} {
			p := s.do(t, "GET", usersPath+"?"+query, "").fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
			if !p.names(field) && field != "x" {
				t.Errorf("%s: no problem names %s: %+v", clip(query), field, p.Details)
			}
		}
		// All at once.
		s.do(t, "GET", usersPath+"?foo=1&limit=0&sort=x&count=y&createdFrom=z", "").fails(t, 400, "VALIDATION_ERROR", "foo", "limit", "sort", "count", "createdFrom")
		// Past the bound the way on is named.
		p := s.do(t, "GET", usersPath+"?page=201&limit=50", "").fails(t, 400, "VALIDATION_ERROR", "page")
		if !strings.Contains(fmt.Sprint(p), "cursor") {
			t.Errorf("the problem does not point to cursor: %+v", p)
		}
	})
	t.Run("refused or nobody", func(t *testing.T) {
		t.Parallel()
		for _, query := range []string{"role=root", "role=admin,member", "status=ACTIVE", "id=x", "id=", "tag=", "email=", "provider=Open%20AI", "provider=", "externalId=",
			"limit=5&limit=6", "page=1&page=2", "sort=tag&sort=name", "q=a&q=b", "model=a&model=b", "sort=tag,tag", "sort=tag,-tag", "q=", "model=",
			"createdFrom=2026-01-02T00:00:00Z&createdTo=2026-01-01T00:00:00Z", "tag=%ff", "q=%ff", "email=" + strings.Repeat("x", 5000), "metadata.a.b.c.d.e.f.g=x", "createdFrom=0001-01-01T00:00:00Z",
			"createdTo=9999-12-31T23:59:59Z", "createdFrom=0000-01-01T00:00:00Z", "createdTo=2026-01-01T00:00:00.123456789Z", "metadata.a..b=x", "model=" + strings.Repeat("*", 128)} {
			if a := s.do(t, "GET", usersPath+"?"+query, ""); a.status != 200 {
				a.fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
			}
		}
	})
	t.Run("allowed", func(t *testing.T) {
		t.Parallel()
		for query, users := range map[string]int{
			"": 50, "limit=1": 1, "limit=500": len(all), "page=1": 50, "page=2": len(all) - 50, "page=200&limit=50": 0, "page=20&limit=500": 0, "page=10000&limit=1": 0,
			"q=" + strings.Repeat("x", 200): 0, "q=" + url.QueryEscape(strings.Repeat("é", 200)): 0,
			strings.Repeat("tag=ada&", 99) + "tag=bob": 2, "metadata.a%22b'c%5c=%22": 0, "createdFrom=2026-01-01t00:00:00z": -1,
		} {
			a := s.do(t, "GET", usersPath+"?"+query, "")
			if users < 0 && a.status == 400 { // lower case is RFC 3339's, and few parsers'
				continue
			}
			var p userPage
			a.is(t, http.StatusOK).decode(t, &p)
			if users >= 0 && len(p.Users) != users {
				t.Errorf("%s: %d users, want %d", clip(query), len(p.Users), users)
			}
		}
		s.do(t, "GET", usersPath+"?page=1&cursor=x", "").fails(t, 400, "VALIDATION_ERROR")
	})
	t.Run("counts", func(t *testing.T) {
		t.Parallel()
		for mode, want := range map[string]bool{"exact": true, "estimated": true, "": true, "none": false} {
			query := url.Values{"limit": {"2"}, "role": {"admin"}}
			if mode != "" {
				query.Set("count", mode)
			}
			p, _ := s.list(t, query)
			if n := len(all.only(func(u user) bool { return u.Role == "admin" })); want && (p.Page.Total == nil || *p.Page.Total != n || !p.Page.TotalIsExact) {
				t.Errorf("count=%s: %+v, want %d", mode, p.Page, n)
			}
			if !want && p.Page.Total != nil {
				t.Errorf("count=%s: %d", mode, *p.Page.Total)
			}
		}
	})
	t.Run("of every list", func(t *testing.T) {
		t.Parallel()
		for _, list := range []string{usersPath, "/ai/admin/changes", "/ai/admin/keys", "/ai/admin/groups", "/ai/admin/audit", "/ai/admin/history", all[0].path() + "/history"} {
			for _, query := range []string{"limit=%2B5", "limit=0", "limit=501", "limit=", "limit=5&limit=5"} {
				s.do(t, "GET", list+"?"+query, "").fails(t, 400, "VALIDATION_ERROR", "limit")
			}
			s.do(t, "GET", list+"?%ff=1", "").fails(t, 400, "VALIDATION_ERROR", "\uFFFD")
		}
	})
	t.Run("cursors", func(t *testing.T) {
		t.Parallel()
		s.checkCursors(t)
	})
}

// checkCursors holds that a cursor works for its own filters and sort alone, whatever the
// order in which they are written.
func (s *service) checkCursors(t *testing.T) {
	t.Helper()
	made := "limit=2&sort=name,-tag&status=active&role=admin&role=viewer&metadata.team=research"
	values, err := url.ParseQuery(made)
	must(t, err)
	p, _ := s.list(t, values)
	if p.Page.Next == nil {
		t.Fatal("no next page: the test looks at nothing")
	}
	cursor := "&cursor=" + url.QueryEscape(*p.Page.Next)
	s.do(t, "GET", usersPath+"?"+made+cursor, "").is(t, http.StatusOK)
	s.do(t, "GET", usersPath+"?"+strings.Replace(made, "limit=2", "limit=9", 1)+cursor, "").is(t, http.StatusOK)
	s.do(t, "GET", usersPath+"?"+made+"&count=none"+cursor, "").is(t, http.StatusOK)
	for _, other := range []string{
		"", "limit=2", strings.Replace(made, "sort=name,-tag", "sort=name", 1), strings.Replace(made, "-tag", "tag", 1), strings.Replace(made, "sort=name,-tag&", "", 1),
		strings.Replace(made, "active", "suspended", 1), strings.Replace(made, "&role=viewer", "", 1), strings.Replace(made, "research", "sales", 1),
		made + "&q=a", made + "&tag=ada", made + "&model=x", made + "&provider=openai", made + "&createdFrom=2026-01-01T00:00:00Z", made + "&externalId=x", made + "&metadata.a=b",
	} {
		s.do(t, "GET", usersPath+"?"+strings.TrimPrefix(other+cursor, "&"), "").fails(t, 400, "VALIDATION_ERROR", "cursor")
	}
	s.do(t, "GET", "/ai/admin/changes?after="+url.QueryEscape(*p.Page.Next), "").fails(t, 400, "VALIDATION_ERROR")
	for i := range *p.Page.Next {
		for _, replacement := range []string{"", "A", "_", "=", "\x00"} {
			tampered := (*p.Page.Next)[:i] + replacement + (*p.Page.Next)[i+1:]
			a := s.do(t, "GET", usersPath+"?"+made+"&cursor="+url.QueryEscape(tampered), "")
			if a.status != http.StatusOK { // another place in the same list is no fault
				a.fails(t, 400, "VALIDATION_ERROR", "cursor")
			}
		}
	}
}
