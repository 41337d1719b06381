package blackbox

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// TestCommands holds that each command of README.md is there and explains itself.
func TestCommands(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "serve", "dev", "migrate", "rotate", "resend", "token", "version"} {
		args := append(strings.Fields(name), "--help")
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Usage:") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if out, err := exec.Command(binary, "version").Output(); err != nil || len(out) == 0 {
		t.Errorf("version: %v %s", err, out)
	}
	for _, args := range [][]string{{}, {"nope"}, {"serve", "--nope"}, {"serve", "--request-timeout=0s"}, {"serve", "--drain-delay=-1s"}} {
		if out, err := exec.Command(binary, args...).CombinedOutput(); err == nil {
			t.Errorf("%q succeeds:\n%s", args, out)
		}
	}
	for _, port := range []string{"65536", "-1", "x", ""} {
		cmd := exec.Command(binary, "serve", "--mounts", t.TempDir())
		cmd.Env = []string{"PORT=" + port}
		out, err := cmd.CombinedOutput()
		if lines := strings.Count(string(out), "\n"); cmd.ProcessState.ExitCode() != 2 || lines != 1 || !strings.Contains(string(out), "--port") {
			t.Errorf("PORT=%s: %v\n%s", port, err, out)
		}
	}
}

// TestMigrateApart serves a database that another process migrates.
func TestMigrateApart(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	s := launch(t, url, quickStop, func(m mounts) { m["config"]["config.yaml"] += "database: {migrateOnStart: false}\n" })
	s.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
	if a := s.do(t, "GET", "/readyz", ""); !strings.Contains(string(a.body), "migrat") {
		t.Errorf("readyz does not name the migrations: %s", a.body)
	}
	s.do(t, "GET", "/livez", "").is(t, http.StatusOK)
	for range 2 { // the second finds nothing to do
		if out, err := exec.Command(binary, "migrate", "--mounts", s.mounts).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	s.waitReady(t)
	s.create(t)
}

// TestManyStarts brings up 8 services on one empty database at once.
func TestManyStarts(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	var all []*service
	for range 8 {
		all = append(all, launch(t, url, quickStop))
	}
	for _, s := range all {
		s.waitReady(t)
	}
	u := all[0].create(t)
	all[7].get(t, u.ID)
}

// TestPortTaken holds that a port in use is an error that says so.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", ":0") //nolint:gosec // it has to be the address that serve takes
	must(t, err)
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).Port
	m := defaultMounts(t, database(t), freePort(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "serve", "--mounts", m.lay(t))
	command.Env = []string{"PORT=" + strconv.Itoa(port)}
	out, err := command.CombinedOutput()
	if err == nil || ctx.Err() != nil || !strings.Contains(string(out), strconv.Itoa(port)) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestHost holds that --host is the one address that is served on, metrics included.
func TestHost(t *testing.T) {
	t.Parallel()
	s := serveWith(t, database(t), append([]string{"--host", "127.0.0.1"}, quickStop...))
	for _, served := range []string{s.url, s.metrics} {
		elsewhere := strings.Replace(strings.TrimPrefix(served, "http://"), "127.0.0.1", "127.0.0.2", 1)
		if conn, err := net.Dial("tcp", elsewhere); err == nil {
			_ = conn.Close()
			t.Errorf("%s is served too", elsewhere)
		}
	}
}

// TestStreamEndsOnStop holds that an open stream does not hold a stop up.
func TestStreamEndsOnStop(t *testing.T) {
	t.Parallel()
	s := serveWith(t, database(t), nil)
	response, err := s.client.Do(s.request(t, "GET", "/ai/admin/changes", "", "Accept", "text/event-stream"))
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d", response.StatusCode)
	}
	must(t, s.command.Process.Signal(syscall.SIGTERM))
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Error("the service did not end")
	}
}

// TestDatabaseCredentials exchanges the database's user under load: no request fails, not
// even when the old user's connections are ended.
func TestDatabaseCredentials(t *testing.T) {
	t.Parallel()
	owner := database(t)
	as := func(role string) string {
		u, err := url.Parse(owner)
		must(t, err)
		u.User = url.UserPassword(role, "pw-"+role)
		return u.String()
	}
	roles := []string{"old_" + newTag(), "new_" + newTag()}
	for _, role := range roles {
		must(t, pgtest.Exec(t.Context(), owner, fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD 'pw-%s'", role, role)))
		t.Cleanup(func() { must(t, pgtest.Exec(context.Background(), owner, "DROP ROLE "+role)) })
	}
	s := serve(t, as(roles[0]))
	u := s.create(t)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if a := s.do(t, "PUT", u.path(), fmt.Sprintf(`{"name":"N%d"}`, i)); a.status != http.StatusOK {
					t.Errorf("%d %s", a.status, a.body)
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	s.remount(t, "postgres", postgresKeys(t, as(roles[1])))
	time.Sleep(2 * soon)
	must(t, pgtest.Exec(t.Context(), owner, "ALTER ROLE "+roles[0]+" NOLOGIN"))
	must(t, pgtest.Exec(t.Context(), owner, fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'", roles[0])))
	time.Sleep(500 * time.Millisecond)
	close(stop)
	load.Wait()
	s.waitReady(t)
}

// TestLivesOfOneID deletes a user and makes one with the same id: nothing of the first life
// gets into the second.
func TestLivesOfOneID(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	first := s.create(t, `"credentials":{"openai":"planted-openai-1"},"metadata":{"life":"first"}`)
	s.do(t, "DELETE", first.path(), "").is(t, http.StatusNoContent)
	a := s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"Second Life","id":%q}`, newTag(), first.ID))
	if a.status == http.StatusConflict {
		a.fails(t, http.StatusConflict, "DUPLICATE_ID")
		return
	}
	second := a.is(t, http.StatusCreated).user(t)
	if len(second.Credentials) != 0 || string(second.Metadata) != "{}" {
		t.Errorf("%+v", second)
	}
	s.do(t, "GET", second.path()+"/credentials/openai", "").fails(t, http.StatusNotFound, "NOT_FOUND")
	s.waitForgotten(t, first, []string{"User " + first.Tag, "first"})
	if h := s.history(t, second.ID); len(h) != 3 || !strings.Contains(fmt.Sprintf("%s", h[0].Changed), "Second Life") {
		t.Errorf("%+v", h)
	}
}
