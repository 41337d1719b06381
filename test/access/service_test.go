// Package access tests run-time access as gateways and administrators meet it: the whole service on a
// real database, over HTTP.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/test/logtest"
	"aiadmin/test/mounttest"
	"aiadmin/test/openapitest"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// tokens are made once: their entries are in every service's mounts.
var tokens = func() (all struct{ admin, gateway, plain, keys, reader, scim, entries string }) {
	var entries []auth.Token
	for _, t := range []struct {
		into   *string
		name   string
		scopes []auth.Scope
	}{
		{&all.admin, "admin", []auth.Scope{auth.Admin}}, {&all.gateway, "gateway", []auth.Scope{auth.AccessCheck, auth.CredentialsRead}},
		{&all.plain, "plain", []auth.Scope{auth.AccessCheck}}, {&all.keys, "keys", []auth.Scope{auth.KeysWrite}},
		{&all.reader, "reader", []auth.Scope{auth.UsersRead}}, {&all.scim, "okta", []auth.Scope{auth.SCIM}},
	} {
		plain, entry, err := auth.NewToken(t.name, t.scopes...)
		if err != nil {
			panic(err)
		}
		*t.into, entries = plain.Reveal(), append(entries, entry)
	}
	text, err := json.Marshal(entries)
	if err != nil {
		panic(err)
	}
	all.entries = string(text)
	return all
}()

// service is one copy of ai-admin.
type service struct {
	url     string
	metrics http.Handler
	log     *logtest.Buffer
	client  *http.Client
	stop    func()
}

// start runs a copy on a database.
func start(t testing.TB, database, config string, options ...func(*app.Options)) *service {
	t.Helper()
	s := &service{log: &logtest.Buffer{}, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	o := app.Options{Log: s.log, Mounts: mounttest.Volumes(t, map[string]string{"postgres/PG_URL": database, "vault/k1": strings.Repeat("5a", 32),
		"vault/PRIMARY": "k1", "auth/tokens.json": tokens.entries, "config/config.yaml": config})}
	for _, change := range options {
		change(&o)
	}
	a, err := app.New(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Start(t.Context())
	server := httptest.NewServer(a.Handler())
	s.url, s.metrics = server.URL, a.Metrics()
	s.stop = sync.OnceFunc(func() {
		s.client.CloseIdleConnections()
		server.Close()
		if err := a.Stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("stop: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request with headers given as "Name: value".
func (s *service) send(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	got, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(path, "/keys") {
		openapitest.Validator(t).Check(t, r, []byte(body), got, text)
	}
	return answer{got.StatusCode, got.Header, string(text)}
}

// do sends a request as the administrator.
func (s *service) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	headers = append(headers, "Authorization: Bearer "+tokens.admin)
	if body != "" {
		media := "application/json"
		if method == http.MethodPatch {
			media = "application/merge-patch+json"
		}
		headers = append(headers, "Content-Type: "+media)
	}
	return s.send(t, method, path, body, headers...)
}

// into holds the status and decodes the body.
func (a answer) into(t testing.TB, status int, into any) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%d %s, want %d", a.status, a.body, status)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// fails holds the status and the errorCode.
func (a answer) fails(t testing.TB, status int, code string) {
	t.Helper()
	var problem struct{ ErrorCode string }
	if a.into(t, status, &problem); problem.ErrorCode != code {
		t.Errorf("%s, want %s", a.body, code)
	}
}

// person is a user as its own routes show it.
type person struct {
	ID, Tag string
	Version int
	Keys    []key
}

// key is one as its own routes show it.
type key struct {
	ID, UserID, Name, Hint, Status, CreatedBy, Secret string
	Models                                            *[]string
	CreatedAt                                         time.Time
	ExpiresAt, LastUsedAt, PreviousValidUntil         *time.Time
}

const users = "/ai/admin/users"

func (p person) path() string { return users + "/" + p.ID }

func (k key) path() string { return users + "/" + k.UserID + "/keys/" + k.ID }

var lastTag atomic.Int64

// user makes one; members are added to the body as JSON text.
func (s *service) user(t testing.TB, members ...string) (p person) {
	t.Helper()
	body := fmt.Sprintf(`{"tag":"t%d","name":"Ada"`, lastTag.Add(1))
	for _, member := range members {
		body += "," + member
	}
	s.do(t, http.MethodPost, users, body+"}").into(t, http.StatusCreated, &p)
	return p
}

func (s *service) issue(t testing.TB, p person, members ...string) (k key) {
	t.Helper()
	body := fmt.Sprintf(`{"name":"k%d"`, lastTag.Add(1))
	for _, member := range members {
		body += "," + member
	}
	s.do(t, http.MethodPost, p.path()+"/keys", body+"}").into(t, http.StatusCreated, &k)
	return k
}

func (s *service) change(t testing.TB, path, body string) {
	t.Helper()
	if got := s.do(t, http.MethodPatch, path, body); got.status != http.StatusOK {
		t.Fatalf("PATCH %s %s: %d %s", path, body, got.status, got.body)
	}
}

// check asks by forward authorization whether a secret may use a model: "" for allowed, or the reason.
func (s *service) check(t testing.TB, secret, model string, headers ...string) string {
	t.Helper()
	return s.send(t, http.MethodGet, "/ai/admin/authorize/_", "", append(headers, "X-AI-Gateway-Token: "+tokens.gateway, "x-api-key: "+secret, "X-AI-Model: "+model)...).reason(t)
}

func (a answer) reason(t testing.TB) string {
	t.Helper()
	if a.status == http.StatusOK {
		return ""
	}
	var problem struct{ ErrorCode string }
	if err := json.Unmarshal([]byte(a.body), &problem); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return problem.ErrorCode
}

func (s *service) metricsText(t testing.TB) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}
