package blackbox

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// soon is how long a changed volume may take to be used.
const soon = 2 * time.Second

// within tries until the condition holds; the service polls its mounts each second.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	const slack = 2 * soon // of a busy machine
	for end := time.Now().Add(soon + slack); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Errorf("not within %s: %s", soon, what)
}

func (s *service) remount(t *testing.T, name string, files map[string]string) {
	t.Helper()
	volume{filepath.Join(s.mounts, name)}.write(t, files)
}

// TestReload changes the mounted volumes of a running service.
func TestReload(t *testing.T) {
	t.Parallel()
	metricsPort := 0
	url := database(t)
	s := serve(t, url, func(m mounts) {
		_, _ = fmt.Sscanf(m["config"]["config.yaml"], "metricsPort: %d", &metricsPort)
	})
	status := func(plain string) int {
		return s.do(t, "GET", usersPath, "", "Authorization", "Bearer "+plain).status
	}
	u := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)

	fresh := token{"tok-planted-fresh", []string{"admin"}}
	s.remount(t, "auth", map[string]string{"tokens.json": tokensJSON(t, []token{fresh, defaultTokens[0]})})
	within(t, "a new token works", func() bool { return status(fresh.plain) == 200 })
	within(t, "a removed token does not", func() bool { return status(readToken) == 401 })

	s.remount(t, "auth", map[string]string{"tokens.json": `[{"name":"planted"`})
	time.Sleep(soon)
	if status(fresh.plain) != 200 || status(adminToken) != 200 {
		t.Error("a broken tokens.json took the last good one away")
	}
	if !strings.Contains(s.logs.out.String(), "tokens.json") {
		t.Error("the refused file is not in the log")
	}
	s.remount(t, "auth", map[string]string{"tokens.json": tokensJSON(t, defaultTokens)})
	within(t, "a mended file is read", func() bool { return status(readToken) == 200 })

	s.remount(t, "vault", map[string]string{"key-1": strings.Repeat("0f", 32), "key-2": strings.Repeat("0e", 32), "PRIMARY": "key-2"})
	within(t, "a new primary key seals", func() bool { return s.create(t, `"credentials":{"a":"planted-a"}`).Credentials[0].KeyID == "key-2" })
	s.do(t, "GET", u.path()+"/credentials/openai", "").is(t, http.StatusOK)
	s.remount(t, "vault", map[string]string{"key-1": "planted", "PRIMARY": "key-1"})
	time.Sleep(soon)
	s.do(t, "GET", u.path()+"/credentials/openai", "").is(t, http.StatusOK)

	const other = "https://other.example.com"
	s.remount(t, "config", map[string]string{"config.yaml": fmt.Sprintf("metricsPort: %d\ncors: {allowedOrigins: [%q]}\nlogLevel: debug\n", metricsPort, other)})
	within(t, "another origin is allowed", func() bool {
		return s.do(t, "GET", usersPath, "", "Origin", other).header.Get("Access-Control-Allow-Origin") == other
	})
	s.remount(t, "config", map[string]string{"config.yaml": "unknownKey: planted\n"})
	time.Sleep(soon)
	if got := s.do(t, "GET", usersPath, "", "Origin", other).header.Get("Access-Control-Allow-Origin"); got != other {
		t.Error("a broken config.yaml took the last good one away")
	}

	s.remount(t, "postgres", map[string]string{"PG_URL": "postgres://nobody:planted@127.0.0.1:1/none"})
	time.Sleep(soon)
	s.remount(t, "postgres", postgresKeys(t, url))
	within(t, "the database is used again", func() bool { return status(adminToken) == 200 })
	s.waitReady(t)
}

// TestAStreamEndsWithItsToken takes a token away while it reads the feed.
func TestAStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	stream, err := s.client.Do(s.request(t, "GET", "/ai/admin/changes", "", "Accept", "text/event-stream", "Authorization", "Bearer "+readToken))
	must(t, err)
	defer func() { _ = stream.Body.Close() }()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stream.Body)
		ended <- err
	}()
	s.remount(t, "auth", map[string]string{"tokens.json": tokensJSON(t, defaultTokens[:1])})
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("the stream goes on without a token")
	}
	s.do(t, "GET", "/ai/admin/changes", "", "Authorization", "Bearer "+readToken).fails(t, http.StatusUnauthorized, "UNAUTHENTICATED")
}
