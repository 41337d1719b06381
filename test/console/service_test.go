package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

// service is one copy of ai-admin with the console.
type service struct {
	testing.TB
	url, mounts, token string
	entries            []auth.Token
	database           string
}

const config = "console: {enabled: true}\nmetricsPort: 0\n"

// start runs the service on a database of its own.
func start(t testing.TB, settings string, options ...func(*app.Options)) *service {
	t.Helper()
	s := &service{TB: t, mounts: t.TempDir(), database: pgtest.Database(t)}
	s.token = s.addToken("ada", auth.Admin)
	s.lay("postgres", map[string]string{"PG_URL": s.database})
	s.lay("vault", map[string]string{"k1": strings.Repeat("5a", 32), "PRIMARY": "k1"})
	s.lay("config", map[string]string{"config.yaml": config + settings})
	o := app.Options{Mounts: s.mounts, Log: io.Discard}
	for _, change := range options {
		change(&o)
	}
	a, err := app.New(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Start(context.WithoutCancel(t.Context()))
	server := httptest.NewServer(a.Handler())
	s.url = server.URL
	t.Cleanup(func() {
		a.EndStreams()
		server.CloseClientConnections()
		server.Close()
		if err := a.Stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("stop: %v", err)
		}
	})
	s.ready()
	return s
}

func (s *service) lay(volume string, files map[string]string) {
	s.Helper()
	if err := mounttest.Write(filepath.Join(s.mounts, volume), files); err != nil {
		s.Fatal(err)
	}
}

// addToken makes a token and puts its entry into the mounts.
func (s *service) addToken(name string, scopes ...auth.Scope) string {
	s.Helper()
	plain, entry, err := auth.NewToken(name, scopes...)
	if err != nil {
		s.Fatal(err)
	}
	s.entries = append(s.entries, entry)
	s.layTokens()
	return plain.Reveal()
}

func (s *service) layTokens() {
	text, err := json.Marshal(s.entries)
	if err != nil {
		s.Fatal(err)
	}
	s.lay("auth", map[string]string{"tokens.json": string(text)})
}

// revoke takes a token away.
func (s *service) revoke(name string) {
	var kept []auth.Token
	for _, one := range s.entries {
		if one.Name != name {
			kept = append(kept, one)
		}
	}
	s.entries = kept
	s.layTokens()
}

// closeDatabase has PostgreSQL refuse connections to the service's database, and ends those that there are.
func (s *service) closeDatabase() {
	s.Helper()
	c, err := pgx.ParseConfig(s.database)
	if err != nil {
		s.Fatal(err)
	}
	name := c.Database
	c.Database = "postgres"
	conn, err := pgx.ConnectConfig(s.Context(), c)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(s.Context(), "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH ALLOW_CONNECTIONS false"); err != nil {
		s.Fatal(err)
	}
	if _, err := conn.Exec(s.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name); err != nil {
		s.Fatal(err)
	}
}

func (s *service) ready() {
	s.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get(s.url + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
	}
	s.Fatal("the service does not become ready")
}

// send sends a request to the API, and returns the status and the answer. A path with a slash before it is the whole one.
func (s *service) send(method, path, token, mediaType, body string) (int, string) {
	s.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/ai/admin/" + path
	}
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", mediaType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// api asks the API and decodes its answer.
func (s *service) api(method, path, body string) map[string]any {
	s.Helper()
	status, text := s.send(method, path, s.token, "application/json", body)
	if status >= 400 {
		s.Fatalf("%s %s: %s", method, path, text)
	}
	var decoded map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal([]byte(text), &decoded); err != nil {
			s.Fatal(err)
		}
	}
	return decoded
}

// create makes a user and returns the id.
func (s *service) create(body string) string {
	s.Helper()
	id, _ := s.api("POST", "users", body)["id"].(string)
	return id
}

// people makes many users by an import.
func (s *service) people(n int) {
	s.Helper()
	var file strings.Builder
	for i := range n {
		fmt.Fprintf(&file, `{"tag":"p%04d","name":"Person %04d","email":"p%04d@example.com","models":["gpt-5*"],"limits":{"requestsPerMinute":%d},"metadata":{"team":"t%d"}}`+"\n", i, i, i, i+1, i%7)
	}
	_, text := s.send("POST", "users/import?results=failed", s.token, "application/x-ndjson", file.String())
	if want := fmt.Sprintf(`"created":%d`, n); !strings.Contains(text, want) {
		s.Fatalf("import: %.1000s", text)
	}
}

// addTokenNow adds a token and waits until the service knows it.
func (s *service) addTokenNow(name string, scopes ...auth.Scope) string {
	s.Helper()
	token := s.addToken(name, scopes...)
	s.know(token)
	return token
}

// know waits until a token is taken.
func (s *service) know(token string) {
	s.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if status, _ := s.send("GET", "users", token, "", ""); status != http.StatusUnauthorized {
			return
		}
	}
	s.Fatal("the token is not taken")
}

// client is somebody signed in without a browser.
type client struct {
	http.Client
	s *service
}

func (s *service) client(t testing.TB, token string) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{http.Client{Jar: jar, Transport: &http.Transport{DisableCompression: true}}, s} // the sizes are those on the wire
	t.Cleanup(c.CloseIdleConnections)
	answer, err := c.PostForm(s.url+"/ai/admin/console/signin", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return c
}

// do sends a request and reads the answer.
func (c *client) do(request *http.Request) (*http.Response, string) {
	c.s.Helper()
	answer, err := c.Do(request)
	if err != nil {
		c.s.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		c.s.Fatal(err)
	}
	return answer, string(body)
}

// get reads a page of the service.
func (c *client) get(path string) (*http.Response, string) {
	c.s.Helper()
	request, err := http.NewRequest(http.MethodGet, c.s.url+path, nil)
	if err != nil {
		c.s.Fatal(err)
	}
	return c.do(request)
}
