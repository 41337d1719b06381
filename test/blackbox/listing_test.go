package blackbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// crowd are the users that the listing tests look for, in the order of their creation.
type crowd []user

// crowdMembers vary every field that a listing can ask for.
var crowdMembers = []string{
	`"tag":"ada","name":"ada lovelace","email":"ada@example.com","role":"admin","models":["gpt-5*"],"metadata":{"team":"research","site":{"city":"London"}},"credentials":{"openai":"planted-a"}`,
	`"tag":"bob","name":"bob","email":"zed@example.com","models":[],"metadata":{"team":"research","n":5}`,
	`"tag":"cyd","name":"bob","status":"suspended","models":["*"],"metadata":{"team":"sales","site":{"city":"Paris"}}`,
	`"tag":"dan","name":"bob","email":"bob@example.org","role":"viewer","models":["gpt-5"],"externalId":"ext-dan"`,
	`"tag":"eve_1","name":"under_score","models":["gpt-5-mini","claude-*-opus"],"metadata":{"team":["research"]}`,
	`"tag":"eve11","name":"under-score","models":["*-mini"],"externalId":"EXT-DAN"`,
	`"tag":"fay","name":"100% real","models":["100%"],"email":"fay@example.com"`,
	`"tag":"gil","name":"100x real","models":["a_b"]`,
	`"tag":"hal","name":"back\\slash","models":["a\\b*"],"email":"hal_9@example.com"`,
	`"tag":"ian","name":"o'neil; drop table users--","models":["c.d"]`,
	`"tag":"jan","name":"Ünïcödé Ångström","email":"jan@example.com","models":["**"]`,
	`"tag":"kim","name":"日本語テスト","models":["GPT-5"]`,
	`"tag":"lee","name":"%percent","metadata":{"team":"","a.b":"x","":"empty"}`,
	`"tag":"may","name":"_under","role":"service","status":"suspended","metadata":{"team":"research"}`,
	`"tag":"ned","name":"\\","models":["gpt-6"],"credentials":{"openai":"planted-b","mistral":"planted-c"}`,
	`"tag":"oli","name":"zoe","email":"Mixed.Case@Example.com","role":"service","models":["gpt-*-*"],"expiresAt":"2030-01-01T00:00:00Z"`,
	`"tag":"xn--adaptor","name":"quite another","metadata":{"team":"Research"}`,
	`"tag":"z","name":"z","metadata":{"team":"research","flag":true,"site":{"city":"London","floor":"3"}}`,
}

func makeCrowd(t *testing.T, s *service) crowd {
	t.Helper()
	bodies := slices.Clone(crowdMembers)
	for i := range 42 {
		body := fmt.Sprintf(`"tag":"n%02d","name":"name %d","role":%q,"status":%q`, i, i%7,
			[]string{"member", "viewer", "admin"}[i%3], []string{"active", "suspended"}[i%2])
		if i%4 > 0 {
			body += fmt.Sprintf(`,"email":"n%d.%02d@example.net"`, i%5, i)
		}
		if i%5 == 0 {
			body += `,"metadata":{"team":"research"}`
		}
		bodies = append(bodies, body)
	}
	all := make(crowd, len(bodies))
	var group sync.WaitGroup
	places := make(chan struct{}, 8)
	for i, body := range bodies {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			all[i] = s.do(t, "POST", usersPath, "{"+body+"}").is(t, http.StatusCreated).user(t)
		})
	}
	group.Wait()
	slices.SortFunc(all, func(a, b user) int { return strings.Compare(a.CreatedAt+a.ID, b.CreatedAt+b.ID) })
	return all
}

func (c crowd) only(keep func(user) bool) crowd {
	return slices.DeleteFunc(slices.Clone(c), func(u user) bool { return !keep(u) })
}

func (c crowd) tags() string {
	var tags []string
	for _, u := range c {
		tags = append(tags, u.Tag)
	}
	return strings.Join(tags, " ")
}

// set is the crowd's tags in no particular order.
func (c crowd) set() string {
	tags := strings.Fields(c.tags())
	slices.Sort(tags)
	return strings.Join(tags, " ")
}

type userPage struct {
	Users crowd
	Page  page
}

func (s *service) list(t testing.TB, query url.Values) (userPage, answer) {
	t.Helper()
	a := s.do(t, "GET", usersPath+"?"+query.Encode(), "").is(t, http.StatusOK)
	var body userPage
	a.decode(t, &body)
	return body, a
}

// linkNext is the path of the next page, or empty.
func (a answer) linkNext(t testing.TB, s *service) string {
	t.Helper()
	link := a.header.Get("Link")
	if link == "" {
		return ""
	}
	target, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	u, err := url.Parse(target)
	if !ok || err != nil {
		t.Fatalf("Link: %q", link)
	}
	if u.IsAbs() && u.Scheme+"://"+u.Host != s.url {
		t.Errorf("Link leads elsewhere: %q", link)
	}
	return u.RequestURI()
}

// condition is one filter and what it means.
type condition struct {
	query string
	holds func(user) bool
}

func textOf(s *string) string {
	if s == nil {
		return "\x00" // no text at all
	}
	return *s
}

func (c crowd) conditions() []condition {
	middle := c[len(c)/2]
	at, err := time.Parse(time.RFC3339Nano, middle.CreatedAt)
	if err != nil {
		panic(err)
	}
	elsewhere := url.QueryEscape(at.In(time.FixedZone("", 5*3600+1800)).Format("2006-01-02T15:04:05.000000-07:00"))
	out := []condition{
		{"tag=ada", func(u user) bool { return u.Tag == "ada" }},
		{"tag=ADA&tag=bob&tag=nobody", func(u user) bool { return u.Tag == "ada" || u.Tag == "bob" }},
		{"email=ZED@example.COM", func(u user) bool { return textOf(u.Email) == "zed@example.com" }},
		{"email=mixed.case@example.com&email=ada@example.com", func(u user) bool { return u.Tag == "oli" || u.Tag == "ada" }},
		{"role=admin", func(u user) bool { return u.Role == "admin" }},
		{"role=service&role=viewer", func(u user) bool { return u.Role == "service" || u.Role == "viewer" }},
		{"status=suspended", func(u user) bool { return u.Status == "suspended" }},
		{"status=suspended&status=active", func(user) bool { return true }},
		{"externalId=ext-dan", func(u user) bool { return textOf(u.ExternalID) == "ext-dan" }},
		{"id=" + middle.ID, func(u user) bool { return u.ID == middle.ID }},
		{"id=" + strings.ToUpper(c[0].ID) + "&id=" + c[1].ID, func(u user) bool { return u.ID == c[0].ID || u.ID == c[1].ID }},
		{"provider=openai", func(u user) bool { return strings.Contains(" "+providers(u)+" ", " openai ") }},
		{"provider=nobody", func(user) bool { return false }},
		{"metadata.team=research", func(u user) bool { return metadataIs(u, "research", "team") }},
		{"metadata.team=research&metadata.site.city=London", func(u user) bool {
			return metadataIs(u, "research", "team") && metadataIs(u, "London", "site", "city")
		}},
		{"metadata.n=5", func(u user) bool { return metadataIs(u, 5.0, "n") }}, {"metadata.n=50e-1", func(u user) bool { return metadataIs(u, 5.0, "n") }},
		{"metadata.flag=true", func(u user) bool { return metadataIs(u, true, "flag") }}, {"metadata.site.floor=3.0", func(user) bool { return false }},
		{`metadata.a\.b=x`, func(u user) bool { return u.Tag == "lee" }}, {"metadata.a.b=x", func(user) bool { return false }},
		{"userName=ADA%40example.com&userName=CYD", func(u user) bool { return u.Tag == "ada" || u.Tag == "cyd" }},
		{"without=email", func(u user) bool { return u.Email == nil }}, {"without=models", func(u user) bool { return u.Models == nil }},
		{"without=externalId&without=credentials", func(u user) bool { return u.ExternalID == nil && providers(u) == "" }},
		{"without=keys&without=expiresAt&without=limits.monthlyBudgetUSD&without=userName", func(u user) bool { return u.Tag != "oli" }},
		{"expiresBefore=2031-01-01T00:00:00Z", func(u user) bool { return u.Tag == "oli" }}, {"expiresBefore=2030-01-01T00:00:00Z", func(user) bool { return false }},
		{"group=nobody", func(user) bool { return false }}, {"group=" + middle.ID, func(user) bool { return false }},
		{"metadata.team=", func(u user) bool { return metadataIs(u, "", "team") }},
		{"metadata.team=%25", func(user) bool { return false }},
		{"metadata.site.city=London&metadata.site.floor=3", func(u user) bool { return u.Tag == "z" }},
		{"createdFrom=" + middle.CreatedAt, func(u user) bool { return u.CreatedAt >= middle.CreatedAt }},
		{"createdTo=" + middle.CreatedAt, func(u user) bool { return u.CreatedAt < middle.CreatedAt }},
		{"createdFrom=" + elsewhere, func(u user) bool { return u.CreatedAt >= middle.CreatedAt }},
		{"createdFrom=" + c[3].CreatedAt + "&createdTo=" + c[9].CreatedAt, func(u user) bool { return u.CreatedAt >= c[3].CreatedAt && u.CreatedAt < c[9].CreatedAt }},
		{"createdFrom=2999-01-01T00:00:00Z", func(user) bool { return false }},
	}
	for _, model := range []string{"gpt-5", "gpt-5-mini", "gpt-5-turbo", "claude-3-opus", "claude-opus", "axb", "a_b", "100%", "100x", "a\\b", "a\\bc", "c.d", "cxd", "GPT-5", "x-mini", "-mini", "gpt-a-b", "x"} {
		out = append(out, condition{"model=" + url.QueryEscape(model), func(u user) bool { return mayUse(u, model) }})
	}
	for _, q := range []string{"a", "A", "ad", "Ad", "ada", "ADA", "lace", "bob", "zed", "%", "%p", "_", "_u", `\`, "100%", "100% ", "r_s", "r-s", "e_1", "_9@", `k\s`, "o'n", "';d", "; drop",
		"ü", "ün", "ÜNÏ", "ångström", "Ång", "日", "日本", "日本語", "本語", "語テスト", "本", "angstrom", "ANGSTRO\u0308M", "xn--", "example.com", "@ex", "n0", "name 3", "nobody", " ", "   ", "ada ", "--", "\u00e9", "%25", "null",
		// A tag with the name beside it is a substring of neither, however they are stored.
		c[0].Tag + "\n" + c[0].Name, c[0].Tag + " " + c[0].Name, "a\n"} {
		out = append(out, condition{"q=" + url.QueryEscape(q), func(u user) bool { return found(u, q) }})
	}
	return out
}

// metadataIs says whether a path of metadata, or a list there, has a value.
func metadataIs(u user, want any, path ...string) bool {
	var at any
	if json.Unmarshal(u.Metadata, &at) != nil {
		return false
	}
	for _, name := range path {
		object, _ := at.(map[string]any)
		at = object[name]
	}
	if list, ok := at.([]any); ok {
		return slices.Contains(list, want)
	}
	return at == want
}

// mayUse knows * alone; the rows with other special characters hold them literal.
func mayUse(u user, model string) bool {
	return u.Models == nil || slices.ContainsFunc(*u.Models, func(glob string) bool { return globMatches(glob, model) })
}

func globMatches(glob, text string) bool {
	head, rest, star := strings.Cut(glob, "*")
	if !star {
		return glob == text
	}
	text, ok := strings.CutPrefix(text, head)
	if !ok {
		return false
	}
	for i := range len(text) + 1 {
		if globMatches(rest, text[i:]) || rest == "" {
			return true
		}
	}
	return false
}

func found(u user, q string) bool {
	q = bare(q)
	match := strings.HasPrefix
	if runes := []rune(q); len(runes) > 2 || len(runes) == 2 && unicode.Is(unicode.Han, runes[0]) && unicode.Is(unicode.Han, runes[1]) {
		match = strings.Contains
	}
	return match(u.Tag, q) || match(bare(u.Name), q) || match(bare(textOf(u.Email)), q)
}

// bare is a text without case and diacritics.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(cases.Fold().String(s)))
}

// TestFilters runs every filter alone, and every pair of filters of different parameters,
// beside a reading of docs/api.md in a few lines of Go.
func TestFilters(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	all := makeCrowd(t, s)
	conditions := all.conditions()
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		empty := 0
		for _, c := range conditions {
			if s.checkFilter(t, all, c) == 0 {
				empty++
			}
		}
		if empty > len(conditions)/2 {
			t.Errorf("%d of %d filters find nobody", empty, len(conditions))
		}
	})
	t.Run("in pairs", func(t *testing.T) {
		t.Parallel()
		for i, a := range conditions {
			for j, b := range conditions[:i] {
				if (i+j)%3 > 0 || sharesParameter(a.query, b.query) {
					continue
				}
				s.checkFilter(t, all, condition{a.query + "&" + b.query, func(u user) bool { return a.holds(u) && b.holds(u) }})
			}
		}
	})
}

func sharesParameter(a, b string) bool {
	names := func(query string) map[string]bool {
		values, _ := url.ParseQuery(query)
		out := map[string]bool{}
		for name := range values {
			out[name] = !strings.HasPrefix(name, "metadata.")
		}
		return out
	}
	other := names(b)
	for name, once := range names(a) {
		if once && other[name] {
			return true
		}
	}
	return false
}

// checkFilter compares whom a filter finds, and how many it counts, with whom it should.
func (s *service) checkFilter(t *testing.T, all crowd, c condition) int {
	t.Helper()
	values, err := url.ParseQuery(c.query)
	must(t, err)
	values.Set("limit", "500")
	values.Set("count", "exact")
	got, _ := s.list(t, values)
	want := all.only(c.holds)
	if got.Users.set() != want.set() {
		t.Errorf("%s finds:\n%s\nwant:\n%s", c.query, got.Users.set(), want.set())
	}
	if got.Page.Total == nil || *got.Page.Total != len(want) || !got.Page.TotalIsExact || got.Page.Next != nil {
		t.Errorf("%s: %+v, want %d", c.query, got.Page, len(want))
	}
	return len(want)
}

// TestSorting walks every order by cursor, by Link and by page number: each finds everybody
// once, in the order of a sort in Go.
func TestSorting(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	all := makeCrowd(t, s)
	for _, sort := range []string{"", "createdAt", "-createdAt", "tag", "-tag", "name", "-name", "email", "-email",
		"name,tag", "name,-tag", "-name,email", "email,name", "-email,-name,tag", "name,-createdAt", "email,-createdAt", "createdAt,name"} {
		for _, limit := range []int{1, 7, 60, 500} {
			if limit == 1 && len(sort) > 6 {
				continue
			}
			t.Run(fmt.Sprintf("%s by %d", sort, limit), func(t *testing.T) {
				t.Parallel()
				query := url.Values{"limit": {fmt.Sprint(limit)}}
				if sort != "" {
					query.Set("sort", sort)
				}
				wants := []string{all.sorted(sort, 1).tags(), all.sorted(sort, -1).tags()} // ties by id, either way up
				for how, got := range map[string]crowd{"cursor": s.walk(t, query), "Link": s.follow(t, query), "page": s.leaf(t, query)} {
					if !slices.Contains(wants, got.tags()) {
						t.Errorf("by %s:\n%s\nwant:\n%s", how, got.tags(), wants[0])
					}
				}
			})
		}
	}
	t.Run("with a filter", func(t *testing.T) {
		t.Parallel()
		query := url.Values{"limit": {"3"}, "sort": {"-email,name"}, "role": {"admin", "viewer"}, "status": {"active"}}
		want := all.only(func(u user) bool { return (u.Role == "admin" || u.Role == "viewer") && u.Status == "active" })
		for how, got := range map[string]crowd{"cursor": s.walk(t, query), "Link": s.follow(t, query), "page": s.leaf(t, query)} {
			if got.tags() != want.sorted("-email,name", 1).tags() && got.tags() != want.sorted("-email,name", -1).tags() {
				t.Errorf("by %s: %s, want %s", how, got.tags(), want.sorted("-email,name", 1).tags())
			}
		}
	})
}

// sorted is the reference: the fields asked for, users without an email last in either
// direction, ties by id.
func (c crowd) sorted(order string, ids int) crowd {
	if order == "" {
		order = "-createdAt"
	}
	out := slices.Clone(c)
	slices.SortFunc(out, func(a, b user) int {
		for key := range strings.SplitSeq(order, ",") {
			name, descending := strings.CutPrefix(key, "-")
			sign := 1
			if descending {
				sign = -1
			}
			if d := compareBy(name, a, b, sign); d != 0 {
				return d
			}
		}
		return ids * strings.Compare(a.ID, b.ID)
	})
	return out
}

func compareBy(name string, a, b user, sign int) int {
	switch name {
	case "tag":
		return sign * strings.Compare(a.Tag, b.Tag)
	case "name":
		return sign * cmp.Or(strings.Compare(bare(a.Name), bare(b.Name)), strings.Compare(a.Name, b.Name))
	case "createdAt":
		return sign * strings.Compare(a.CreatedAt, b.CreatedAt)
	}
	if a.Email == nil || b.Email == nil {
		return cmp.Compare(absent(a.Email), absent(b.Email))
	}
	return sign * strings.Compare(strings.ToLower(*a.Email), strings.ToLower(*b.Email))
}

func absent(s *string) int {
	if s == nil {
		return 1
	}
	return 0
}

// walk goes from page to page by page.next.
func (s *service) walk(t *testing.T, query url.Values) crowd {
	t.Helper()
	q := cloned(query)
	var got crowd
	for range 1000 {
		p, _ := s.list(t, q)
		got = append(got, p.Users...)
		if p.Page.Next == nil {
			return got
		}
		if fmt.Sprint(len(p.Users)) != query.Get("limit") {
			t.Fatalf("%d users of %s before the end", len(p.Users), query.Get("limit"))
		}
		q.Set("cursor", *p.Page.Next)
	}
	t.Fatal("no end")
	return nil
}

// follow goes from page to page by the Link header.
func (s *service) follow(t *testing.T, query url.Values) crowd {
	t.Helper()
	var got crowd
	path := usersPath + "?" + query.Encode()
	for path != "" {
		a := s.do(t, "GET", path, "").is(t, http.StatusOK)
		var p userPage
		a.decode(t, &p)
		got = append(got, p.Users...)
		path = a.linkNext(t, s)
		if (path == "") != (p.Page.Next == nil) || len(got) > 1000 {
			t.Fatalf("Link %q, next %v", path, p.Page.Next)
		}
	}
	return got
}

// leaf goes from page to page by number.
func (s *service) leaf(t *testing.T, query url.Values) crowd {
	t.Helper()
	q := cloned(query)
	var got crowd
	for n := 1; n < 1000; n++ {
		q.Set("page", fmt.Sprint(n))
		p, _ := s.list(t, q)
		got = append(got, p.Users...)
		if fmt.Sprint(len(p.Users)) != query.Get("limit") {
			return got
		}
	}
	t.Fatal("no end")
	return nil
}

func cloned(query url.Values) url.Values {
	out := url.Values{}
	for name, values := range query {
		out[name] = slices.Clone(values)
	}
	return out
}
