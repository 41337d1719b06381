package blackbox

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// failure is one way in which a request goes wrong, on each route that it can happen to.
type failure struct {
	name    string
	on      func(route) bool
	change  func(*route)
	headers []string
	status  func(route) int
	code    string
}

func always(route) bool { return true }

func (r route) hasBody() bool   { return r.body != "" }
func (r route) isEvent() bool   { return strings.Contains(strings.Join(r.headers, " "), "ce-id") }
func (r route) namesUser() bool { return strings.HasPrefix(r.path, usersPath+"/") }
func (r route) takesQuery() bool {
	return r.method == "GET" && (!r.namesUser() || strings.HasSuffix(r.path, "/history"))
}

// changesUser reports whether a route changes a user that it names.
func (r route) changesUser() bool { return r.namesUser() && r.method != "GET" }

// refer makes a request one about whoever a reference names.
func refer(to string) func(*route) {
	return func(r *route) { r.path = usersPath + "/" + to + r.path[len(nobody):] }
}

func status(n int) func(route) int { return func(route) int { return n } }

var failures = []failure{
	{"no token", always, nil, []string{"Authorization", ""}, status(401), "UNAUTHENTICATED"},
	{"unknown token", always, nil, []string{"Authorization", "Bearer nobody's"}, status(401), "UNAUTHENTICATED"},
	{"wrong scope", always, func(r *route) {
		other := map[string]string{"users:read": writeToken, "users:write": readToken, "credentials:read": mixedToken, "events:send": mixedToken}[r.scope]
		r.headers = append(r.headers, "Authorization", "Bearer "+other)
	}, nil, status(403), "FORBIDDEN"},
	{"half a body", route.hasBody, func(r *route) { r.body = `{"tag":"x` }, nil, status(400), "MALFORMED_BODY"},
	{"duplicate key", route.hasBody, func(r *route) { r.body = `{"name":"x","name":"y"}` }, nil, status(400), "MALFORMED_BODY"},
	{"invalid field", route.hasBody, func(r *route) { r.body = `{"tag":"x","name":5}` }, nil, invalidStatus, "VALIDATION_ERROR"},
	{"unknown field", route.hasBody, func(r *route) { r.body = `{"tag":"x","name":"x","foo":1}` }, nil, invalidStatus, "VALIDATION_ERROR"},
	{"unknown parameter", route.takesQuery, func(r *route) { r.path += "?foo=1" }, nil, status(400), "VALIDATION_ERROR"},
	{"too large", route.hasBody, func(r *route) { r.body = strings.Repeat(" ", 1<<20) + r.body }, nil, status(413), "BODY_TOO_LARGE"},
	{"wrong type", route.hasBody, nil, []string{"Content-Type", "text/plain"}, status(415), "UNSUPPORTED_MEDIA_TYPE"},
	{"unknown user", route.namesUser, func(r *route) {
		r.path = nobody + r.path[len(nobody):]
	}, nil, status(404), "NOT_FOUND"},
	{"malformed id", route.namesUser, func(r *route) {
		r.path = usersPath + "/x" + r.path[len(nobody):]
	}, nil, status(404), "NOT_FOUND"},
	{"reference to nobody's tag", route.namesUser, refer("tag:nobody-has-this"), nil, status(404), "NOT_FOUND"},
	{"reference to nobody's address", route.namesUser, refer("email:nobody@example.com"), nil, status(404), "NOT_FOUND"},
	{"reference to nobody's name", route.namesUser, refer("userName:nobody%20has%20this"), nil, status(404), "NOT_FOUND"},
	{"reference to nobody's external id", route.namesUser, refer("externalId:https%3A%2F%2Fidp.example%2F%2Fx%2F.."), nil, status(404), "NOT_FOUND"},
	{"reference of an unknown kind", route.namesUser, refer("name:Ada"), nil, status(404), "NOT_FOUND"},
	{"reference of a kind in other case", route.namesUser, refer("TAG:ada"), nil, status(404), "NOT_FOUND"},
	{"empty reference", route.namesUser, refer("tag:"), nil, status(404), "NOT_FOUND"},
	{"reference with a NUL", route.namesUser, refer("tag:a%00"), nil, status(404), "NOT_FOUND"},
	{"reference that is no text", route.namesUser, refer("email:%ff@example.com"), nil, status(404), "NOT_FOUND"},
	{"reference longer than any value", route.namesUser, refer("externalId:" + strings.Repeat("x", 20_000)), nil, status(404), "NOT_FOUND"},
	{"If-None-Match that matches", route.changesUser, nil, []string{"If-None-Match", `"1", W/"2", W/"3"`}, status(412), "PRECONDITION_FAILED"},
	{"If-None-Match of any version", route.changesUser, nil, []string{"If-None-Match", "*"}, status(412), "PRECONDITION_FAILED"},
	{"If-None-Match that is none", route.changesUser, nil, []string{"If-None-Match", "1"}, status(400), "VALIDATION_ERROR"},
	{"If-Match that fails", route.changesUser, nil, []string{"If-Match", `"99"`}, status(412), "PRECONDITION_FAILED"},
	{"If-Match that is none", route.changesUser, nil, []string{"If-Match", "1"}, status(400), "VALIDATION_ERROR"},
	{"secret for a provider", route.hasBody, func(r *route) {
		r.body = `{"tag":"x","name":"x","credentials":{"Sk-Live_planted":"openai"}}`
	}, nil, invalidStatus, "VALIDATION_ERROR"},
	{"secret for a provider, twice", route.hasBody, func(r *route) {
		r.body = `{"credentials":{"Sk-Live_planted":"openai","Sk-Live_planted":"openai"}}`
	}, nil, status(400), "MALFORMED_BODY"},
	{"secret cut off", route.hasBody, func(r *route) { r.body = `{"credentials":{"Sk-Live_planted":"planted` }, nil, status(400), "MALFORMED_BODY"},
	{"wrong method", always, func(r *route) { r.method = "TRACE"; r.body = "" }, nil, status(405), "METHOD_NOT_ALLOWED"},
}

func invalidStatus(r route) int {
	if r.isEvent() {
		return 422 // docs/events.md, Responses: Knative retries none of these
	}
	return 400
}

// TestFailures runs the table of failures over every route: each answers with a problem and
// changes nothing.
func TestFailures(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			hit := 0
			for _, r := range s.routes(t) {
				if !f.on(r) {
					continue
				}
				hit++
				changed := r
				changed.headers = slices.Clone(r.headers)
				if f.change != nil {
					f.change(&changed)
				}
				s.call(t, changed, f.headers...).fails(t, f.status(r), f.code)
				if a := s.call(t, r); a.status != r.success {
					t.Errorf("%s: the right request answers %d afterwards: %s", r, a.status, a.body)
				}
			}
			if hit == 0 {
				t.Fatal("no route was tried")
			}
		})
	}
}

// TestClientGone leaves while the service waits for the body or works: nothing but the
// request ends.
func TestClientGone(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, r := range s.routes(t) {
		for _, wait := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			req := s.request(t, r.method, r.path, r.body, r.headers...).WithContext(ctx)
			if resp, err := s.client.Do(req); err == nil {
				_ = resp.Body.Close()
			}
			cancel()
		}
	}
	s.do(t, "GET", usersPath, "").is(t, http.StatusOK)
	for _, entry := range s.logs.lines(t) {
		if status, ok := entry["status"].(float64); ok && status >= 500 && entry["route"] != "/readyz" { // which waited
			t.Errorf("a client that left is no fault of the service: %v", entry)
		}
	}
}
