package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// route is one operation with a request that succeeds, whoever may make it.
type route struct {
	method, path, body, scope string
	headers                   []string
	success                   int
}

// routes are all operations that need a scope, each with a user of its own.
func (s *service) routes(t testing.TB) []route {
	t.Helper()
	u := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)
	gone := s.create(t)
	event := func() []string {
		return []string{"ce-specversion", "1.0", "ce-id", newTag(), "ce-source", "/tests", "ce-type", "ai.admin.user.create"}
	}
	newUser := func() string { return fmt.Sprintf(`{"tag":%q,"name":"N"}`, newTag()) }
	return []route{
		{"GET", usersPath, "", "users:read", nil, 200},
		{"POST", usersPath, newUser(), "users:write", nil, 201},
		{"GET", u.path(), "", "users:read", nil, 200},
		{"PUT", u.path(), `{"name":"Put"}`, "users:write", nil, 200},
		{"PATCH", u.path(), `{"name":"Patched"}`, "users:write", nil, 200},
		{"DELETE", gone.path(), "", "users:write", nil, 204},
		{"GET", u.path() + "/credentials/openai", "", "credentials:read", nil, 200},
		{"GET", u.path() + "/history", "", "users:read", nil, 200},
		{"GET", u.path() + "/keys", "", "users:read", nil, 200},
		{"GET", "/ai/admin/changes", "", "users:read", nil, 200},
		{"POST", "/ai/admin/events", newUser(), "events:send", event(), 200},
		{"POST", "/", newUser(), "events:send", event(), 200},
	}
}

func (r route) String() string { return r.method + " " + r.path }

// call makes the route's request with more headers.
func (s *service) call(t testing.TB, r route, headers ...string) answer {
	t.Helper()
	return s.do(t, r.method, r.path, r.body, append(append([]string{}, r.headers...), headers...)...)
}

// TestScopes tries every token on every route.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, k := range defaultTokens {
		t.Run(k.name(), func(t *testing.T) {
			t.Parallel()
			for _, r := range s.routes(t) {
				a := s.call(t, r, "Authorization", "Bearer "+k.plain)
				may := false
				for _, scope := range k.scopes {
					may = may || scope == r.scope || scope == "admin"
				}
				if may {
					if a.status != r.success {
						t.Errorf("%s: %d %s", r, a.status, a.body)
					}
					continue
				}
				a.fails(t, http.StatusForbidden, "FORBIDDEN")
			}
		})
	}
	t.Run("refusals change nothing", func(t *testing.T) {
		t.Parallel()
		u := s.create(t)
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			body := `{"name":"New"}`
			if method == "DELETE" {
				body = ""
			}
			s.do(t, method, u.path(), body, "Authorization", "Bearer "+readToken).fails(t, http.StatusForbidden, "FORBIDDEN")
			s.do(t, method, u.path(), body, "Authorization", "").fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
		}
		if got := s.get(t, u.ID); got.Version != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestAuthorization holds which Authorization headers name a caller, on every route.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer  ", "Bearer nobody's", "Bearer " + adminToken + "x", "Bearer " + adminToken[:len(adminToken)-1],
			"Bearer " + strings.ToUpper(adminToken), "Basic YWRtaW46YWRtaW4=", "Basic " + adminToken, adminToken, "Token " + adminToken, "Bearer " + adminToken + " " + adminToken,
			"Bearer " + adminToken + ", Bearer x", "Bearer \"" + adminToken + "\"", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "Bearer a.b.c", "Bearer " + strings.Repeat("x", 5_000),
			"Bearer é", "Bearer " + fmt.Sprintf("%064x", 0)} {
			for i, r := range s.routes(t) {
				if i > 0 && authorization != "" && authorization != "Bearer a.b.c" {
					break // one route each will do
				}
				a := s.call(t, r, "Authorization", authorization)
				a.fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
				if got := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
					t.Errorf("WWW-Authenticate: %q", got)
				}
			}
		}
	})
	t.Run("allowed", func(t *testing.T) {
		t.Parallel()
		for _, scheme := range []string{"Bearer", "bearer", "BEARER"} { // RFC 9110, 11.1: case does not matter
			s.do(t, "GET", usersPath, "", "Authorization", scheme+" "+adminToken).is(t, http.StatusOK)
		}
	})
	t.Run("elsewhere than in the header", func(t *testing.T) {
		t.Parallel()
		s.do(t, "GET", usersPath+"?access_token=tok", "", "Authorization", "").fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
		s.do(t, "GET", usersPath, "", "Authorization", "", "Cookie", "token="+adminToken).fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
		s.do(t, "GET", usersPath, "", "Authorization", "", "X-Authorization", "Bearer "+adminToken).fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
	})
	t.Run("two headers", func(t *testing.T) { // which of the two is the caller?
		t.Parallel()
		req := s.request(t, "GET", usersPath, "")
		req.Header["Authorization"] = []string{"Bearer " + adminToken, "Bearer nobody's"}
		s.doRequest(t, req, nil).fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
	})
	t.Run("not needed", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/openapi.json", "/ai/admin/docs", "/livez", "/readyz", "/readyz?verbose"} {
			s.do(t, "GET", path, "", "Authorization", "").is(t, http.StatusOK)
			s.do(t, "GET", path, "", "Authorization", "Bearer nobody's").is(t, http.StatusOK)
		}
	})
}

// TestAuthDisabled holds that a service told so serves everybody.
func TestAuthDisabled(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t), func(m mounts) {
		delete(m, "auth")
		m["config"]["config.yaml"] += "auth: disabled\n"
	})
	for _, r := range s.routes(t) {
		s.requestWithout(t, r).is(t, r.success)
	}
}

// requestWithout calls a route with no token; the document says that it needs one, which is
// why its security alone is not held against it.
func (s *service) requestWithout(t testing.TB, r route) answer {
	t.Helper()
	return s.call(t, r, "Authorization", "Bearer anything")
}

// TestTokenExpires holds that a token works until its expiresAt and says, from then on, that it has expired.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	for at, status := range map[string]int{"2020-01-01T00:00:00Z": 401, "2999-01-01T00:00:00+01:00": 200} {
		s := serve(t, database(t), func(m mounts) {
			last := token{secondToken, []string{"users:read"}}
			m["auth"]["tokens.json"] = strings.TrimSuffix(tokensJSON(t, []token{defaultTokens[0], last}), "}]") + `,"expiresAt":"` + at + `"}]`
		})
		a := s.do(t, "GET", usersPath, "", "Authorization", "Bearer "+secondToken).is(t, status)
		if status == 401 && !strings.Contains(a.fails(t, 401, "UNAUTHENTICATED").Detail, "expired") {
			t.Errorf("%s", a.body)
		}
	}
}
