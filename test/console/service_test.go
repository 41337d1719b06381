package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// api asks the API and decodes its answer.
func (s *service) api(method, path, body string) map[string]any {
	s.Helper()
	request, err := http.NewRequest(method, s.url+"/ai/admin/"+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	if answer.StatusCode >= 400 {
		s.Fatalf("%s %s: %s", method, path, text)
	}
	var decoded map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &decoded); err != nil {
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
	var file bytes.Buffer
	for i := range n {
		fmt.Fprintf(&file, `{"tag":"p%04d","name":"Person %04d","email":"p%04d@example.com","models":["gpt-5*"],"limits":{"requestsPerMinute":%d},"metadata":{"team":"t%d"}}`+"\n", i, i, i, i+1, i%7)
	}
	request, err := http.NewRequest(http.MethodPost, s.url+"/ai/admin/users/import?results=failed", &file)
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if want := fmt.Sprintf(`"created":%d`, n); err != nil || !strings.Contains(string(text), want) {
		s.Fatalf("import: %v %.1000s", err, text)
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
		request, err := http.NewRequest(http.MethodGet, s.url+"/ai/admin/users", nil)
		if err != nil {
			s.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			s.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			return
		}
	}
	s.Fatal("the token is not taken")
}
