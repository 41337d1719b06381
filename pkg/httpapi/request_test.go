package httpapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"aiadmin/pkg/user"
)

func withHeader(name string, values ...string) *http.Request {
	return &http.Request{Header: http.Header{name: values}}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []string
		holds7 bool
		wrong  bool
	}{
		{nil, true, false},
		{[]string{"*"}, true, false},
		{[]string{`"7"`}, true, false},
		{[]string{`"8"`}, false, false},
		{[]string{`"6", "7"`}, true, false},
		{[]string{`"6"`, `"7"`}, true, false},
		{[]string{`"a,b" , "7"`}, true, false},
		{[]string{`, "6",, "7" ,`}, true, false},
		{[]string{``, `"7"`}, true, false},
		{[]string{`W/"7"`}, false, false}, // the comparison is the strong one
		{[]string{`"07"`}, false, false},
		{[]string{`"+7"`}, false, false},
		{[]string{`"abc"`}, false, false},
		{[]string{`7`}, false, true},
		{[]string{`"7`}, false, true},
		{[]string{`"7" "8"`}, false, true},
		{[]string{``}, false, true},
		{[]string{`,`}, false, true},
		{[]string{`*, "7"`}, false, true},
	} {
		condition, err := precondition(withHeader("If-Match", test.values...), "If-Match")
		if (err != nil) != test.wrong {
			t.Errorf("%q: %v", test.values, err)
		}
		if err == nil && condition.Holds(7) != test.holds7 {
			t.Errorf("%q holds for 7: %v", test.values, !test.holds7)
		}
		if err != nil && user.KindOf(err) != user.Invalid {
			t.Errorf("%q: %v is no validation error", test.values, err)
		}
	}
}

func TestUnmodified(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{`"7"`: true, `W/"7"`: true, `"6", W/"7"`: true, `, "7"`: true, "*": true, `"8"`: false, "7": false} {
		if unmodified(withHeader("If-None-Match", value), etag(7)) != want {
			t.Errorf("%s: want %v", value, want)
		}
	}
}

func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{`"7"`, `W/"7", "8"`, "*", `"`, `,,"7"`, `"7",`, `""`, "W/", `"a"b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		tags, ok, err := entityTags(withHeader("If-Match", value), "If-Match")
		if ok && err != nil || !ok && err == nil {
			t.Fatalf("%q: neither read nor refused", value)
		}
		if slices.Contains(tags, "") {
			t.Fatalf("%q: an empty tag", value)
		}
	})
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	const wanted = "application/json"
	for _, test := range []struct {
		header http.Header
		taken  bool
	}{
		{http.Header{"Content-Type": {wanted}}, true},
		{http.Header{"Content-Type": {`Application/JSON; charset="UTF-8"`}, "Content-Encoding": {"identity"}}, true},
		{http.Header{}, false},
		{http.Header{"Content-Type": {wanted + "; charset=latin1"}}, false},
		{http.Header{"Content-Type": {wanted, wanted}}, false},
		{http.Header{"Content-Type": {wanted + "; charset=utf-8", "text/plain"}}, false},
		{http.Header{"Content-Type": {wanted}, "Content-Encoding": {"gzip"}}, false},
		{http.Header{"Content-Type": {wanted}, "Content-Encoding": {"identity", "gzip"}}, false},
	} {
		err := checkMediaType(httptest.NewRecorder(), &http.Request{Header: test.header}, []string{wanted})
		if (err == nil) != test.taken || err != nil && user.KindOf(err) != user.UnsupportedMedia {
			t.Errorf("%v: %v", test.header, err)
		}
	}
}
