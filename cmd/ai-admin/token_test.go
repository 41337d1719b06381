package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
)

func runToken(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), append([]string{"token"}, args...), streams{&stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

func readTokensFile(t *testing.T, file string) []auth.Token {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := config.ParseTokens(map[string]string{"tokens.json": string(text)})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokenPrintsTokenAndEntry(t *testing.T) {
	t.Parallel()
	code, out, errs := runToken(t, "--name", "hr", "--scope", "users:read", "--scope=events:send")
	lines := strings.Split(out, "\n")
	if code != 0 || errs != "" || len(lines) != 3 {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	tokens, err := config.ParseTokens(map[string]string{"tokens.json": "[" + lines[1] + "]"})
	want := []auth.Token{{Name: "hr", SHA256: sha256.Sum256([]byte(lines[0])), Scopes: []auth.Scope{auth.UsersRead, auth.EventsSend}}}
	if diff := cmp.Diff(want, tokens); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--expires-in", "720h"}, {"--expires-at", time.Now().Add(720 * time.Hour).Format(time.RFC3339)}} {
		code, out, errs := runToken(t, append(args, "--name", "hr", "--scope", "users:read")...)
		_, entry, _ := strings.Cut(out, "\n")
		tokens, err := config.ParseTokens(map[string]string{"tokens.json": "[" + entry + "]"})
		if code != 0 || errs != "" || err != nil || len(tokens) != 1 {
			t.Fatalf("code %d, %q, %q, %v", code, out, errs, err)
		}
		if lasts := time.Until(tokens[0].ExpiresAt); lasts < 719*time.Hour || lasts > 720*time.Hour {
			t.Errorf("%v: it lasts %v", args, lasts)
		}
	}
}

func TestTokenAppend(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	target, link := filepath.Join(folder, "data.json"), filepath.Join(folder, "tokens.json")
	if err := os.Symlink("data.json", link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte("[]"), 0o640); err != nil {
		t.Fatal(err)
	}
	var plain []string
	for _, name := range []string{"one", "two"} {
		code, out, errs := runToken(t, "--name", name, "--scope", "admin", "--append", link)
		if code != 0 || errs != "" {
			t.Fatalf("code %d, %q", code, errs)
		}
		plain = append(plain, strings.TrimSuffix(out, "\n"))
	}
	got := readTokensFile(t, target)
	if len(got) != 2 || got[0].Name != "one" || got[0].SHA256 != sha256.Sum256([]byte(plain[0])) ||
		got[1].Name != "two" || got[1].SHA256 != sha256.Sum256([]byte(plain[1])) {
		t.Errorf("%+v", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode changed: %v, %v", info.Mode(), err)
	}
}

func TestTokenAppendMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.json")
	if code, _, errs := runToken(t, "--name", "n", "--scope", "admin", "--append", file); code != 0 {
		t.Fatal(errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if len(readTokensFile(t, file)) != 1 {
		t.Error("the entry is missing")
	}
}

func TestTokenAppendAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.json")
	var all sync.WaitGroup
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		all.Go(func() {
			if code, _, errs := runToken(t, "--name", name, "--scope", "admin", "--append", file); code != 0 {
				t.Error(errs)
			}
		})
	}
	all.Wait()
	if got := len(readTokensFile(t, file)); got != 16 {
		t.Errorf("%d of 16 entries are there", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.part-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	entry, err := json.Marshal([]auth.Token{{Name: "taken", Scopes: []auth.Scope{auth.Admin}}})
	if err != nil {
		t.Fatal(err)
	}
	broken, taken := write("broken.json", `[{"name":"x"}]`), write("taken.json", string(entry))
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no name", []string{"--scope", "admin"}, 2, "--name"},
		{"no scope", []string{"--name", "n"}, 2, "--scope"},
		{"an empty name", []string{"--name", "", "--scope", "admin"}, 2, "--name"},
		{"an empty scope", []string{"--name", "n", "--scope", ""}, 2, "--scope: must be one of users:read"},
		{"an empty scope alone", []string{"--scope", ""}, 2, "--scope: must be one of users:read"},
		{"a past expiry", []string{"--name", "n", "--scope", "admin", "--expires-at", "2020-01-01T00:00:00Z"}, 2, "--expires-at=2020-01-01T00:00:00Z: must be a time to come"},
		{"the first instant", []string{"--name", "n", "--scope", "admin", "--expires-at", "0001-01-01T00:00:00Z"}, 2, "must be a time to come"},
		{"an expiry of the past", []string{"--name", "n", "--scope", "admin", "--expires-in=-1h"}, 2, "--expires-in"},
		{"an expiry at once", []string{"--name", "n", "--scope", "admin", "--expires-in=0s"}, 2, "--expires-in=0s: must be a duration from now on"},
		{"an expiry that is no time", []string{"--name", "n", "--scope", "admin", "--expires-at", "tomorrow"}, 2, "--expires-at"},
		{"two expiries", []string{"--name", "n", "--scope", "admin", "--expires-in", "1h", "--expires-at", "2099-01-01T00:00:00Z"}, 2, "--expires-in"},
		{"a reserved name", []string{"--name", "oidc:x", "--scope", "admin"}, 2, "--name"},
		{"an unknown scope", []string{"--name", "n", "--scope", "root"}, 2, "users:read, users:write"},
		{"an argument too many", []string{"--name", "n", "--scope", "admin", "extra"}, 2, "extra"},
		{"a broken file", []string{"--name", "n", "--scope", "admin", "--append", broken}, 1, "[0].sha256"},
		{"a taken name", []string{"--name", "taken", "--scope", "admin", "--append", taken}, 1, "[1].name"},
		{"a missing folder", []string{"--name", "n", "--scope", "admin", "--append", filepath.Join(folder, "no", "t.json")}, 1, "no such file"},
		{"a device", []string{"--name", "n", "--scope", "admin", "--append", os.DevNull}, 1, "must be a plain file"},
		{"a folder", []string{"--name", "n", "--scope", "admin", "--append", folder}, 1, "directory"},
	} {
		code, out, errs := runToken(t, test.args...)
		if code != test.code || !strings.Contains(errs, test.says) || strings.Contains(out, "aia_") {
			t.Errorf("%s: code %d, out %q, says %q; want %d and %q", test.name, code, out, errs, test.code, test.says)
		}
	}
	for file, want := range map[string]string{broken: `[{"name":"x"}]`, taken: string(entry)} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s was changed to %q, %v", file, got, err)
		}
	}
}

func TestTokenHelp(t *testing.T) {
	t.Parallel()
	code, out, _ := runToken(t, "--help")
	wanted := []string{"--name", "--append", "Examples:", "ai-admin token --name ops"}
	for _, scope := range auth.Scopes() {
		wanted = append(wanted, string(scope))
	}
	for _, want := range wanted {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d; %q is missing in\n%s", code, want, out)
		}
	}
}
