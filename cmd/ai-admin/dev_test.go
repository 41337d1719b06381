package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"aiadmin/pkg/auth"
	"aiadmin/test/logtest"
)

// devFolderForTest can be entered by the database's user: the parents of t.TempDir cannot.
func devFolderForTest(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ai-admin-dev-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, ".dev")
}

// devRun is a running `ai-admin dev`.
type devRun struct {
	url, token, out string
	stop            func() (code int)
}

// startDev runs the command until it has printed everything.
func startDev(t *testing.T, args ...string) devRun {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, log logtest.Buffer
	ended := make(chan int, 1)
	began := time.Now()
	go func() { ended <- run(ctx, append([]string{"dev", "--port=0"}, args...), streams{&out, &log}) }()
	stop := sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "Ctrl-C stops"); time.Sleep(5 * time.Millisecond) {
		if len(ended) > 0 || time.Now().After(end) {
			t.Fatalf("dev is not ready: %s%s", out.String(), log.String())
		}
	}
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	printed := out.String()
	return devRun{found(t, printed, `ready at (\S+)`), found(t, printed, `token +(\S+)`), printed, stop}
}

func found(t *testing.T, text, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("%q is not in:\n%s", pattern, text)
	}
	return match[1]
}

// list asks for users.
func (d devRun) list(t *testing.T, query string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/ai/admin/users?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// total asks how many users there are.
func (d devRun) total(t *testing.T) int {
	t.Helper()
	answer := d.list(t, "count=exact&limit=1")
	var list struct {
		Page struct{ Total int }
	}
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", answer.Status, err)
	}
	return list.Page.Total
}

func TestDevKeepsItsDataBetweenRuns(t *testing.T) {
	t.Parallel()
	dir := devFolderForTest(t)
	first := startDev(t, "--dir", dir, "--demo=20")
	if got := first.total(t); got != 20 {
		t.Errorf("%d users after --demo=20", got)
	}
	if code := first.stop(); code != 0 {
		t.Fatalf("interrupted, dev exited with %d", code)
	}
	if _, err := http.Get(first.url); err == nil {
		t.Error("the service outlived its command")
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres", "data", "postmaster.pid")); !os.IsNotExist(err) {
		t.Errorf("the database was not shut down: %v", err)
	}
	second := startDev(t, "--dir", dir, "--demo=25")
	if second.token != first.token {
		t.Error("the token changed between runs")
	}
	if !strings.Contains(second.out, "5 made, 20 were there") || second.total(t) != 25 {
		t.Errorf("the second run has %d users and said:\n%s", second.total(t), second.out)
	}
}

func TestDevLinesWorkWhenPasted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl here to paste into")
	}
	d := startDev(t, "--dir", devFolderForTest(t))
	lines := regexp.MustCompile(`(?m)^  (curl .*)$`).FindAllStringSubmatch(d.out, -1)
	if len(lines) != 3 {
		t.Fatalf("%d curl lines in:\n%s", len(lines), d.out)
	}
	for _, line := range lines {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line[1]).CombinedOutput()
		if err != nil || !json.Valid(out) || strings.Contains(string(out), "errorCode") || !strings.Contains(string(out), "Ada Lovelace") {
			t.Errorf("%s\n%v: %s", line[1], err, out)
		}
	}
}

// TestDevMountsAreForEditing: plain files, the owner's alone, whose edits count while it runs.
func TestDevMountsAreForEditing(t *testing.T) {
	t.Parallel()
	dir := devFolderForTest(t)
	d := startDev(t, "--dir", dir)
	for _, file := range []string{"postgres/PG_PASS", "vault/PRIMARY", "auth/tokens.json", "config/config.yaml"} {
		name := filepath.Join(dir, "mounts", file)
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: not a plain file that is the owner's alone", file, info, err)
		}
	}
	tokens, err := os.ReadFile(filepath.Join(dir, "mounts", "auth", "tokens.json"))
	if err != nil || strings.Contains(string(tokens), d.token) {
		t.Errorf("%v, %s: want the hash alone", err, tokens)
	}
	_, entry, err := auth.NewToken("another", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	edited, err := json.Marshal([]auth.Token{entry})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "mounts", "auth", "tokens.json"), edited, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for d.list(t, "limit=1").StatusCode != http.StatusUnauthorized {
		if time.Since(began) > 30*time.Second { // 2 s on a machine that is not busy
			t.Fatal("a token that was edited away is still taken")
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("an edit counted after %v", time.Since(began))
	if info, err := os.Stat(filepath.Join(dir, "token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token: %v, %v", info, err)
	}
}

func TestDevRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // after the parallel subtests, as a defer would not
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	busy := devFolderForTest(t)
	startDev(t, "--dir", busy)
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"port taken":    {[]string{"--port", port, "--dir", devFolderForTest(t)}, 1, "127.0.0.1:" + port},
		"folder in use": {[]string{"--port=0", "--dir", busy}, 1, "another ai-admin dev runs in " + busy},
		"negative demo": {[]string{"--demo=-1", "--dir", devFolderForTest(t)}, 2, "--demo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var errs bytes.Buffer
			code := run(t.Context(), append([]string{"dev"}, test.args...), streams{io.Discard, &errs})
			if code != test.code || !strings.Contains(errs.String(), test.want) || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("code %d, %q", code, errs.String())
			}
			if dir := test.args[len(test.args)-1]; dir != busy {
				if _, err := os.Stat(filepath.Join(dir, "postgres")); !os.IsNotExist(err) {
					t.Errorf("something was started all the same: %v", err)
				}
			}
		})
	}
}

func TestDevSaysWhenItsDatabaseEnds(t *testing.T) {
	t.Parallel()
	dir := devFolderForTest(t)
	ended := make(chan int, 1)
	var out, errs logtest.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { ended <- run(ctx, []string{"dev", "--port=0", "--dir", dir}, streams{&out, &errs}) }()
	for !strings.Contains(out.String(), "Ctrl-C stops") && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	pidFile, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(pidFile), "\n")
	if err := exec.Command("kill", "-QUIT", pid).Run(); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 1 || !strings.Contains(errs.String(), "PostgreSQL has ended: see ") {
		t.Errorf("code %d, %s", code, errs.String())
	}
}

func TestDemoUsersAreTheSameEveryTime(t *testing.T) {
	t.Parallel()
	tags := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,61}[a-z0-9]$`)
	seen := map[any]bool{}
	for i := 1; i <= 5000; i++ {
		user := demoUser(i)
		if !tags.MatchString(user["tag"].(string)) || seen[user["tag"]] || seen[user["id"]] {
			t.Fatalf("user %d: tag %v, id %v", i, user["tag"], user["id"])
		}
		seen[user["tag"]], seen[user["id"]] = true, true
	}
	again, _ := json.Marshal(demoUser(7))
	if first, _ := json.Marshal(demoUser(7)); !bytes.Equal(first, again) {
		t.Errorf("%s\n%s", first, again)
	}
}
