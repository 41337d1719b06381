package blackbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// volume is a folder as Kubernetes mounts one: each key is a link into ..data, which is a
// link to a folder that is named for its time, so that one rename swaps all keys at once.
type volume struct{ dir string }

func (v volume) write(t testing.TB, files map[string]string) {
	t.Helper()
	old, _ := os.Readlink(filepath.Join(v.dir, "..data"))
	version := fmt.Sprintf("..%s", time.Now().UTC().Format("2006_01_02_15_04_05.000000000"))
	must(t, os.MkdirAll(filepath.Join(v.dir, version), 0o755))
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(v.dir, version, name), []byte(content), 0o644))
	}
	temporary := filepath.Join(v.dir, "..data_tmp")
	must(t, os.Symlink(version, temporary))
	must(t, os.Rename(temporary, filepath.Join(v.dir, "..data")))
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(v.dir, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	if old != "" {
		must(t, os.RemoveAll(filepath.Join(v.dir, old)))
	}
}

// mounts is the root that --mounts names, by volume and key.
type mounts map[string]map[string]string

// lay writes the volumes and returns their root.
func (m mounts) lay(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, files := range m {
		must(t, os.Mkdir(filepath.Join(root, name), 0o755))
		volume{filepath.Join(root, name)}.write(t, files)
	}
	return root
}

// defaultMounts are all that a service needs.
func defaultMounts(t testing.TB, database string, metricsPort int) mounts {
	t.Helper()
	return mounts{
		"postgres": postgresKeys(t, database),
		"vault":    {"key-1": strings.Repeat("0f", 32) + "\n", "PRIMARY": "key-1\n"},
		"auth":     {"tokens.json": tokensJSON(t, defaultTokens)},
		"config": {"config.yaml": fmt.Sprintf("metricsPort: %d\nlogLevel: debug\n"+
			"cors: {allowedOrigins: [%q]}\n", metricsPort, allowedOrigin)},
	}
}

const allowedOrigin = "https://console.example.com"

// postgresKeys spells a postgres:// address in the keys of the function that was replaced.
func postgresKeys(t testing.TB, database string) map[string]string {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	password, _ := u.User.Password()
	sslmode := u.Query().Get("sslmode")
	if sslmode == "" {
		sslmode = "disable"
	}
	return map[string]string{
		"PG_HOST": u.Hostname() + "\n", "PG_PORT": u.Port() + "\n", "PG_DB": strings.TrimPrefix(u.Path, "/") + "\n",
		"PG_USER": u.User.Username() + "\n", "PG_PASS": password + "\n", "PG_SSLMODE": sslmode + "\n",
	}
}

// token is a plain token with its scopes; its name is the token without its prefix.
type token struct {
	plain  string
	scopes []string
}

const (
	adminToken  = "tok-planted-admin"
	secondToken = "tok-planted-second"
	readToken   = "tok-planted-read"
	writeToken  = "tok-planted-write"
	revealToken = "tok-planted-reveal"
	eventsToken = "tok-planted-events"
	mixedToken  = "tok-planted-mixed"
)

var defaultTokens = []token{
	{adminToken, []string{"admin"}},
	{secondToken, []string{"admin"}},
	{readToken, []string{"users:read"}},
	{writeToken, []string{"users:write"}},
	{revealToken, []string{"credentials:read"}},
	{eventsToken, []string{"events:send"}},
	{mixedToken, []string{"users:read", "users:write"}},
}

func (k token) name() string { return "name-of-" + k.plain[len("tok-planted-"):] }

func tokensJSON(t testing.TB, tokens []token) string {
	t.Helper()
	type entry struct {
		Name   string   `json:"name"`
		SHA256 string   `json:"sha256"`
		Scopes []string `json:"scopes"`
	}
	var entries []entry
	for _, k := range tokens {
		sum := sha256.Sum256([]byte(k.plain))
		entries = append(entries, entry{k.name(), hex.EncodeToString(sum[:]), k.scopes})
	}
	out, err := json.Marshal(entries)
	must(t, err)
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
