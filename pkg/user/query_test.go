package user

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func parseRaw(t *testing.T, raw string) (Query, error) {
	t.Helper()
	values, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	return ParseQuery(values)
}

func TestParseQuery(t *testing.T) {
	t.Parallel()
	newest := []SortKey{{"createdAt", true}}
	tests := map[string]Query{
		"":                                      {},
		"limit=1&page=10000":                    {Limit: 1, Page: 10000},
		"limit=500&page=20":                     {Limit: 500, Page: 20},
		"count=exact":                           {Count: CountExact},
		"count=none":                            {Count: CountNone},
		"sort=-email,name":                      {Sort: []SortKey{{"email", true}, {"name", false}}},
		"tag=A&tag=b&email=A%40B.C":             {Filter: Filter{Tags: []string{"a", "b"}, Emails: []string{"a@b.c"}}},
		"role=admin&role=admin&tag=Ann&tag=ann": {Filter: Filter{Roles: []string{"admin"}, Tags: []string{"ann"}}},
		"role=admin&role=viewer&status=suspended": {Filter: Filter{Roles: []string{"admin", "viewer"}, Statuses: []string{"suspended"}}},
		"id=018F0000-0000-7000-8000-000000000001": {Filter: Filter{IDs: []uuid.UUID{someID}}},
		"externalId=A%7C1&model=gpt-5&provider=openai&q=%25_X": {
			Filter: Filter{ExternalIDs: []string{"A|1"}, Model: "gpt-5", Provider: "openai", Search: "%_x"}},
		"metadata.b=2&metadata.a.b.c.d.e=1&metadata.b=": {Filter: Filter{Metadata: []MetadataEqual{
			{[]string{"a", "b", "c", "d", "e"}, "1"}, {[]string{"b"}, ""}, {[]string{"b"}, "2"}}}},
		"createdTo=9999-12-31T23:59:59.9999999Z": {Filter: Filter{CreatedTo: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)}},
		"createdFrom=2026-01-02T04:04:05.000006%2B01:00&createdTo=9999-12-31T23:59:59Z": {
			Filter: Filter{CreatedFrom: someTime, CreatedTo: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}},
		// Between two microseconds the bound is the later one, and the first instant of all is a bound, too.
		"createdFrom=2026-01-02T03:04:05.0000051Z&createdTo=0001-01-01T00:00:00Z": {
			Filter: Filter{CreatedFrom: someTime, CreatedTo: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)}},
		"tag=b&tag=a&tag=%E2%84%AA": {Filter: Filter{Tags: []string{"a", "b", "\u212a"}}}, // the Kelvin sign is no k
		"email=u%40M%C3%9CNCHEN.de&email=u%40xn--mnchen-3ya.de&email=%CE%9D%CE%8A%CE%9A%CE%9F%CE%A3%40x.y": {Filter: Filter{Emails: []string{"u@xn--mnchen-3ya.de", "νίκοσ@x.y"}}},
		"userName=Stra%C3%9Fe+1&group=Gro%C3%9F":                                                           {Filter: Filter{UserNames: []string{"strasse 1"}, Groups: []string{"gross"}}},
		"q=JOSE%CC%81":                                                                                     {Filter: Filter{Search: "jose"}},
		"without=models&without=email&without=models&expiresBefore=2026-01-02T03:04:05.000006Z": {
			Filter: Filter{Without: []string{"email", "models"}, ExpiresBefore: someTime}},
		`metadata.a\.b\\.c\d=1`:              {Filter: Filter{Metadata: []MetadataEqual{{[]string{`a.b\`, `c\d`}, "1"}}}},
		"email=ada%2Bai%40example.com":       {Filter: Filter{Emails: []string{"ada+ai@example.com"}}},
		"q=" + strings.Repeat("%C3%A9", 200): {Filter: Filter{Search: strings.Repeat("e", 200)}},
	}
	for raw, want := range tests {
		got, err := parseRaw(t, raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if want.Limit == 0 {
			want.Limit = DefaultLimit
		}
		if want.Count == "" {
			want.Count = CountEstimated
		}
		if want.Sort == nil {
			want.Sort = newest
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

func TestParseQueryProblems(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"limit=0": {"limit " + codeRange}, "limit=501": {"limit " + codeRange}, "limit=": {"limit " + codeRange}, "limit=1.0": {"limit " + codeRange},
		"limit=%2B5": {"limit " + codeRange}, "limit=99999999999999999999": {"limit " + codeRange}, "limit=-1": {"limit " + codeRange},
		"limit=1&limit=2": {"limit " + codeRepeated}, "page=0": {"page " + codeRange}, "page=10001&limit=1": {"page " + codeRange},
		"page=201": {"page " + codeRange}, "page=21&limit=500": {"page " + codeRange}, "page=x&limit=x": {"limit " + codeRange, "page " + codeRange},
		"count=all": {"count " + codeFormat}, "count=": {"count " + codeFormat}, "sort=": {"sort " + codeFormat}, "sort=id": {"sort " + codeFormat},
		"sort=tag,": {"sort " + codeFormat}, "sort=--tag": {"sort " + codeFormat}, "sort=TAG": {"sort " + codeFormat}, "sort=tag,-tag": {"sort " + codeRepeated},
		"id=x": {"id " + notUUID}, "id=00000000-0000-0000-0000-000000000000": {"id " + notUUID}, "role=boss": {"role " + notInList},
		"role=": {"role " + required}, "status=Active": {"status " + notInList}, "model=": {"model " + required},
		"model=" + strings.Repeat("m", 129): {"model " + lengthOut}, "provider=Open": {"provider " + codeFormat}, "provider=": {"provider " + codeFormat},
		"q=": {"q " + codeRange}, "q=" + strings.Repeat("x", 201): {"q " + codeRange}, "q=a&q=b": {"q " + codeRepeated},
		"email=ada+ai@example.com": {"email " + codeFormat}, "email=a&email=b+c&email=d+e": {"email " + codeFormat}, "userName=ada+ai@example.com": {"userName " + codeFormat},
		"email=" + strings.Repeat("%C3%A9", 256): {"email " + codeRange}, "tag=" + strings.Repeat("a", 256): {"tag " + codeRange},
		"group=" + strings.Repeat("a", 256): {"group " + codeRange}, "without=name": {"without " + codeFormat}, "without=": {"without " + codeFormat},
		"expiresBefore=2026-01-31": {"expiresBefore " + codeFormat}, "q=%CC%81": {"q " + codeRange}, `metadata.\=x`: nil, `metadata.a\.=x`: nil,
		"metadata.=x": {"metadata. " + codeFormat}, "metadata.a..b=x": {"metadata.a..b " + codeFormat}, "metadata.a.b.c.d.e.f=x": {"metadata.a.b.c.d.e.f " + codeFormat},
		"metadata=x": {"metadata " + codeParam}, "nope=1": {"nope " + codeParam}, "Limit=1": {"Limit " + codeParam}, "version=1": {"version " + codeParam},
		"tag=a%00": {"tag " + codeNUL}, "nope%00=1": {"nope\\u0000 " + codeNUL}, "tag=%ff": {"tag " + codeFormat}, "t%ff=1": {"t\uFFFD " + codeFormat},
		"createdFrom=": {"createdFrom " + codeFormat}, "createdFrom=2026-01-31": {"createdFrom " + codeFormat},
		"createdFrom=2026-02-29T00:00:00Z": {"createdFrom " + codeFormat}, "createdFrom=2026-01-31T00:00:00+01:00": {"createdFrom " + codeFormat},
		"createdTo=0001-01-01T00:00:00%2B14:00": {"createdTo " + codeFormat}, "createdTo=9999-12-31T23:59:59-14:00": {"createdTo " + codeFormat},
		"createdTo=0000-01-01T00:00:00Z": {"createdTo " + codeFormat},
		// What time.Parse lets through and RFC 3339 does not.
		"createdTo=2026-01-31T1:00:00Z": {"createdTo " + codeFormat}, "createdTo=2026-01-31T01:00:00,5Z": {"createdTo " + codeFormat},
		"createdTo=2026-01-31T01:00:00%2B99:00": {"createdTo " + codeFormat},
		"tag=a" + strings.Repeat("&tag=a", 100): {"tag " + codeSize}, "metadata.a=a" + strings.Repeat("&metadata.a=a", 100): {"metadata.a " + codeSize},
		"cursor=x": {"cursor " + codeCursor}, "cursor=": {"cursor " + codeCursor}, "cursor=x&cursor=y": {"cursor " + codeRepeated},
		"cursor=x&page=1": {"cursor " + codeCursor}, "cursor=x&limit=0": {"limit " + codeRange, "cursor " + codeCursor},
		"nope=1&limit=0&sort=x&q=": {"limit " + codeRange, "nope " + codeParam, "q " + codeRange, "sort " + codeFormat},
	}
	for raw, want := range tests {
		_, err := parseRaw(t, raw)
		if diff := cmp.Diff(want, fieldCodes(t, err)); diff != "" {
			t.Errorf("%.60s (-want +got): %s", raw, diff)
		}
	}
}

func TestTooDeepAPagePointsToTheCursor(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"page=201", "page=10001", "page=999999999999999999999"} {
		if _, err := parseRaw(t, raw); err == nil || !strings.Contains(err.Error(), "cursor") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestAnUnencodedPlusIsExplained: in a query string a plus sign is a space.
func TestAnUnencodedPlusIsExplained(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"email=ada+ai@example.com", "userName=ada+ai@example.com", "createdFrom=2026-01-31T00:00:00+01:00", "expiresBefore=2026-01-31T00:00:00+01:00"} {
		if _, err := parseRaw(t, raw); err == nil || !strings.Contains(err.Error(), "%2B") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestAHundredValuesAreAllowed(t *testing.T) {
	t.Parallel()
	if _, err := parseRaw(t, "tag=a"+strings.Repeat("&tag=a", 99)+strings.Repeat("&metadata.a=a", 100)); err != nil {
		t.Error(err)
	}
}
