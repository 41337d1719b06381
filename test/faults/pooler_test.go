package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aiadmin/pkg/apt"
	"aiadmin/test/pgtest"
)

// TestPooler puts PgBouncer between the service and PostgreSQL. In session mode the service works; in
// transaction and statement mode it says in one line what is wrong, and never works by half.
func TestPooler(t *testing.T) {
	t.Parallel()
	program := pgBouncer(t)
	for _, mode := range []string{"session", "transaction", "statement"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			m := layMounts(t, startPgBouncer(t, program, mode, pgtest.Empty(t)), "{}")
			migrated, err := exec.CommandContext(t.Context(), binary, "migrate", "--mounts", m.root).CombinedOutput()
			s := newService(t, m, "")
			s.start()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if mode == "session" {
				must(t, err)
				s.awaitReady(ctx)
				l := newLoad(t, m, s.url)
				working, stop := context.WithTimeout(ctx, 2*time.Second)
				defer stop()
				l.begin(working, 8)
				l.running.Wait()
				checkChanges(t, l, readFeed(t, l.client, s.url))
			} else {
				const line = "gives each transaction another session"
				if told := string(migrated); err == nil || !strings.Contains(told, line) || strings.Count(told, "\n") != 1 {
					t.Errorf("migrate: %v: %s", err, told)
				}
				if status, body := get(ctx, t, s.url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, line) {
					t.Errorf("readiness: %d %s", status, body)
				}
			}
			if code := s.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// get reads a page of a service that is starting.
func get(ctx context.Context, t *testing.T, page string) (status int, body string) {
	t.Helper()
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		must(t, err)
		if answer, err := http.DefaultClient.Do(request); err == nil {
			content, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			must(t, err)
			return answer.StatusCode, string(content)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the service does not answer")
	return 0, ""
}

func pgBouncer(t *testing.T) string {
	t.Helper()
	find := func() (string, error) {
		if found, err := exec.LookPath("pgbouncer"); err == nil {
			return found, nil
		}
		return exec.LookPath("/usr/sbin/pgbouncer")
	}
	found, err := find()
	if err == nil {
		return found
	}
	if err := apt.Install(t.Context(), os.Stderr, "pgbouncer"); err != nil {
		t.Skipf("PgBouncer cannot be had here: %v", err)
	}
	found, err = find()
	must(t, err)
	return found
}

// startPgBouncer runs the pooler before a database and returns the URL of both.
func startPgBouncer(t *testing.T, program, mode, database string) string {
	t.Helper()
	server, err := url.Parse(database)
	must(t, err)
	password, _ := server.User.Password()
	dir, err := os.MkdirTemp("", "ai-admin-pgbouncer-") // where its own user may read
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755)) //nolint:gosec // a test's
	port := freePort(t)
	settings := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 40
ignore_startup_parameters = extra_float_digits
`, server.Hostname(), server.Port(), server.User.Username(), password, port, mode)
	file := filepath.Join(dir, "pgbouncer.ini")
	must(t, os.WriteFile(file, []byte(settings), 0o644)) //nolint:gosec // a test's
	command := exec.Command(program, file)
	command.SysProcAttr = unprivileged(t)
	var log tail
	command.Stdout, command.Stderr = &log, &log
	must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("PgBouncer does not start:\n%s", &log)
		}
	}
	server.Host = address
	return server.String()
}

// unprivileged is a user that is not root, as whom PgBouncer refuses to run.
func unprivileged(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	who, err := user.Lookup("nobody")
	must(t, err)
	uid, uidErr := strconv.ParseUint(who.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(who.Gid, 10, 32)
	must(t, errors.Join(uidErr, gidErr))
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
