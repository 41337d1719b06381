package user

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sorts are all orders of all choices of sort fields, each ascending and descending.
func sorts(chosen []string, left []string) []string {
	var out []string
	if len(chosen) > 0 {
		out = append(out, strings.Join(chosen, ","))
	}
	for i, field := range left {
		rest := append(append([]string{}, left[:i]...), left[i+1:]...)
		for _, sign := range []string{"", "-"} {
			out = append(out, sorts(append(chosen[:len(chosen):len(chosen)], sign+field), rest)...)
		}
	}
	return out
}

func TestCursorsOfEverySortComeBack(t *testing.T) {
	t.Parallel()
	noEmail := stored()
	noEmail.Email = nil
	all := sorts(nil, []string{"createdAt", "tag", "name", "email"})
	if len(all) != 8+48+192+384 {
		t.Fatalf("%d sorts", len(all))
	}
	for _, sort := range all {
		query, err := parseRaw(t, "sort="+sort)
		if err != nil {
			t.Fatal(err)
		}
		for _, last := range []*User{stored(), noEmail} {
			again, err := parseRaw(t, "limit=7&count=none&sort="+sort+"&cursor="+query.CursorAfter(last))
			if err != nil {
				t.Fatalf("%s: %v", sort, err)
			}
			var want []*string
			for _, key := range query.Sort {
				want = append(want, sortValue(last, key.Field))
			}
			if diff := cmp.Diff(want, again.After.Keys); diff != "" || again.After.ID != someID {
				t.Fatalf("%s: %s %s", sort, again.After.ID, diff)
			}
		}
	}
}

func TestCursorsOfOtherListingsAreRefused(t *testing.T) {
	t.Parallel()
	listings := []string{"", "sort=createdAt", "sort=-createdAt,tag", "sort=tag", "sort=-tag", "sort=tag,name", "sort=name,tag", "tag=a", "email=a", "externalId=a", "q=a",
		"id=018f0000-0000-7000-8000-000000000001", "role=admin", "role=viewer", "status=active", "model=a", "provider=a", "metadata.a=a",
		"metadata.a.b=c", "metadata.a=b", "tag=a&tag=b", "createdFrom=2026-01-02T00:00:00Z", "createdTo=2026-01-02T00:00:00Z",
		"expiresBefore=2026-01-02T00:00:00Z", "userName=a", "group=a", "without=email", "without=keys", `metadata.a\.b=c`}
	for i, made := range listings {
		query, err := parseRaw(t, made)
		if err != nil {
			t.Fatal(err)
		}
		cursor := "&cursor=" + url.QueryEscape(query.CursorAfter(stored()))
		for j, used := range listings {
			_, err := parseRaw(t, used+cursor)
			if i == j {
				wantProblems(t, err)
			} else if got := fieldCodes(t, err); len(got) != 1 || got[0] != "cursor "+codeCursor {
				t.Errorf("made with %q, used with %q: %v", made, used, got)
			}
		}
	}
}

// TestCursorsOfOtherLogsAreRefused takes each log's and the keys' cursors to all of them, with each filter.
func TestCursorsOfOtherLogsAreRefused(t *testing.T) {
	t.Parallel()
	type listing struct{ name, query string }
	parse := func(l listing, cursor string) (made string, err error) {
		values, err := url.ParseQuery(l.query)
		if err != nil {
			t.Fatal(err)
		}
		if cursor != "" {
			values.Set("cursor", cursor)
		}
		switch l.name {
		case "audit":
			q, err := ParseAuditQuery(values)
			return q.CursorAfter(someID), err
		case "history":
			q, err := ParseLogQuery(values)
			return q.CursorAfter(someID), err
		default:
			q, err := ParseKeyQuery(values)
			return q.CursorAfter(&ListedKey{Key: Key{ID: someID, CreatedAt: someTime}}), err
		}
	}
	var listings []listing
	for name, queries := range map[string][]string{
		"audit":   {"", "actor=a", "action=a", "userId=" + someID.String(), "from=2026-01-02T00:00:00Z", "to=2026-01-02T00:00:00Z"},
		"history": {"", "actor=a", "field=name", "field=role", "from=2026-01-02T00:00:00Z", "to=2026-01-02T00:00:00Z"},
		"keys": {"", "userId=" + someID.String(), "hint=abcd", "status=active", "expiresBefore=2026-01-02T00:00:00Z",
			"lastUsedBefore=2026-01-02T00:00:00Z"},
	} {
		for _, query := range queries {
			listings = append(listings, listing{name, query})
		}
	}
	for _, made := range listings {
		cursor, err := parse(made, "")
		if err != nil {
			t.Fatal(made, err)
		}
		for _, used := range listings {
			_, err := parse(listing{used.name, used.query + "&limit=7"}, cursor)
			if used == made {
				wantProblems(t, err)
			} else if got := fieldCodes(t, err); len(got) != 1 || got[0] != "cursor "+codeCursor {
				t.Errorf("made with %v, used with %v: %v", made, used, got)
			}
		}
	}
}

func TestACursorKnowsItsListingInAnyOrder(t *testing.T) {
	t.Parallel()
	query, err := parseRaw(t, "tag=a&tag=b&metadata.x=1&metadata.x=2&role=admin&role=viewer&createdFrom=2026-01-02T00:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseRaw(t, "role=viewer&createdFrom=2026-01-02T01:00:00%2B01:00&role=admin&metadata.x=2&metadata.x=1&tag=B&tag=A&cursor="+query.CursorAfter(stored()))
	wantProblems(t, err)
}

// TestForgedCursors takes those that bear the right fingerprint, which any client can copy.
func TestForgedCursors(t *testing.T) {
	t.Parallel()
	query := Query{Sort: []SortKey{{"createdAt", true}, {"name", false}, {"email", false}}}
	good, name := FormatTime(someTime), "a"
	forge := func(keys ...*string) string {
		encoded, err := json.Marshal(map[string]any{"k": keys, "i": someID, "l": query.fingerprint()})
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(encoded)
	}
	if _, err := decodeCursor(forge(&good, &name, nil), query.fingerprint(), query.fits); err != nil {
		t.Fatal("a sound one:", err)
	}
	bad := map[string]string{"no key": forge(), "too few": forge(&good, &name), "too many": forge(&good, &name, nil, nil),
		"no time": forge(nil, &name, nil), "no name": forge(&good, nil, nil), "too long": strings.Repeat("A", maxCursor+1)}
	// PostgreSQL knows no year 0, and reads some texts otherwise than Go does.
	for _, at := range []string{"", "now", "infinity", "2026-01-02", "0000-01-01T00:00:00.000000Z", "2026-01-02T3:04:05.000006Z",
		"2026-01-02T03:04:05,000006Z", "2026-02-30T00:00:00.000000Z"} {
		bad["time "+at] = forge(&at, &name, nil)
	}
	nul := "a\x00"
	bad["NUL"] = forge(&good, &nul, nil)
	for what, text := range bad {
		if _, err := decodeCursor(text, query.fingerprint(), query.fits); err == nil {
			t.Errorf("%s passes", what)
		}
	}
}
