// Package gateways runs the examples in config/gateways with the real programs, between a client
// and a made-up AI provider. Envoy cannot be had from Debian: its behaviour is played by a client, and its
// configuration is judged in test/envoy.
package gateways

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// credential is what each user holds for the provider; it must never reach a client.
const credential = "sk-planted-credential"

// setup is one gateway between a client and a provider.
type setup struct {
	gateway
	service  *service
	provider *provider
	address  string
	client   *http.Client
}

func TestGateways(t *testing.T) {
	t.Parallel()
	for _, g := range gateways {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			find(t, g.program)
			s := newSetup(t, g)
			t.Run("allowed", s.allowed)
			t.Run("refused", s.refused)
			t.Run("listing", s.listing)
			t.Run("forged headers", s.forged)
			t.Run("two MiB", s.large)
			t.Run("duplicate model", s.duplicate)
			t.Run("two credentials", s.twoCredentials)
			t.Run("stream", s.stream)
			t.Run("database away", s.databaseAway)
		})
	}
}

func newSetup(t *testing.T, g gateway) *setup {
	t.Helper()
	s := &setup{gateway: g, service: newService(t), provider: newProvider(t),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableCompression: true}}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.address = g.run(t, s.service.address, s.provider.address(), s.service.token).address
	return s
}

// answer is what the client gets.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *setup) send(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	got, err := s.begin(t, method, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK && bytes.Contains(append(text, fmt.Sprint(got.Header)...), []byte("planted")) {
		t.Errorf("%s %s: the client sees the credential: %v %s", method, path, got.Header, text)
	}
	return answer{got.StatusCode, got.Header, text}
}

func (s *setup) begin(t *testing.T, method, path, body string, headers ...string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(path, `\`) {
		r.URL.Opaque = path // as it is
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	return s.client.Do(r)
}

// chat asks for a completion.
func (s *setup) chat(t *testing.T, p person, body string, headers ...string) answer {
	t.Helper()
	return s.chatAt(t, "/v1/chat/completions", p, body, headers...)
}

func (s *setup) chatAt(t *testing.T, path string, p person, body string, headers ...string) answer {
	t.Helper()
	return s.send(t, http.MethodPost, path, body, append(headers, "Authorization: Bearer "+p.key)...)
}

// reached is what reached the provider.
func (a answer) reached(t *testing.T) (c call) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("refused: %d %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &c); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return c
}

// wantRefusal judges an answer that must not come from the provider.
func (s *setup) wantRefusal(t *testing.T, what string, got answer, status int, code string) {
	t.Helper()
	if got.status != status {
		t.Errorf("%s: %d %s, want %d", what, got.status, got.body, status)
	}
	if s.problems && !bytes.Contains(got.body, []byte(`"`+code+`"`)) {
		t.Errorf("%s: %s, want %s", what, got.body, code)
	}
	if status == http.StatusUnauthorized && got.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("%s: WWW-Authenticate: %q", what, got.header.Get("WWW-Authenticate"))
	}
}

// seen is the model that the gateway sees in a body.
func (s *setup) seen(model string) string {
	if s.seesBody {
		return model
	}
	return "unknown"
}

func (s *setup) allowed(t *testing.T) {
	p := s.service.user(t, nil)
	for _, header := range []string{"Authorization: Bearer " + p.key, "x-api-key: " + p.key, "api-key: " + p.key, "x-goog-api-key: " + p.key} {
		got := s.send(t, http.MethodPost, "/v1/chat/completions", `{"model":"gpt-5"}`, header).reached(t)
		for name, want := range map[string]string{"Authorization": "Bearer " + credential, "X-Ai-User": p.id, "X-Ai-Role": "member", "X-Ai-Model": s.seen("gpt-5"),
			"X-Ai-Tokens-Per-Minute": "unlimited", "X-Api-Key": "", "Api-Key": "", "X-Goog-Api-Key": "", "X-Ai-Gateway-Token": ""} {
			if strings.Join(got.Header.Values(name), "|") != want {
				t.Errorf("%s: %q, want %q", name, got.Header.Values(name), want)
			}
		}
		if got.Model != "gpt-5" || got.Path != "/v1/chat/completions" || strings.Contains(fmt.Sprint(got.Header), p.key) {
			t.Errorf("the provider got %+v", got)
		}
	}
}

func (s *setup) refused(t *testing.T) {
	before := s.provider.called()
	for code, members := range map[string]map[string]any{
		"SUSPENDED": {"status": "suspended"}, "EXPIRED": {"expiresAt": "2020-01-01T00:00:00Z"}, "LIMIT_ZERO": {"limits": map[string]any{"tokensPerMinute": 0}},
		"NO_CREDENTIAL": {"credentials": map[string]any{}},
	} {
		s.wantRefusal(t, code, s.chat(t, s.service.user(t, members), `{"model":"gpt-5"}`), http.StatusForbidden, code)
	}
	for _, key := range []string{"", "aik_wrong", "sk-other"} {
		s.wantRefusal(t, key, s.chat(t, person{key: key}, `{"model":"gpt-5"}`), http.StatusUnauthorized, "INVALID_KEY")
	}
	s.wantRefusal(t, "no key", s.send(t, http.MethodPost, "/v1/chat/completions", `{"model":"gpt-5"}`), http.StatusUnauthorized, "INVALID_KEY")
	listed := s.service.user(t, map[string]any{"models": []string{"gpt-*"}})
	code := "MODEL_REQUIRED"
	if s.seesBody {
		code = "MODEL_NOT_ALLOWED"
		s.chat(t, listed, `{"model":"gpt-5"}`).reached(t)
		before++
	}
	s.wantRefusal(t, "another model", s.chat(t, listed, `{"model":"claude"}`), http.StatusForbidden, code)
	s.wantRefusal(t, "no model", s.chat(t, listed, `{}`), http.StatusForbidden, "MODEL_REQUIRED")
	s.wantRefusal(t, "a model named *", s.chat(t, listed, `{"model":"*"}`), http.StatusForbidden, code)
	if after := s.provider.called(); after != before {
		t.Errorf("%d refused calls reached the provider", after-before)
	}
}

func (s *setup) listing(t *testing.T) {
	listed := s.service.user(t, map[string]any{"models": []string{"gpt-*"}})
	if got := s.send(t, http.MethodGet, "/v1/models", "", "x-api-key: "+listed.key).reached(t); got.Header.Get("X-Ai-Model") != "*" {
		t.Errorf("model %q", got.Header.Get("X-Ai-Model"))
	}
	before := s.provider.called()
	// Addresses in which a provider may read another model than the body's.
	for _, path := range []string{"/openai/deployments/claude/chat/completions", "/v1/x/..;/deployments/claude/chat", "/v1/x/%252e%252e/chat", `/v1/x\..\chat`} {
		if got := s.chatAt(t, path, listed, `{"model":"gpt-5"}`); got.status < 400 {
			t.Errorf("POST %s: %d %s", path, got.status, got.body)
		}
	}
	for _, odd := range []string{"DELETE /v1/models", "POST /v1/models", "GET /V1/MODELS", "GET //v1/models", "GET /v1/x/../models", "GET /v1/%2e/models",
		"GET /openai/deployments/gpt-5%2Fsecret/chat", "GET /openai/deployments/claude/../gpt-5/chat", "GET /openai/deployments/gpt-5/../claude/chat",
		"GET /openai/deployments/gpt-5/%252e%252e/claude/chat", "GET /openai/deployments/gpt-5/..;/claude/chat", "GET /openai/deployments/*/chat",
		`GET /openai/deployments/gpt-5\..\claude/chat`} {
		method, path, _ := strings.Cut(odd, " ")
		if got := s.send(t, method, path, `{"model":"claude"}`, "x-api-key: "+listed.key); got.status < 400 {
			t.Errorf("%s: %d %s", odd, got.status, got.body)
		}
	}
	if after := s.provider.called(); after != before {
		t.Errorf("%d odd calls reached the provider", after-before)
	}
	none := s.service.user(t, map[string]any{"models": []string{}})
	s.wantRefusal(t, "nothing allowed", s.send(t, http.MethodGet, "/v1/models", "", "x-api-key: "+none.key), http.StatusForbidden, "MODEL_NOT_ALLOWED")
}

func (s *setup) forged(t *testing.T) {
	forged := []string{"X-AI-User: 1", "X-AI-User-Tag: root", "X-AI-Role: admin", "X-AI-Key: 1", "X-AI-Model: gpt-5", "X-AI-Requests-Per-Minute: 1", "X-AI-Tokens-Per-Minute: 1",
		"X-AI-Monthly-Budget-USD: 1", "X-AI-Version: 1", "X-AI-Credential: sk-forged", "X-AI-Gateway-Token: aia_forged", "x-ai-eg-model: gpt-5", "x-envoy-auth-partial-body: true", "X_AI_User: forged", "X_AI-Role: forged"}
	p := s.service.user(t, nil)
	got := s.chat(t, p, `{"model":"claude"}`, forged...).reached(t)
	for name, want := range map[string]string{"X-Ai-User": p.id, "X-Ai-Role": "member", "X-Ai-Model": s.seen("claude"), "X-Ai-Tokens-Per-Minute": "unlimited", "X-Ai-Credential": "", "X-Ai-Gateway-Token": "",
		"X-Ai-Eg-Model": "", "X-Envoy-Auth-Partial-Body": ""} {
		if strings.Join(got.Header.Values(name), "|") != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Values(name), want)
		}
	}
	if strings.Contains(fmt.Sprint(got.Header), "forged") {
		t.Errorf("the provider got %v", got.Header)
	}
	// What Connection names, a proxy may take away: also what the check says.
	if got := s.chat(t, p, `{"model":"gpt-5"}`, "Connection: close, X-AI-User, X-AI-Role"); got.status != http.StatusBadRequest {
		if to := got.reached(t); to.Header.Get("X-Ai-User") != p.id || to.Header.Get("X-Ai-Role") != "member" {
			t.Errorf("the client took away what the check says: %v", to.Header)
		}
	}
	listed := s.service.user(t, map[string]any{"models": []string{"gpt-*"}})
	if got := s.chat(t, listed, `{"model":"claude"}`, forged...); got.status != http.StatusForbidden {
		t.Errorf("a forged model: %d %s", got.status, got.body)
	}
	s.chat(t, p, `{"model":"gpt-5"}`, "X-AI-Subject: id:"+listed.id).reached(t)
	s.wantRefusal(t, "a subject alone", s.send(t, http.MethodPost, "/v1/chat/completions", `{}`, "X-AI-Subject: id:"+p.id), http.StatusUnauthorized, "INVALID_KEY")
}

func (s *setup) large(t *testing.T) {
	body := `{"messages":"` + strings.Repeat("x", 2<<20) + `","model":"gpt-5"}`
	all, listed := s.service.user(t, nil), s.service.user(t, map[string]any{"models": []string{"gpt-*"}})
	if got := s.chat(t, all, body).reached(t); got.Bytes != len(body) || got.Model != "gpt-5" {
		t.Errorf("the provider got %d bytes of %d", got.Bytes, len(body))
	}
	if s.limit > len(body) {
		s.chat(t, listed, body).reached(t)
	} else {
		s.refusedEarly(t, listed, body)
	}
	if seen := `{"messages":"` + strings.Repeat("x", 40_000) + `","model":"gpt-5"}`; s.limit > len(seen) {
		s.chat(t, listed, seen).reached(t)
	}
}

// refusedEarly sends a body that is refused before all of it has come: the answer may not get through.
func (s *setup) refusedEarly(t *testing.T, p person, body string) {
	t.Helper()
	before := s.provider.called()
	got, err := s.begin(t, http.MethodPost, "/v1/chat/completions", body, "x-api-key: "+p.key)
	if err == nil {
		_ = got.Body.Close()
		if got.StatusCode != http.StatusForbidden {
			t.Errorf("%d bytes: %d", len(body), got.StatusCode)
		}
	}
	if s.provider.called() != before {
		t.Errorf("%d bytes reached the provider", len(body))
	}
}

func (s *setup) duplicate(t *testing.T) {
	listed := s.service.user(t, map[string]any{"models": []string{"gpt-*"}})
	for _, body := range []string{`{"model":"gpt-5","model":"claude"}`, `{"model":"claude","model":"gpt-5"}`, `{"model":"gpt-5","mod\u0065l":"claude"}`, `{"model":"gpt-5","Model":"claude"}`} {
		s.wantRefusal(t, body, s.chat(t, listed, body), http.StatusForbidden, "MODEL_REQUIRED")
	}
	const disguised = `{"model":"gpt-5","x":"&model=claude&"}` // a provider may read it as a form
	s.wantRefusal(t, disguised, s.chat(t, listed, disguised, "Content-Type: application/x-www-form-urlencoded"), http.StatusForbidden, "MODEL_REQUIRED")
}

func (s *setup) twoCredentials(t *testing.T) {
	p, before := s.service.user(t, nil), s.provider.called()
	for _, headers := range [][]string{{"x-api-key: " + p.key}, {"x-goog-api-key: " + p.key}, {"Authorization: Bearer " + p.key}, {"Authorization: Basic eDp5"}} {
		if got := s.chat(t, p, `{"model":"gpt-5"}`, headers...); got.status != http.StatusUnauthorized && got.status != http.StatusBadRequest {
			t.Errorf("%v: %d", headers[0][:10], got.status)
		}
	}
	if s.provider.called() != before {
		t.Error("the provider was called")
	}
}

// stream suspends a user while a stream of its runs: the stream goes on, the next call is refused.
func (s *setup) stream(t *testing.T) {
	p := s.service.user(t, nil)
	got, err := s.begin(t, http.MethodPost, "/v1/chat/completions", `{"model":"gpt-5","stream":true}`, "Authorization: Bearer "+p.key)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	lines, last := bufio.NewScanner(got.Body), ""
	read := func(n int) {
		for i := range n {
			if !lines.Scan() {
				t.Fatalf("the stream (%d) has ended after %d lines with %q: %v", got.StatusCode, i, last, lines.Err())
			}
			last = lines.Text()
		}
	}
	read(10)
	s.service.suspend(t, p)
	s.wantRefusal(t, "suspended", s.chat(t, p, `{"model":"gpt-5"}`), http.StatusForbidden, "SUSPENDED")
	read(10)
	s.provider.finish()
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if last != "data: [DONE]" {
		t.Errorf("the stream ended with %q", last)
	}
}

// databaseAway comes last: the database stays away.
func (s *setup) databaseAway(t *testing.T) {
	p := s.service.user(t, nil)
	s.chat(t, p, `{"model":"gpt-5"}`).reached(t)
	before := s.provider.called()
	s.service.stopDatabase(t)
	got := s.chat(t, p, `{"model":"gpt-5"}`)
	s.wantRefusal(t, "away", got, http.StatusServiceUnavailable, "DATABASE_UNAVAILABLE")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.wantRefusal(t, "malformed by itself", s.chat(t, person{key: "aik_x"}, `{}`), http.StatusUnauthorized, "INVALID_KEY")
	if s.provider.called() != before {
		t.Error("the provider was called")
	}
}

// TestTheUsualSlip forgets to take the Content-Length away: nginx then declares a body to the check
// that it never sends, on a connection that is kept. Each answer must come at once all the same.
func TestTheUsualSlip(t *testing.T) {
	t.Parallel()
	g := gateway{name: "nginx that declares a body", program: "nginx", folder: "nginx", start: func(t *testing.T, dir, address string) []string {
		edit(t, filepath.Join(dir, "nginx-plain.conf"), "            proxy_set_header Content-Length \"\";\n", "")
		return nginx("nginx-plain.conf")(t, dir, address)
	}}
	find(t, g.program)
	s := newSetup(t, g)
	p := s.service.user(t, nil)
	for range 10 {
		begun := time.Now()
		s.chat(t, p, `{"model":"gpt-5","messages":"hello"}`).reached(t)
		if took := time.Since(begun); took > 2*time.Second {
			t.Fatalf("the answer took %s", took)
		}
	}
}
