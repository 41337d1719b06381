package relay

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	verdicts := map[verdict][]int{
		accepted: {200, 201, 202, 204, 299},
		failed:   {300, 301, 307, 308, 408, 425, 429, 500, 501, 502, 503, 504, 599},
		refused:  {400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451, 499},
	}
	for want, codes := range verdicts {
		for _, code := range codes {
			if got := judge(&http.Response{StatusCode: code, Header: http.Header{}}, time.Now()); got.verdict != want {
				t.Errorf("%d: %v, not %v", code, got.verdict, want)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "99999999999999999999": 0,
		"Sat, 31 Jan 2026 09:00:30 GMT": 30 * time.Second, "Sat, 31 Jan 2026 08:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}

func TestWaitsGrowWithinBounds(t *testing.T) {
	t.Parallel()
	const longest = 8 * time.Second
	for range 200 {
		for n, middle := 1, firstWait; n < 12; n, middle = n+1, middle*growth {
			got := wait(n, longest, 0)
			if got > longest || got > middle*3/2+time.Millisecond || middle*3/2 < longest && got < middle/2 {
				t.Fatalf("failure %d: %v", n, got)
			}
		}
		if got := wait(3, time.Millisecond, 0); got <= 0 || got > time.Millisecond {
			t.Fatalf("a longest wait of 1 ms: %v", got)
		}
		if got := wait(1, longest, time.Minute); got < time.Minute || got > 66*time.Second {
			t.Fatalf("a wish of a minute: %v", got)
		}
		if got := wait(1, longest, 48*time.Hour); got > maxRetryAfter*11/10 {
			t.Fatalf("a wish of two days: %v", got)
		}
		if got := wait(1_000_000, time.Hour, 0); got < time.Hour/4 || got > time.Hour {
			t.Fatalf("after very many failures: %v", got)
		}
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := newPace(time.Minute)
	allowed := func(at time.Time) bool { _, ok := p.begin(at); return ok }
	one := uuid.New()
	for range 100 { // one user's failures say nothing about the sink
		if down, _ := p.failed(one, false, 0, now); down {
			t.Fatal("down by one user's failures")
		}
	}
	if !allowed(now) {
		t.Error("while it is up, all may be sent")
	}
	for range suspicious - 1 {
		p.failed(uuid.New(), false, 0, now)
	}
	if !p.down || allowed(now) || !allowed(now.Add(time.Second)) || allowed(now.Add(time.Second)) {
		t.Errorf("down, one at a time after a pause: %+v", p)
	}
	next := p.next
	if down, news := p.failed(uuid.New(), false, 0, now); !down || news || p.next != next { // was under way
		t.Error("what was under way made the pause longer")
	}
	for range 20 {
		p.failed(one, true, 0, now)
	}
	if gap := p.next.Sub(now); gap > maxPause || gap < maxPause/4 {
		t.Errorf("a pause of %v", gap)
	}
	if !p.answered() || p.down || !allowed(now) {
		t.Errorf("back: %+v", p)
	}
	if p.answered() {
		t.Error("back twice")
	}
}

// The SDK must read the request on the wire as the same event.
func TestRequestIsTheEventToTheSDK(t *testing.T) {
	t.Parallel()
	e := user.Event{ID: user.NewID(), Type: user.Updated, UserID: uuid.New(), Version: 3, At: user.Timestamp(time.Now()), Cause: "hr-77",
		Data: []byte(`{"user":{"name":"Ünï"},"changed":["name"]}`)}
	s, err := newSink(Options{Sink: "http://sink.example/in", Source: "/ai/admin/users", Overrides: `{"extensions":{"tenant":"t1"}}`})
	if err != nil {
		t.Fatal(err)
	}
	request, err := s.request(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cehttp.NewEventFromHTTPRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	var want ce.Event // as the SDK reads it from the feed
	if err := want.UnmarshalJSON(cloudevent.AppendJSON(nil, e, "/ai/admin/users")); err != nil {
		t.Fatal(err)
	}
	want.SetExtension("tenant", "t1")
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An answer's body is read up to a bound, and not waited for.
func TestEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1024)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	defer sink.Close()
	s, err := newSink(Options{Sink: sink.URL})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if a := s.send(context.Background(), user.Event{Data: []byte("{}")}); a.verdict != accepted {
		t.Errorf("%+v", a)
	}
	if took := time.Since(began); took > sendTimeout/2 {
		t.Errorf("it took %v", took)
	}
	s.client.CloseIdleConnections()
}

func FuzzOverrides(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"extensions":{"a":"b"}}`, `{"extensions":{"a":"\u0000"}}`, `{"extensions":[]}`, `{"extensions":{"a":"b","a":"c"}}`, "[", "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		extensions, err := parseOverrides(text)
		if err != nil {
			return
		}
		header := http.Header{}
		for name, value := range extensions {
			cloudevent.SetAttribute(header, name, value)
		}
		for name, values := range header {
			for _, c := range values[0] {
				if c <= ' ' || c > '~' {
					t.Errorf("%s: %q cannot be a header", name, values[0])
				}
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "99999999999", "Sat, 31 Jan 2026 09:00:30 GMT", "-1"} {
		f.Add(seed)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, text string) {
		if got := wait(1, time.Second, retryAfter(text, now)); got <= 0 || got > maxRetryAfter*11/10 {
			t.Errorf("%q: %v", text, got)
		}
	})
}
