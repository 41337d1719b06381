package blackbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// TestGracefulStop sends SIGTERM while a slow upload is under way: readiness turns 503, the
// upload is finished and answered, and the process exits with 0.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	s := serveWith(t, database(t), nil)
	tag := newTag()
	body := fmt.Sprintf(`{"tag":%q,"name":"Slow"}`, tag)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		usersPath, adminToken, len(body), body[:10])
	must(t, err)
	time.Sleep(200 * time.Millisecond) // the request is being read now
	must(t, s.command.Process.Signal(syscall.SIGTERM))
	s.sawUnready(t)
	select {
	case <-s.exited:
		t.Fatal("the service ended under a request")
	case <-time.After(1500 * time.Millisecond):
	}
	_, err = io.WriteString(conn, body[10:])
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if response.StatusCode != http.StatusCreated {
		t.Errorf("the upload was answered %d", response.StatusCode)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("the service did not end")
	}
}

// sawUnready holds that readiness turns 503, or is refused.
func (s *service) sawUnready(t *testing.T) {
	t.Helper()
	eventually(t, "the service is not ready after SIGTERM", func() bool {
		response, err := s.client.Get(s.url + "/readyz")
		if err != nil {
			return true // no longer listening is not ready
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusServiceUnavailable
	})
}

// TestStopUnderLoad stops a service that is being used: no request that it took is dropped.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	s := serveWith(t, database(t), nil)
	u := s.create(t)
	results := make(chan error, 4)
	for range 4 {
		go func() {
			for i := 0; ; i++ {
				response, err := s.client.Do(s.request(t, "PUT", u.path(), fmt.Sprintf(`{"name":"N%d"}`, i)))
				if err != nil {
					results <- unlessClosed(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if response.StatusCode != http.StatusOK {
					results <- fmt.Errorf("status %d", response.StatusCode)
					return
				}
			}
		}()
	}
	time.Sleep(300 * time.Millisecond)
	must(t, s.command.Process.Signal(syscall.SIGTERM))
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// unlessClosed is nil for what a client sees of a listener, or an idle connection, that was
// closed: its request was not taken.
func unlessClosed(err error) error {
	for _, text := range []string{"refused", "EOF", "reset", "server closed idle connection"} {
		if strings.Contains(err.Error(), text) {
			return nil
		}
	}
	return err
}

// TestEmptyDatabase holds that the service migrates what it finds empty, and finds its data
// again.
func TestEmptyDatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	first := serve(t, url)
	u := first.create(t, `"credentials":{"openai":"planted-openai-1"}`)
	second := serve(t, url, func(m mounts) { m["postgres"] = map[string]string{"PG_URL": url + "\n"} })
	if got := second.get(t, u.ID); got.Tag != u.Tag {
		t.Errorf("%+v", got)
	}
	a := second.do(t, "GET", u.path()+"/credentials/openai", "").is(t, http.StatusOK)
	if got := member(t, a, "secret"); got != `"planted-openai-1"` {
		t.Errorf("revealed %s", got)
	}
	dump := exec.Command(postgresTool("pg_dump"), "--inserts", url)
	out, err := dump.Output()
	if err != nil {
		t.Logf("no pg_dump: %v", err)
	} else if bytes.Contains(out, []byte(planted)) || !bytes.Contains(out, []byte(u.ID)) {
		t.Error("a dump shows a secret, or not the user")
	}
}

func postgresTool(name string) string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	return name
}

// TestBrokenMounts holds that wrong mounts end the service with exit code 2 and a line per
// problem that names the file and never the value.
func TestBrokenMounts(t *testing.T) {
	t.Parallel()
	url := database(t)
	const goodHash = "0000000000000000000000000000000000000000000000000000000000000000"
	tests := []struct {
		name   string
		change func(mounts)
		names  []string // each on a line of its own
	}{
		{"no postgres volume", func(m mounts) { delete(m, "postgres") }, []string{"PG_HOST", "PG_DB", "PG_USER"}},
		{"no host", func(m mounts) { delete(m["postgres"], "PG_HOST") }, []string{"PG_HOST"}},
		{"no user, no database", func(m mounts) { delete(m["postgres"], "PG_USER"); delete(m["postgres"], "PG_DB") }, []string{"PG_USER", "PG_DB"}},
		{"port", func(m mounts) { m["postgres"]["PG_PORT"] = "planted-port" }, []string{"PG_PORT"}},
		{"port out of range", func(m mounts) { m["postgres"]["PG_PORT"] = "70000" }, []string{"PG_PORT"}},
		{"sslmode", func(m mounts) { m["postgres"]["PG_SSLMODE"] = "planted" }, []string{"PG_SSLMODE"}},
		{"sslrootcert", func(m mounts) {
			m["postgres"]["PG_SSLMODE"] = "verify-full"
			m["postgres"]["PG_SSLROOTCERT"] = "/planted/none"
		}, []string{"PG_SSLROOTCERT"}},
		{"url", func(m mounts) { m["postgres"] = map[string]string{"PG_URL": "postgres://planted:planted@[::1"} }, []string{"PG_URL"}},
		{"url of another database", func(m mounts) { m["postgres"] = map[string]string{"PG_URL": "mysql://planted"} }, []string{"PG_URL"}},
		{"no vault volume", func(m mounts) { delete(m, "vault") }, []string{"vault"}},
		{"no primary", func(m mounts) { delete(m["vault"], "PRIMARY") }, []string{"vault/PRIMARY"}},
		{"unknown primary", func(m mounts) { m["vault"]["PRIMARY"] = "planted" }, []string{"vault/PRIMARY"}},
		{"short key", func(m mounts) { m["vault"]["key-1"] = "0f0f" }, []string{"vault/key-1"}},
		{"text as a key", func(m mounts) { m["vault"]["key-1"] = "planted, but not 32 bytes in hex or base64 at all" }, []string{"vault/key-1"}},
		{"empty key", func(m mounts) { m["vault"]["key-1"] = "" }, []string{"vault/key-1"}},
		{"key id", func(m mounts) { m["vault"]["Key_2"] = strings.Repeat("0e", 32) }, []string{"vault/Key_2"}},
		{"no auth volume", func(m mounts) { delete(m, "auth") }, []string{"auth"}},
		{"no tokens", func(m mounts) { m["auth"]["tokens.json"] = "[]" }, []string{"auth"}},
		{"tokens: no JSON", func(m mounts) { m["auth"]["tokens.json"] = `[{"name":"planted"` }, []string{"auth/tokens.json"}},
		{"tokens: not a list", func(m mounts) { m["auth"]["tokens.json"] = `{"name":"planted"}` }, []string{"auth/tokens.json"}},
		{"tokens: hash", func(m mounts) { m["auth"]["tokens.json"] = `[{"name":"x","sha256":"planted","scopes":["admin"]}]` }, []string{"auth/tokens.json"}},
		{"tokens: scope", func(m mounts) {
			m["auth"]["tokens.json"] = `[{"name":"x","sha256":"` + goodHash + `","scopes":["root"]}]`
		}, []string{"auth/tokens.json"}},
		{"tokens: unknown member", func(m mounts) {
			m["auth"]["tokens.json"] = `[{"name":"x","sha256":"` + goodHash + `","scopes":["admin"],"token":"planted"}]`
		}, []string{"auth/tokens.json"}},
		{"config: unknown key", func(m mounts) { m["config"]["config.yaml"] += "maxUsers: 5\n" }, []string{"maxUsers"}},
		{"config: unknown key within", func(m mounts) { m["config"]["config.yaml"] += "outbox: {maxTries: 5}\n" }, []string{"maxTries"}},
		{"config: no YAML", func(m mounts) { m["config"]["config.yaml"] = "a: [planted\n" }, []string{"config.yaml"}},
		{"config: type", func(m mounts) { m["config"]["config.yaml"] += "database: {maxConnections: many}\n" }, []string{"maxConnections"}},
		{"config: duration", func(m mounts) { m["config"]["config.yaml"] += "retention: {claims: 7 days}\n" }, []string{"retention.claims"}},
		{"config: port", func(m mounts) { m["config"]["config.yaml"] = "metricsPort: 99999\n" }, []string{"metricsPort"}},
		{"config: log level", func(m mounts) { m["config"]["config.yaml"] = "logLevel: chatty\n" }, []string{"logLevel"}},
		{"config: auth", func(m mounts) { m["config"]["config.yaml"] += "auth: off\n" }, []string{"auth"}},
		{"config: oidc", func(m mounts) { m["config"]["config.yaml"] += "oidc: [{issuer: \"https://x.example.com\"}]\n" }, []string{"oidc"}},
		{"all at once", func(m mounts) {
			m["postgres"]["PG_PORT"] = "planted"
			m["vault"]["PRIMARY"] = "planted"
			m["auth"]["tokens.json"] = "planted"
			m["config"]["config.yaml"] = "foo: planted\n"
		}, []string{"PG_PORT", "vault/PRIMARY", "auth/tokens.json", "foo"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := defaultMounts(t, url, freePort(t))
			tt.change(m)
			checkRefused(t, serveCommand(m.lay(t), freePort(t)), tt.names)
		})
	}
	t.Run("no folder at all", func(t *testing.T) {
		t.Parallel()
		checkRefused(t, serveCommand(filepath.Join(t.TempDir(), "none"), freePort(t)), []string{"PG_HOST", "PG_DB", "PG_USER", "vault/PRIMARY", "auth/tokens.json"})
	})
}

func checkRefused(t *testing.T, command *exec.Cmd, names []string) {
	t.Helper()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	must(t, command.Start())
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		_ = command.Process.Kill()
		<-ended
		t.Fatalf("the service started\n%s\n%s", out.String(), errs.String())
	}
	text := errs.String() + out.String()
	if code := command.ProcessState.ExitCode(); code != 2 {
		t.Errorf("exit code %d, want 2\n%s", code, text)
	}
	used := map[string]bool{}
	for _, name := range names {
		line := ""
		for l := range strings.Lines(text) {
			if strings.Contains(l, name) && !used[l] {
				line = l
				break
			}
		}
		if line == "" {
			t.Errorf("no line of its own names %s:\n%s", name, text)
		}
		used[line] = true
	}
	if strings.Contains(text, planted) {
		t.Errorf("a value is shown:\n%s", text)
	}
	if n := strings.Count(strings.TrimSpace(text), "\n") + 1; n > len(names)+2 {
		t.Errorf("%d lines for %d problems:\n%s", n, len(names), text)
	}
}
