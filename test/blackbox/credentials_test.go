package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	reveal := func(t *testing.T, u user, provider, token string) answer {
		t.Helper()
		return s.do(t, "GET", u.path()+"/credentials/"+provider, "", "Authorization", "Bearer "+token)
	}
	for _, tt := range []struct {
		secret string
		hint   string // empty: none
	}{
		{"x", ""}, {"planted1234", ""}, {"planted-1234", "1234"}, {"planted-and-longer-wxyz", "wxyz"},
		{"planted-" + strings.Repeat("é", 5), "éééé"}, {"planted-\"\\\n\u2028🔑", "\\\n\u2028🔑"}, {"ééééééééééé", ""}, // 11 characters, 22 bytes
		{planted + strings.Repeat("k", 4096-len(planted)), "kkkk"},
	} {
		t.Run("secret of "+fmt.Sprint(len(tt.secret)), func(t *testing.T) {
			t.Parallel()
			u := s.create(t, fmt.Sprintf(`"credentials":{"openai":%s}`, quote(tt.secret)))
			for _, shown := range []user{u, s.get(t, u.ID)} {
				if len(shown.Credentials) != 1 {
					t.Fatalf("credentials: %+v", shown.Credentials)
				}
				c := shown.Credentials[0]
				got := ""
				if c.Hint != nil {
					got = *c.Hint
				}
				if c.Provider != "openai" || got != tt.hint || c.KeyID != "key-1" {
					t.Errorf("%+v with the hint %q, want %q", c, got, tt.hint)
				}
			}
			for _, token := range []string{adminToken, revealToken} {
				a := reveal(t, u, "openai", token).is(t, http.StatusOK)
				if got := member(t, a, "secret"); !sameJSON(t, got, quote(tt.secret)) {
					t.Errorf("revealed %s", got)
				}
				if got := a.header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control: %q", got)
				}
			}
		})
	}
	t.Run("by member", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"credentials":{"openai":"planted-openai-1","mistral":"planted-mistral-1"}`)
		u = s.do(t, "PUT", u.path(), `{"credentials":{"openai":"planted-openai-2","cohere":"planted-cohere-1"}}`).is(t, 200).user(t)
		if got := providers(u); got != "cohere mistral openai" || u.Version != 2 {
			t.Errorf("%s, version %d", got, u.Version)
		}
		u = s.do(t, "PATCH", u.path(), `{"credentials":{"mistral":null}}`).is(t, 200).user(t)
		if got := providers(u); got != "cohere openai" || u.Version != 3 {
			t.Errorf("%s, version %d", got, u.Version)
		}
		a := reveal(t, u, "openai", adminToken).is(t, 200)
		if got := member(t, a, "secret"); got != `"planted-openai-2"` {
			t.Errorf("revealed %s", got)
		}
		reveal(t, u, "mistral", adminToken).fails(t, http.StatusNotFound, "NOT_FOUND")
	})
	t.Run("what is not there", func(t *testing.T) {
		t.Parallel()
		u := s.create(t)
		for _, provider := range []string{"openai", "OPENAI", "a.b", "a%20b", "%00", strings.Repeat("x", 64)} {
			if a := reveal(t, u, provider, adminToken); a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
				t.Errorf("%s: %d", provider, a.status)
			}
		}
		reveal(t, user{ID: "01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"}, "openai", adminToken).fails(t, http.StatusNotFound, "NOT_FOUND")
		gone := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)
		s.do(t, "DELETE", gone.path(), "").is(t, http.StatusNoContent)
		reveal(t, gone, "openai", adminToken).fails(t, http.StatusNotFound, "NOT_FOUND")
	})
	t.Run("by whom", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)
		for _, token := range []string{readToken, writeToken, eventsToken, mixedToken} {
			reveal(t, u, "openai", token).fails(t, http.StatusForbidden, "FORBIDDEN")
		}
		s.do(t, "GET", u.path(), "", "Authorization", "Bearer "+revealToken).fails(t, http.StatusForbidden, "FORBIDDEN")
	})
	t.Run("the same secret again", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)
		a := s.do(t, "PUT", u.path(), `{"credentials":{"openai":"planted-openai-1"}}`).is(t, http.StatusOK)
		if v := a.user(t).Version; v != 1 {
			t.Errorf("version %d: setting what is set changes nothing", v)
		}
	})
}

// TestSpaceAroundSecrets takes outer white space off a secret, which no HTTP client could send: it does not
// count, and a secret that is nothing else is none.
func TestSpaceAroundSecrets(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, written := range []string{" planted-secret-1", "planted-secret-1\r\n", "\u3000planted-secret-1\u00a0", "\u0085\tplanted-secret-1\v\f "} {
		u := s.create(t, `"credentials":{"openai":`+quote(written)+`}`)
		if got := member(t, s.do(t, "GET", u.path()+"/credentials/openai", ""), "secret"); got != `"planted-secret-1"` {
			t.Errorf("%q is kept as %s", written, got)
		}
		for _, same := range []string{"planted-secret-1", "\tplanted-secret-1"} {
			if got := s.do(t, "PUT", u.path(), `{"credentials":{"openai":`+quote(same)+`}}`).is(t, http.StatusOK).user(t).Version; got != 1 {
				t.Errorf("%q after %q: version %d", same, written, got)
			}
		}
	}
	for _, blank := range []string{" ", "\n", "\u3000\u00a0"} {
		s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"N","credentials":{"openai":%s}}`, newTag(), quote(blank))).
			fails(t, 400, "VALIDATION_ERROR", "credentials.openai")
	}
}

func providers(u user) string {
	var out []string
	for _, c := range u.Credentials {
		out = append(out, c.Provider)
	}
	return strings.Join(out, " ")
}
