package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"aiadmin/pkg/accessapi"
	"aiadmin/pkg/user"
)

// TestEveryRouteIsDescribed holds the table of routes and the OpenAPI document against
// each other, both ways.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(openAPIDocument, &document); err != nil {
		t.Fatal(err)
	}
	none := http.NotFoundHandler()
	a, _ := service(t, fake{}, func(o *Options) { o.Events, o.Schemas = none, none })
	described := map[string]bool{}
	for path, item := range document.Paths {
		for method := range item {
			if method = strings.ToUpper(method); method != "PARAMETERS" && method != "HEAD" {
				described[method+" "+path] = true
			}
		}
	}
	for pattern, methods := range a.routes() {
		for method := range methods {
			route := method + " " + strings.TrimSuffix(pattern, "{$}")
			if !described[route] {
				t.Errorf("%s is not in openapi.yaml", route)
			}
			delete(described, route)
		}
	}
	apart := accessapi.New(accessapi.Options{})
	for route := range described {
		method, path, _ := strings.Cut(route, " ")
		if apart.Serves(httptest.NewRequest(method, strings.ReplaceAll(path, "{provider}", "_"), nil)) {
			continue
		}
		t.Errorf("%s is in openapi.yaml and not served", route)
	}
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{get: func(context.Context) (*user.User, error) { panic("a fault") }}, nil)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", onePath, 500}, {"GET", "/nowhere", 404}, {"POST", onePath, 405}, {"GET", usersPath + "?limit=0", 400},
		{"GET", "/livez", 200}, {"GET", "/ai/admin//users", 404}, {"GET", "/ai/admin/../users", 404}, {"POST", usersPath, 415},
		{"TRACE", usersPath, 405}, {"PURGE", "/nowhere", 404}, {"OPTIONS", usersPath, 405},
	} {
		w := ask(a, test.method, test.path, "Origin", "https://console.example.com", "X-Request-Id", "mine-1")
		if w.Code != test.status {
			t.Errorf("%s %s: %d, want %d: %s", test.method, test.path, w.Code, test.status, w.Body)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "https://console.example.com" || w.Header().Get("X-Request-Id") != "mine-1" {
			t.Errorf("%s %s lacks CORS or its id: %v", test.method, test.path, w.Header())
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s is no problem document", test.method, test.path)
		}
		if path, _, _ := strings.Cut(test.path, "?"); w.Code >= 400 && !strings.Contains(w.Body.String(), `"instance":"`+path+`"`) {
			t.Errorf("%s %s speaks of another path: %s", test.method, test.path, w.Body)
		}
	}
	stranger := ask(a, "GET", "/livez", "Origin", "https://evil.example.com")
	if stranger.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("a foreign origin was let in")
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		r := httptest.NewRequest(method, "/livez", nil)
		r.Header["Origin"] = []string{"https://console.example.com", "https://evil.example.com"}
		r.Header.Set("Access-Control-Request-Method", "GET")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s with two origins is answered with %s: %v", method, name, w.Header()[name])
			}
		}
	}
	preflight := ask(a, "OPTIONS", onePath, "Origin", "https://console.example.com",
		"Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "authorization,if-match")
	if preflight.Code/100 != 2 || preflight.Header().Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("preflight: %d %v", preflight.Code, preflight.Header())
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for _, sane := range []string{"a", "0af7651916cd43dd8448eb211c80319c", "a/b:c=d+e@f", strings.Repeat("x", 128)} {
		if requestID(sane) != sane {
			t.Errorf("%q was not kept", sane)
		}
	}
	for _, insane := range []string{"", strings.Repeat("x", 129), "a b", "a\nb", "a\x00", "ü", `a"b`, `a\b`, "<script>"} {
		if requestID(insane) == insane {
			t.Errorf("%q was kept", insane)
		}
	}
}

func TestFissionCompat(t *testing.T) {
	t.Parallel()
	const other = "99936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"
	for _, test := range []struct{ path, id, full, want string }{
		{"/", other, "", usersPath + "/" + other},
		{"/", "", usersPath + "?role=admin", usersPath + "?role=admin"},
		{"/?limit=3", "", usersPath + "?role=admin", usersPath + "?limit=3"},
		{"/", other, usersPath + "/" + other + "/history", usersPath + "/" + other + "/history"},
		{usersPath, other, "", usersPath + "/" + other},
		{usersPath + "/", other, "", usersPath + "/" + other},
		{onePath, other, usersPath + "/" + other, onePath}, // one user's request stays that user's
		{onePath + "/history", other, "", onePath + "/history"},
		{"/", "externalId:a/b//c", "", usersPath + "/externalId:a%2Fb%2F%2Fc"},
		{"/", "externalId:a/b", usersPath + "/externalId:a%2Fb/history", usersPath + "/externalId:a%2Fb/history"},
		{"/", "..", "", usersPath + "/.."}, // which is no route
		{"/", "../../livez", "", usersPath + "/..%2F..%2Flivez"},
		{"/livez", other, usersPath, "/livez"},
		{"/", "", "http://router/ai/admin/changes?limit=2", "/ai/admin/changes?limit=2"},
		{"/", "", "/ai/admin/events", "/ai/admin/events"},
		{"/", "", "/etc/passwd", usersPath},
		{"/", "", "", "/"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.id != "" {
			r.Header.Set("X-Fission-Params-Userid", test.id)
		}
		if test.full != "" {
			r.Header.Set("X-Fission-Full-Url", test.full)
		}
		got := r.URL
		if restored := originalURL(r); restored != nil {
			got = restored
		}
		if got.String() != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// TestPatchTakesJSON: PATCH has two media types, and names both where it gets another.
func TestPatchTakesJSON(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{apply: func(context.Context) error { return nil }}, nil)
	for contentType, want := range map[string]int{"application/json": 200, "application/merge-patch+json": 200,
		"application/json; charset=utf-8": 200, "application/json-patch+json": 415, "": 415} {
		r := httptest.NewRequest("PATCH", onePath, strings.NewReader(`{"name":"Ada"}`))
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != want || want == 415 && w.Header().Get("Accept-Patch") != "application/merge-patch+json, application/json" {
			t.Errorf("%q: %d %v", contentType, w.Code, w.Header())
		}
	}
}

// TestFeedIsNegotiated: the weights of Accept decide between a page and a stream.
func TestFeedIsNegotiated(t *testing.T) {
	t.Parallel()
	a, _ := service(t, changing{changes: func(context.Context) (user.ChangesPage, error) { return user.ChangesPage{}, nil }},
		func(o *Options) { o.Cursor = func(user.Place) string { return "" } })
	const page, stream = "application/json", "text/event-stream"
	for accept, want := range map[string]string{"text/event-stream": stream, "application/json;q=0.5, text/event-stream": stream,
		"application/json, text/event-stream;q=0.5": page, "*/*": page, "text/event-stream;q=0, */*": page} {
		if got := ask(a, "HEAD", "/ai/admin/changes", "Accept", accept).Header().Get("Content-Type"); got != want {
			t.Errorf("Accept: %s: %s, want %s", accept, got, want)
		}
	}
}

// TestTimeGrowsWithTheRequest: what takes a few milliseconds here took seconds if it grew
// with the square of a header's or a query's size.
func TestTimeGrowsWithTheRequest(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{get: func(context.Context) (*user.User, error) { return someone(), nil },
		list:  func(context.Context) (user.Page, error) { return user.Page{}, nil },
		apply: func(context.Context) error { return nil }}, nil)
	fill := func(s string) string { return strings.Repeat(s, 60_000/len(s)) }
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < 60_000; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	hostile := []string{fill("x"), fill(","), fill(`"1",`), fill(`W/"`), fill(";q=1"), fill("a/b;q=0.1,"), fill(`\"`), fill("%"), fill("Bearer "), fill("\t")}
	for _, name := range []string{"Accept", "If-Match", "If-None-Match", "Origin", "Idempotency-Key", "X-Request-Id", "Content-Type", "Content-Encoding",
		"Authorization", "Access-Control-Request-Headers", "Last-Event-ID", "X-Fission-Full-Url"} {
		for _, value := range hostile {
			for _, request := range [][2]string{{"GET", onePath}, {"DELETE", onePath}, {"POST", usersPath}, {"GET", "/ai/admin/changes"}, {"OPTIONS", usersPath}} {
				began := time.Now()
				ask(a, request[0], request[1], name, value, "Access-Control-Request-Method", "GET")
				if took := time.Since(began); took > 500*time.Millisecond {
					t.Errorf("%s %s with %s: %.20s… took %v", request[0], request[1], name, value, took)
				}
			}
		}
	}
	for _, query := range append(hostile, fill("a=1&"), fill("tag=a&"), fill("sort=name,"), "sort="+fill("name,"), numbered("a%d=1&"), numbered("tag=a%d&"),
		numbered("metadata.a%d=1&"), "metadata."+fill("a.")+"=1", "q="+fill("%61"), "model="+fill("*"), "cursor="+fill("a"), "id="+fill("0,")) {
		for _, path := range []string{usersPath, "/ai/admin/changes"} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery = query
			r.Header.Set("Authorization", "Bearer x")
			began := time.Now()
			a.ServeHTTP(httptest.NewRecorder(), r)
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("GET %s?%.20s… took %v", path, query, took)
			}
		}
	}
}
