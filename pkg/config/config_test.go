package config_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
)

func yaml(content string) map[string]string { return map[string]string{"config.yaml": content} }

// full has every key of docs/configuration.md, with every value another than its default.
const full = `
auth: disabled                 # or: required
cors: {allowedOrigins: ["https://console.example.com", "HTTP://LocalHost:3000", "https://a.example:443"], allowCredentials: true}
oidc: [{issuer: "https://id.example.com/realms/a", audience: "ai", scopes: [{claim: groups, value: ai-admins, grant: [admin]}]}]
source: https://ai.example.com/users
retention: {claims: 1h, idempotencyKeys: 90s, history: 720h, audit: 8760h}
database: {maxConnections: 5, migrateOnStart: false}
outbox: {maxAttempts: 3, maxBackoff: 10s}
access: {gatewayToken: optional, maxAge: 60s}
tracing: {endpoint: "http://collector:4318", sampleRatio: 1}
metricsPort: 0
logLevel: debug
fissionCompat: true
`

func TestParseReadsEverything(t *testing.T) {
	t.Parallel()
	want := config.Config{
		Auth: config.AuthDisabled,
		CORS: config.CORS{AllowedOrigins: []string{"https://console.example.com", "http://localhost:3000", "https://a.example"}, AllowCredentials: true},
		OIDC: []auth.Issuer{{Issuer: "https://id.example.com/realms/a", Audience: "ai",
			Grants: []auth.Grant{{Claim: "groups", Value: "ai-admins", Scopes: []auth.Scope{auth.Admin}}}}},
		Source:        "https://ai.example.com/users",
		Retention:     config.Retention{Claims: time.Hour, IdempotencyKeys: 90 * time.Second, History: 720 * time.Hour, Audit: 8760 * time.Hour},
		Database:      config.Database{MaxConnections: 5},
		Outbox:        config.Outbox{MaxAttempts: 3, MaxBackoff: 10 * time.Second},
		Access:        config.Access{GatewayToken: config.TokenOptional, MaxAge: time.Minute},
		Tracing:       config.Tracing{Endpoint: "http://collector:4318", SampleRatio: 1},
		LogLevel:      slog.LevelDebug,
		FissionCompat: true,
	}
	got, err := config.Parse(yaml(full))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestDefaultsAreTheContracts(t *testing.T) {
	t.Parallel()
	want := config.Config{
		Auth: "required", Source: "/ai/admin/users",
		Retention: config.Retention{Claims: 168 * time.Hour, IdempotencyKeys: 24 * time.Hour},
		Database:  config.Database{MaxConnections: 12, MigrateOnStart: true},
		Outbox:    config.Outbox{MaxAttempts: 20, MaxBackoff: 5 * time.Minute},
		Access:    config.Access{GatewayToken: config.TokenRequired}, Tracing: config.Tracing{SampleRatio: 0.1}, MetricsPort: 9095,
	}
	empties := map[string]map[string]string{"no folder": nil, "other files": {"other.yaml": "x"}}
	for _, content := range []string{"", "# nothing\n", "---\n", "---\n# nothing\n...", "\ufeff", "~", "{}", "auth:\ncors: ~\nretention: {claims: , history: null}\noidc: []"} {
		empties[content] = yaml(content)
	}
	for name, files := range empties {
		got, err := config.Parse(files)
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if len(got.OIDC) == 0 {
			got.OIDC = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseTakesOtherSpellings(t *testing.T) {
	t.Parallel()
	oidc := func(scope string) string {
		return "oidc:\n- issuer: http://127.0.0.1:8089/x/\n  audience: >-\n    a b\n  scopes:\n  - " + scope
	}
	tests := map[string]func(config.Config) (got, want any){
		"retention: {claims: 0, history: \"0\"}":             func(c config.Config) (any, any) { return c.Retention.Claims, time.Duration(0) },
		`{"logLevel": "warn"}`:                               func(c config.Config) (any, any) { return c.LogLevel, slog.LevelWarn },
		"\"logLevel\": 'error'\r\n":                          func(c config.Config) (any, any) { return c.LogLevel, slog.LevelError },
		"fissionCompat: True\n...\n":                         func(c config.Config) (any, any) { return c.FissionCompat, true },
		"cors: {allowedOrigins: [http://localhost:3000]}":    func(c config.Config) (any, any) { return c.CORS.AllowedOrigins[0], "http://localhost:3000" },
		"---\n---\nsource: |\n  /x\n---\n":                   func(c config.Config) (any, any) { return c.Source, "/x" },
		"cors: {allowedOrigins: ['*']}":                      func(c config.Config) (any, any) { return c.CORS.AllowedOrigins[0], "*" },
		"cors: {allowedOrigins: ['http://[::1]:80']}":        func(c config.Config) (any, any) { return c.CORS.AllowedOrigins[0], "http://[::1]" },
		oidc("{claim: admin, value: true, grant: [admin]}"):  func(c config.Config) (any, any) { return c.OIDC[0].Grants[0].Value, "true" },
		oidc("{claim: id, value: 010, grant: [users:read]}"): func(c config.Config) (any, any) { return c.OIDC[0].Grants[0].Value, "010" },
		oidc("{claim: id, value: 1.50, grant: [admin]}"):     func(c config.Config) (any, any) { return c.OIDC[0].Grants[0].Value, "1.50" },
		oidc("{claim: id, value: x, grant: [admin]} "): func(c config.Config) (any, any) {
			return c.OIDC[0].Issuer + c.OIDC[0].Audience, "http://127.0.0.1:8089/x/a b"
		},
	}
	for content, pick := range tests {
		c, err := config.Parse(yaml(content))
		if err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		if got, want := pick(c); got != want {
			t.Errorf("%q: got %v, want %v", content, got, want)
		}
	}
}

func TestRestartNeeded(t *testing.T) {
	t.Parallel()
	before := config.Default()
	live := before
	live.CORS.AllowedOrigins = []string{"https://a.example"}
	live.Retention.Claims, live.LogLevel = time.Hour, slog.LevelDebug
	if got := before.RestartNeeded(live); got != nil {
		t.Errorf("%v need a restart, want none", got)
	}
	after, err := config.Parse(yaml(full))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"auth", "oidc", "source", "database", "outbox", "tracing", "metricsPort", "fissionCompat"}
	if diff := cmp.Diff(want, before.RestartNeeded(after)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// No file takes long, though it be made to.
func TestParseIsBounded(t *testing.T) {
	t.Parallel()
	bombs := map[string]string{
		strings.Repeat("[", 1<<20):               "config.yaml: must be YAML: exceeded max depth",
		strings.Repeat("{a: ", 1<<18):            "config.yaml: must be YAML: exceeded max depth",
		strings.Repeat("? ", 1<<19):              "config.yaml: must be YAML: exceeded max depth",
		strings.Repeat("# hello\n", 1<<17) + "#": "config.yaml: must be at most 1048576 bytes",
		strings.Repeat("- ", 5000):               "config.yaml:1: the file: must be a mapping with the keys ",
		"source: \xff":                           "config.yaml: must be UTF-8 text",
		"source: \"a\x00b\"":                     "config.yaml: must be YAML: control characters are not allowed",
		"k: 1\n" + billion():                     "config.yaml:1: k: unknown key",
	}
	for content, want := range bombs {
		start := time.Now()
		_, err := config.Parse(yaml(content))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: error %.200v, want %s", content, err, want)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%.20q took %s", content, took)
		}
	}
}

// billion is the "billion laughs": nine levels of nine aliases each.
func billion() string {
	var out strings.Builder
	out.WriteString("a0: &a0 x\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&out, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	out.WriteString("source: *a9\n")
	return out.String()
}

// The code must be able to read every configuration that this repository deploys.
func TestShippedFilesAreTaken(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../config/*/*/config.yaml")
	base, err2 := filepath.Glob("../../config/base/config.yaml")
	if paths = append(paths, base...); err != nil || err2 != nil || len(paths) < 2 {
		t.Fatalf("found %v, %v, %v", paths, err, err2)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(yaml(string(content))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
