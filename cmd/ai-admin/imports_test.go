package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport says which of our packages each of ours imports, as docs/architecture.md has
// it; secret may be imported by all.
var mayImport = map[string][]string{
	"user": {}, "tracing": {}, "secret": {}, "vault": {}, "auth": {}, "mount": {}, "server": {}, "apt": {}, "gather": {},
	"config":     {"auth"},
	"postgres":   {"apt"},
	"store":      {"user", "scim", "access", "gather"},
	"admin":      {"user", "tracing", "scim", "store", "access", "vault", "gather"},
	"access":     {"user"},
	"accessapi":  {"request", "access", "user", "auth", "body"},
	"cloudevent": {"user"},
	"body":       {"user"},
	"scim":       {"user"},
	"request":    {"user", "tracing"},
	"scimapi":    {"user", "request", "scim", "auth"},
	"httpapi":    {"user", "request", "tracing", "access", "auth", "body", "gather"},
	"console":    {"user", "request", "access", "auth", "body", "vault"},
	"eventapi":   {"user", "request", "tracing", "cloudevent", "body"},
	"relay":      {"user", "tracing", "store", "cloudevent"},
	"janitor":    {"user", "store"},
	"app": {"user", "tracing", "store", "admin", "vault", "auth", "mount", "config", "server", "relay", "janitor",
		"request", "httpapi", "access", "accessapi", "eventapi", "scimapi", "cloudevent", "body", "console"},
}

// forbidden are packages of others that must not sneak in, through whatever path.
var forbidden = map[string][]string{
	"user":     {"net/http", "database/sql", "github.com/uptrace/bun"},
	"scim":     {"net/http", "database/sql", "github.com/uptrace/bun"},
	"store":    {"net/http"},
	"vault":    {"net/http", "database/sql"},
	"access":   {"net/http", "database/sql", "github.com/uptrace/bun"},
	"httpapi":  {"github.com/uptrace/bun", "github.com/jackc/pgx/v5", "database/sql"},
	"console":  {"github.com/uptrace/bun", "github.com/jackc/pgx/v5", "database/sql"},
	"eventapi": {"github.com/uptrace/bun", "github.com/jackc/pgx/v5"},
	"scimapi":  {"github.com/uptrace/bun", "github.com/jackc/pgx/v5", "database/sql"},
}

func list(t *testing.T, arguments ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-buildvcs=false"}, arguments...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	for name, allowed := range mayImport {
		for _, path := range list(t, "-f", `{{join .Imports "\n"}}`, "aiadmin/pkg/"+name) {
			other, ours := strings.CutPrefix(path, "aiadmin/pkg/")
			if ours && other != "secret" && !slices.Contains(allowed, other) {
				t.Errorf("pkg/%s imports pkg/%s", name, other)
			}
		}
	}
	for name, others := range forbidden {
		for _, path := range list(t, "-deps", "aiadmin/pkg/"+name) {
			if slices.Contains(others, path) {
				t.Errorf("pkg/%s depends on %s", name, path)
			}
		}
	}
}

// slowToStart are packages that compile patterns or fill maps when the process starts, used
// or not, for longer than hello world takes to serve; see Cold start in docs/performance.md.
var slowToStart = []string{"github.com/asaskevich/govalidator", "github.com/go-ozzo/ozzo-validation/v4/is", "github.com/brianvoe/gofakeit/v7"}

// TestNothingSlowsTheStart keeps out of the binary what makes every pod's start longer.
func TestNothingSlowsTheStart(t *testing.T) {
	t.Parallel()
	for _, path := range list(t, "-deps", "aiadmin/cmd/ai-admin") {
		if slices.Contains(slowToStart, path) {
			t.Errorf("the binary contains %s", path)
		}
	}
}

// TestTheBinaryHasNoTestHelpers keeps what makes tests easy out of what runs in production.
func TestTheBinaryHasNoTestHelpers(t *testing.T) {
	t.Parallel()
	for _, path := range list(t, "-deps", "aiadmin/cmd/ai-admin") {
		if path == "testing" || strings.HasPrefix(path, "aiadmin/test/") {
			t.Errorf("the binary contains %s", path)
		}
	}
}
