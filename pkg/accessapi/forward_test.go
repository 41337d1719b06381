package accessapi_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

const authorize = "/ai/admin/authorize"

// allowHeaders are all that an allowed check has.
var allowHeaders = []string{"X-AI-User", "X-AI-User-Tag", "X-AI-Role", "X-AI-Key", "X-AI-Model", "X-AI-Requests-Per-Minute",
	"X-AI-Tokens-Per-Minute", "X-AI-Monthly-Budget-USD", "X-AI-Version", "X-AI-Credential"}

// want judges an answer: "" for allowed, or an errorCode.
func (got reply) want(t testing.TB, what, code string) {
	t.Helper()
	if got.header.Get("Set-Cookie") != "" || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s: cookies or CORS in %v", what, got.header)
	}
	if code == "" {
		for _, name := range allowHeaders {
			if len(got.header.Values(name)) != 1 || got.header.Get(name) == "" {
				t.Errorf("%s: %s is %q", what, name, got.header.Values(name))
			}
		}
		if got.status != http.StatusOK || got.body != "" || got.header.Get("Cache-Control") == "" {
			t.Errorf("%s: %d %q %v", what, got.status, got.body, got.header)
		}
		return
	}
	var problem struct {
		Status                   int
		ErrorCode, Detail, Title string
	}
	if err := json.Unmarshal([]byte(got.body), &problem); err != nil || problem.ErrorCode != code || problem.Status != got.status {
		t.Errorf("%s: %d %s, want %s", what, got.status, got.body, code)
	}
	for name := range got.header {
		if strings.HasPrefix(name, "X-Ai-") {
			t.Errorf("%s: a refusal has %s", what, name)
		}
	}
	statuses := map[string]int{"INVALID_KEY": 401, "UNAUTHENTICATED": 401, "DATABASE_UNAVAILABLE": 503, "NOT_FOUND": 404, "TIMEOUT": 504}
	status, ok := statuses[code]
	if !ok {
		status = http.StatusForbidden
	}
	if got.status != status || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %d %v, want %d and no-store", what, got.status, got.header, status)
	}
	if challenge := got.header.Get("WWW-Authenticate"); code == "INVALID_KEY" && challenge != `Bearer error="invalid_token"` {
		t.Errorf("%s: challenge %q", what, challenge)
	}
}

func TestForwardAllows(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, k, key := g.user("ada")
	requests, budget := int64(60), user.Cents(1250)
	s.Limits = user.Limits{RequestsPerMinute: &requests, MonthlyBudgetUSD: &budget}
	g.credentials["ada openai"] = "sk-live secret"
	got := g.ask(t, http.MethodGet, authorize+"/openai/v1/chat/completions?model=x;%zz", "", "X-AI-Gateway-Token: "+g.token, "Authorization: Bearer "+key, "X-AI-Model: gpt-5")
	got.want(t, "allowed", "")
	for name, want := range map[string]string{"X-AI-User": s.ID.String(), "X-AI-User-Tag": "ada", "X-AI-Role": "member", "X-AI-Key": k.ID.String(),
		"X-AI-Model": "gpt-5", "X-AI-Requests-Per-Minute": "60", "X-AI-Tokens-Per-Minute": "unlimited", "X-AI-Monthly-Budget-USD": "12.5",
		"X-AI-Version": "7", "X-AI-Credential": "sk-live secret", "Cache-Control": "no-store", "Content-Length": "0"} {
		if value := got.header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
}

func TestForwardCallers(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, _, key := g.user("ada")
	_, _, other := g.user("eve")
	damaged := key[:20] + "0" + key[21:]
	if damaged == key {
		damaged = key[:20] + "1" + key[21:]
	}
	for _, test := range []struct {
		headers []string
		code    string
	}{
		{[]string{"Authorization: Bearer " + key}, ""}, {[]string{"Authorization: bearer  " + key}, ""}, {[]string{"x-api-key: " + key}, ""},
		{[]string{"api-key: " + key}, ""}, {[]string{"x-goog-api-key: " + key}, ""}, {[]string{"Authorization: Basic YTpi", "x-api-key: " + key}, ""},
		{[]string{"X-AI-Subject: id:" + s.ID.String()}, ""}, {[]string{"X-AI-Subject: tag:ada"}, ""}, {[]string{"X-AI-Subject: email:ada%2Bai@example.com"}, ""},
		{[]string{"X-AI-Subject: email:ada+ai@example.com"}, ""}, {[]string{"X-AI-Subject: tag%3Aada", "Authorization: Basic YTpi"}, ""},
		{nil, "INVALID_KEY"}, {[]string{"Authorization: Basic YTpi"}, "INVALID_KEY"}, {[]string{"Authorization: " + key}, "INVALID_KEY"},
		{[]string{"Authorization: Bearer " + damaged}, "INVALID_KEY"}, {[]string{"Authorization: Bearer"}, "INVALID_KEY"},
		{[]string{"Authorization: Bearer " + access.NewSecret().Text().Reveal()}, "INVALID_KEY"},
		{[]string{"Authorization: Bearer " + key, "x-api-key: " + key}, "INVALID_KEY"}, {[]string{"Authorization: Bearer " + key, "Authorization: Bearer " + other}, "INVALID_KEY"},
		{[]string{"Authorization: Bearer " + key, "Authorization: Basic YTpi"}, "INVALID_KEY"}, {[]string{"x-api-key: " + key, "x-api-key: " + key}, "INVALID_KEY"},
		{[]string{"x-api-key: " + key, "api-key: "}, "INVALID_KEY"}, {[]string{"x-api-key: Bearer " + key}, "INVALID_KEY"},
		{[]string{"X-AI-Subject: tag:ada", "x-api-key: " + key}, "INVALID_KEY"}, {[]string{"X-AI-Subject: tag:ada", "X-AI-Subject: tag:ada"}, "INVALID_KEY"},
		{[]string{"X-AI-Subject: ada"}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: "}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: tag:"}, "UNKNOWN_SUBJECT"},
		{[]string{"X-AI-Subject: tag:bob"}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: id:ada"}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: name:Ada"}, "UNKNOWN_SUBJECT"},
		{[]string{"X-AI-Subject: id:tag:ada"}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: " + s.ID.String()}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: tag:%zz"}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: tag:%ff"}, "UNKNOWN_SUBJECT"}, {[]string{"X-AI-Subject: tag:ada%00"}, "UNKNOWN_SUBJECT"},
	} {
		got := g.ask(t, http.MethodGet, authorize, "", append(test.headers, "X-AI-Gateway-Token: "+g.token, "X-AI-Model: m")...)
		got.want(t, fmt.Sprint(test.headers), test.code)
	}
}

func TestForwardGateways(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	_, _, key := g.user("ada")
	g.credentials["ada openai"], g.credentials["ada pem"] = "sk-live", "-----BEGIN\nKEY-----"
	for _, test := range []struct {
		path, token, code, credential string
		optional                      bool
	}{
		{path: "/openai", token: g.token, credential: "sk-live"}, {path: "/openai/", token: g.token, credential: "sk-live"},
		{path: "/openai//v1/../x", token: g.token, credential: "sk-live"}, {path: "/openai/v1/../../..", token: g.token, credential: "sk-live"},
		{path: "/%6fpenai", token: g.token, credential: "sk-live"}, {path: "", token: g.token, credential: "none"}, {path: "/_", token: g.token, credential: "none"},
		{path: "/_//v1/../x", token: g.token, credential: "none"}, {path: "/openai", token: g.plain, credential: "none"}, {path: "/azure", token: g.plain, credential: "none"},
		{path: "/azure", token: g.token, code: "NO_CREDENTIAL"}, {path: "/pem", token: g.token, code: "NO_CREDENTIAL"}, {path: "/OpenAI!", token: g.token, code: "NO_CREDENTIAL"},
		{path: "/", token: g.token, code: "NOT_FOUND"}, {path: "//openai", token: g.token, code: "NOT_FOUND"}, {path: "/%zz", token: g.token, code: "NOT_FOUND"},
		{path: "", code: "UNAUTHENTICATED"}, {path: "", token: "aia_wrong", code: "UNAUTHENTICATED"}, {path: "", token: g.reader, code: "FORBIDDEN"},
		{path: "/openai", optional: true, credential: "none"}, {path: "/azure", optional: true, credential: "none"},
		{path: "", optional: true, token: "aia_wrong", code: "UNAUTHENTICATED"}, {path: "/openai", optional: true, token: g.token, credential: "sk-live"},
	} {
		if strings.Contains(test.path, "%zz") {
			continue // net/http refuses it before it is a request
		}
		g.settings.TokenOptional = test.optional
		headers := []string{"x-api-key: " + key, "X-AI-Model: m"}
		if test.token != "" {
			headers = append(headers, "X-AI-Gateway-Token: "+test.token)
		}
		got := g.ask(t, http.MethodGet, authorize+test.path, "", headers...)
		got.want(t, fmt.Sprint(test), test.code)
		if value := got.header.Get("X-AI-Credential"); value != test.credential {
			t.Errorf("%v: credential %q", test, value)
		}
	}
	g.settings.TokenOptional = true
	g.ask(t, http.MethodGet, authorize, "", "X-AI-Subject: tag:ada").want(t, "a subject without a token", "UNAUTHENTICATED")
	g.ask(t, http.MethodGet, authorize, "", "X-AI-Gateway-Token: "+g.token, "X-AI-Gateway-Token: "+g.token, "x-api-key: "+key).want(t, "two tokens", "UNAUTHENTICATED")
	if got := g.ask(t, http.MethodGet, authorize+"x", "", "X-AI-Gateway-Token: "+g.token, "x-api-key: "+key); got.status != http.StatusNotFound {
		t.Errorf("another path: %d", got.status)
	}
}

// TestForwardModels is where the model comes from, and what is unknown.
func TestForwardModels(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	some, _, limited := g.user("ada")
	some.Models = access.Models{"gpt-*"}
	_, _, all := g.user("eve")
	for _, test := range []struct {
		method, body string
		headers      []string
		model        string // "unknown" for that
		code         string // for whoever may use gpt-* alone
	}{
		{"GET", "", []string{"X-AI-Model: gpt-5"}, "gpt-5", ""}, {"GET", "", []string{"X-AI-Model: claude"}, "claude", "MODEL_NOT_ALLOWED"},
		{"GET", "", []string{"X-AI-Model: *"}, "*", ""}, {"GET", "", []string{"X-AI-Model: gpt-5", "X-AI-Model: gpt-5"}, "unknown", "MODEL_REQUIRED"},
		{"GET", "", []string{"X-AI-Model: "}, "unknown", "MODEL_REQUIRED"}, {"GET", "", nil, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"X-AI-Model: "}, "unknown", "MODEL_REQUIRED"}, {"GET", "", []string{"x-ai-eg-model: gpt-5"}, "gpt-5", ""},
		{"POST", `{"model":"gpt-5"}`, []string{"x-ai-eg-model: claude"}, "claude", "MODEL_NOT_ALLOWED"}, {"GET", "", []string{"x-ai-eg-model: *"}, "*", "MODEL_NOT_ALLOWED"},
		{"POST", `{"model":"gpt-5"}`, []string{"x-ai-eg-model: claude", "X-AI-Model: gpt-4"}, "gpt-4", ""},
		{"POST", `{"model":"gpt-5"}`, nil, "gpt-5", ""}, {"POST", `{"model":"claude"}`, nil, "claude", "MODEL_NOT_ALLOWED"}, {"POST", `{"model":"*"}`, nil, "*", "MODEL_NOT_ALLOWED"},
		{"POST", `{"a":"` + strings.Repeat("x", 2<<20) + `","model":"gpt-5"}`, nil, "gpt-5", ""}, {"POST", `{"model":"gpt-5","model":"claude"}`, nil, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"`, nil, "unknown", "MODEL_REQUIRED"}, {"POST", `model=gpt-5`, []string{"Content-Type: application/x-www-form-urlencoded"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"x-envoy-auth-partial-body: true"}, "unknown", "MODEL_REQUIRED"}, {"POST", `{"model":"gpt-5"}`, []string{"x-envoy-auth-partial-body: false"}, "gpt-5", ""},
		{"POST", `{"model":"gpt-5"}`, []string{"x-envoy-auth-partial-body: false", "x-envoy-auth-partial-body: true"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"x-envoy-auth-partial-body: TRUE"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"Content-Type: application/x-www-form-urlencoded"}, "gpt-5", ""}, // as curl -d sends it
		{"POST", `{"model":"gpt-5","x":"&model=claude&"}`, []string{"Content-Type: application/x-www-form-urlencoded"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5","x":";model=claude"}`, []string{"Content-Type: application/json", "Content-Type: Application/X-WWW-Form-urlencoded"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5","x":"&model=claude&"}`, []string{"Content-Type: application/json"}, "gpt-5", ""},
		{"POST", `{"model":"gpt-5"}`, []string{`Content-Type: application/json; Charset="UTF-8"`, "Content-Encoding: identity"}, "gpt-5", ""},
		{"POST", `{"model":"gpt-5","+AG0AbwBkAGUAbA-":"claude"}`, []string{"Content-Type: application/json; charset=utf-7"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"Content-Type: application/json;charset=utf-8;charset=utf-7"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"Content-Type: application/json, text/plain"}, "unknown", "MODEL_REQUIRED"},
		{"POST", `{"model":"gpt-5"}`, []string{"Content-Encoding: br"}, "unknown", "MODEL_REQUIRED"},
		{"PUT", `{"model":"gpt-5"}`, nil, "unknown", "MODEL_REQUIRED"}, {"POST", "", nil, "unknown", "MODEL_REQUIRED"}, {"DELETE", "", []string{"X-AI-Model: gpt-5"}, "gpt-5", ""},
		{"OPTIONS", "", []string{"X-AI-Model: gpt-5", "Origin: https://console.example.com", "Access-Control-Request-Method: GET"}, "gpt-5", ""}, {"MADEUP", "", []string{"X-AI-Model: gpt-5"}, "gpt-5", ""},
	} {
		headers := append(slices.Clone(test.headers), "X-AI-Gateway-Token: "+g.token)
		what := fmt.Sprintf("%s %.40s %v", test.method, test.body, test.headers)
		g.ask(t, test.method, authorize, test.body, append(headers, "x-api-key: "+limited)...).want(t, what, test.code)
		got := g.ask(t, test.method, authorize, test.body, append(headers, "x-api-key: "+all)...)
		got.want(t, what, "")
		if model := got.header.Get("X-AI-Model"); model != test.model {
			t.Errorf("%s: model %q, want %q", what, model, test.model)
		}
	}
	if got := g.ask(t, "POST", authorize, `{"model":"claude-9"}`, "X-AI-Gateway-Token: "+g.token, "x-api-key: "+limited); !strings.Contains(got.body, "claude-9") || strings.Contains(got.body, "gpt-*") {
		t.Errorf("the refusal does not name the model asked for: %s", got.body)
	}
}

func TestForwardWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	_, _, key := g.user("ada")
	g.away = user.Errorf(user.Unavailable, "the database cannot be reached")
	got := g.ask(t, http.MethodGet, authorize, "", "X-AI-Gateway-Token: "+g.token, "x-api-key: "+key, "X-AI-Model: m")
	got.want(t, "away", "DATABASE_UNAVAILABLE")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	g.ask(t, http.MethodGet, authorize, "", "X-AI-Gateway-Token: "+g.token, "x-api-key: "+key[1:]).want(t, "malformed by itself", "INVALID_KEY")
}

func TestForwardCaching(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, k, key := g.user("ada")
	g.credentials["ada openai"] = "sk-live"
	soon, later := time.Now().Add(3500*time.Millisecond), time.Now().Add(time.Hour)
	g.settings.MaxAge = 5 * time.Second
	headers := []string{"X-AI-Gateway-Token: " + g.token, "x-api-key: " + key}
	control := func(method, path, body string, extra ...string) string {
		got := g.ask(t, method, path, body, append(slices.Clone(headers), extra...)...)
		if cached := got.header.Get("Cache-Control") != "no-store"; cached != (got.header.Get("Vary") != "") {
			t.Errorf("Vary %q", got.header.Get("Vary"))
		}
		return got.header.Get("Cache-Control")
	}
	for name, test := range map[string]struct{ got, want string }{
		"by headers":      {control("GET", authorize, "", "X-AI-Model: m"), "max-age=5"},
		"credential":      {control("GET", authorize+"/openai", "", "X-AI-Model: m"), "no-store"},
		"by body":         {control("POST", authorize, `{"model":"m"}`), "no-store"},
		"a refusal":       {control("GET", authorize+"/azure", "", "X-AI-Model: m"), "no-store"},
		"post by headers": {control("POST", authorize, "", "X-AI-Model: m"), "max-age=5"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", name, test.got, test.want)
		}
	}
	s.ExpiresAt, k.ExpiresAt = &later, &soon
	if got := control("GET", authorize, "", "X-AI-Model: m"); got != "max-age=3" && got != "max-age=2" {
		t.Errorf("a key that expires in 3.5 s: %s", got)
	}
	g.settings.MaxAge = 0
	if got := control("GET", authorize, "", "X-AI-Model: m"); got != "no-store" {
		t.Errorf("not configured: %s", got)
	}
}

// TestADeclaredBodyThatNeverComes is what nginx sends when its body is off and its Content-Length
// is not: the answer must come at once, and the connection must end with it.
func TestADeclaredBodyThatNeverComes(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	_, _, key := g.user("ada")
	address, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "HEAD", "PUT"} {
		for _, head := range []string{"Content-Length: 36", "Content-Length: 3000000", "Transfer-Encoding: chunked"} {
			for _, status := range []int{200, 401} {
				conn, err := net.Dial("tcp", address.Host)
				if err != nil {
					t.Fatal(err)
				}
				presented := key
				if status == http.StatusUnauthorized {
					presented = "aik_wrong"
				}
				begun := time.Now()
				_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\nX-AI-Gateway-Token: %s\r\nx-api-key: %s\r\nX-AI-Model: m\r\n\r\n", method, authorize, head, g.token, presented)
				answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
				if err != nil {
					t.Fatalf("%s %s: %v", method, head, err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				if took := time.Since(begun); answer.StatusCode != status || !answer.Close || took > 2*time.Second {
					t.Errorf("%s %s: %d after %s, closed %t", method, head, answer.StatusCode, took, answer.Close)
				}
				_ = conn.Close()
			}
		}
	}
}

// TestABodyThatWasReadKeepsTheConnection serves many checks with bodies over one connection.
func TestABodyThatWasReadKeepsTheConnection(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	_, _, key := g.user("ada")
	address, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	for i, body := range []string{`{"model":"a"}`, `not JSON at all`, `{"model":"b"}`, strings.Repeat("x", 300_000), `{"model":"c"}`} {
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nX-AI-Gateway-Token: %s\r\nx-api-key: %s\r\n\r\n%s", authorize, len(body), g.token, key, body)
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if answer.StatusCode != http.StatusOK || answer.Close {
			t.Errorf("%d: %d, closed %t", i, answer.StatusCode, answer.Close)
		}
	}
}

// TestRefusalsAreLoggedOnceASecond and allowed checks never; no line has a secret, a hash or a model.
func TestRefusalsAreLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, k, key := g.user("ada")
	_, _, fine := g.user("eve")
	g.credentials["eve openai"] = "sk-planted"
	s.Status = user.Suspended
	unknown := access.NewSecret()
	begun := time.Now()
	for range 50 {
		g.ask(t, "GET", authorize+"/openai", "", "X-AI-Gateway-Token: "+g.token, "x-api-key: "+key, "X-AI-Model: planted-model").want(t, "suspended", "SUSPENDED")
		g.ask(t, "GET", authorize+"/openai", "", "X-AI-Gateway-Token: "+g.token, "x-api-key: "+fine, "X-AI-Model: planted-model").want(t, "fine", "")
		g.ask(t, "GET", authorize, "", "X-AI-Gateway-Token: "+g.token, "x-api-key: "+unknown.Text().Reveal()).want(t, "unknown", "INVALID_KEY")
	}
	seconds := 1 + int(time.Since(begun)/time.Second)
	log := g.log.String()
	if n := strings.Count(log, `"SUSPENDED"`); n < 1 || n > seconds || !strings.Contains(log, k.ID.String()) || !strings.Contains(log, s.ID.String()) {
		t.Errorf("%d lines of the suspended user in %d s:\n%s", n, seconds, log)
	}
	if n := strings.Count(log, "\n"); n > 2*seconds {
		t.Errorf("%d lines in %d s:\n%s", n, seconds, log)
	}
	for _, secret := range []string{key, fine, unknown.Text().Reveal(), g.token, "sk-planted", "planted-model", fmt.Sprintf("%x", unknown.Hash())} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if want := map[string]int{"forward allowed": 50, "forward SUSPENDED": 50, "forward INVALID_KEY": 50}; fmt.Sprint(g.outcomes) != fmt.Sprint(want) {
		t.Errorf("counted %v", g.outcomes)
	}
}

// TestAClientThatGoesAway while its body is awaited is no fault of the service's.
func TestAClientThatGoesAway(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	_, _, key := g.user("ada")
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-AI-Gateway-Token: %s\r\nX-API-Key: %s\r\nContent-Length: 100\r\n\r\n{", authorize, g.token, key)
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		counted := fmt.Sprint(g.outcomes)
		g.mu.Unlock()
		if counted == "map[forward abandoned:1]" {
			return
		}
		if counted != "map[]" || time.Now().After(end) {
			t.Fatalf("counted %s", counted)
		}
	}
}
