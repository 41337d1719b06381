package httpapi

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNegotiate(t *testing.T) {
	t.Parallel()
	const j, s, c = "application/json", "text/event-stream", "text/csv"
	for _, test := range []struct{ accept, want string }{
		{"", j},
		{"*/*", j},
		{"text/event-stream", s},
		{"TEXT/Event-Stream", s},
		{"text/event-stream;q=0", ""},
		{"text/event-stream;q=0, */*", j},
		{"text/event-stream;q=0.5, application/json;q=0.4", s},
		{"text/event-stream;q=0.4, application/json;q=0.5", j},
		{"text/event-stream; q=0.4 , application/json ; Q=0.5", j},
		{"text/event-stream, application/json;q=0.9", s},
		{"application/json, text/event-stream;q=0.9", j},
		{"application/json, text/event-stream", j},
		{"text/event-stream, application/json", s},
		{"text/event-stream, */*", s},
		{"*/*, text/event-stream", s},
		{"*/*, text/event-stream;q=0.9", j},
		{"text/*", s},
		{"text/*, text/csv", c},
		{"text/*;q=0.3, text/csv;q=0.2, */*;q=0.1", s},
		{"text/event-stream;q=0.1, text/*;q=0.8", c},
		{"text/html", ""},
		{"text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", j},
		{"application/json;charset=utf-8", j},
		{`text/csv;header="a,b;q=0", application/json;q=0.5`, c},
		{`text/csv;header="a\",b`, c},
		{"text/csv\n application/json;q=0.1", c}, // two lines
		{"text/event-stream;q=2, application/json;q=0.1", j},
		{"text/event-stream;q=x", j}, // nothing that can be read is no Accept
		{"text/csv;q=0.000, application/json;q=0.001", j},
		{"*/json, */, /csv, csv, ;, ,", j},
		{",, text/csv,", c},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if test.accept != "" {
			r.Header["Accept"] = strings.Split(test.accept, "\n ")
		}
		if got := negotiate(r, j, s, c); got != test.want {
			t.Errorf("Accept %q: %q, want %q", test.accept, got, test.want)
		}
	}
}

// FuzzNegotiate: whatever the header, one of the offers or none, in time that grows with it alone.
func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"", "*/*", "text/csv;q=0.5,application/json", `a/b;x="`, strings.Repeat(",", 60_000),
		strings.Repeat("a/b;q=1,", 8000), strings.Repeat(`;"\`, 20_000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Accept"] = []string{accept}
		fastest := time.Hour
		for range 3 { // a crowded machine may hold one of them up
			began := time.Now()
			if got := negotiate(r, "application/json", "text/csv"); !slices.Contains([]string{"application/json", "text/csv", ""}, got) {
				t.Errorf("%q", got)
			}
			fastest = min(fastest, time.Since(began))
		}
		if fastest > 50*time.Millisecond+time.Duration(len(accept))*2*time.Microsecond {
			t.Errorf("%d bytes took %v", len(accept), fastest)
		}
	})
}
