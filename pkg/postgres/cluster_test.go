package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"aiadmin/pkg/postgres"

	"github.com/jackc/pgx/v5"
)

// start starts a cluster that ends with the test.
func start(t *testing.T, o postgres.Options) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ask returns the one value that a statement yields.
func ask(t *testing.T, c *postgres.Cluster, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// folder is a new folder that PostgreSQL's own user can reach: t.TempDir's parents are
// closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ai-admin-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestThrowAwayClusterLeavesNothing(t *testing.T) {
	t.Parallel()
	c, err := postgres.Start(t.Context(), postgres.Options{Settings: map[string]string{"work_mem": "5MB"}})
	if err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		"SHOW work_mem":                "5MB",
		"SHOW fsync":                   "off",
		"SHOW synchronous_commit":      "on",
		"SHOW server_encoding":         "UTF8",
		"SHOW unix_socket_directories": "",
		"SHOW listen_addresses":        "127.0.0.1",
	} {
		if got := ask(t, c, sql); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	dir, done := filepath.Dir(c.LogFile()), c.Done()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	select {
	case <-done:
	default:
		t.Error("the server still runs")
	}
}

func TestStrangersNeedThePassword(t *testing.T) {
	t.Parallel()
	c := start(t, postgres.Options{})
	conn, err := pgx.Connect(t.Context(), "postgres://postgres:guess@"+c.Addr()+"/postgres?sslmode=disable")
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("a wrong password was let in")
	}
	if strings.Contains(err.Error(), c.Password().Reveal()) {
		t.Fatal("the error shows the password")
	}
}

func TestDataOutlivesTheCluster(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := start(t, postgres.Options{Dir: dir, Durable: true})
	execute(t, first, "CREATE TABLE kept AS SELECT 'still here' AS what")
	if got := ask(t, first, "SHOW fsync"); got != "on" {
		t.Errorf("a durable cluster has fsync %s", got)
	}
	if _, err := postgres.Start(t.Context(), postgres.Options{Dir: dir}); !errors.Is(err, postgres.ErrLocked) {
		t.Fatalf("a second owner got %v, want ErrLocked", err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := start(t, postgres.Options{Dir: dir, Durable: true})
	if got := ask(t, second, "SELECT what FROM kept"); got != "still here" {
		t.Errorf("read %q", got)
	}
}

func execute(t *testing.T, c *postgres.Cluster, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestAnImmediateStopLosesNoCommit(t *testing.T) {
	t.Parallel()
	c := start(t, postgres.Options{})
	before := c.Addr()
	execute(t, c, "CREATE TABLE kept AS SELECT 'still here' AS what")
	if err := c.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), c.URL("postgres")); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "SELECT what FROM kept"); got != "still here" {
		t.Errorf("read %q", got)
	}
	if c.Addr() != before {
		t.Errorf("the address moved from %s to %s", before, c.Addr())
	}
	if err := c.Start(t.Context()); !errors.Is(err, postgres.ErrRunning) {
		t.Errorf("a second Start gave %v, want ErrRunning", err)
	}
}

func TestAKilledServerIsSeenAndStartsAgain(t *testing.T) {
	t.Parallel()
	c := start(t, postgres.Options{})
	if err := syscall.Kill(pidOf(t, c), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("Done says nothing of a killed server")
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(t, c, "SHOW port")
}

// pidOf asks the cluster's server for the pid of its main process.
func pidOf(t *testing.T, c *postgres.Cluster) int {
	t.Helper()
	var pid int
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	const read = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int"
	if err := conn.QueryRow(t.Context(), read).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestStartHeedsItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c, err := postgres.Start(ctx, postgres.Options{})
	if err == nil {
		_ = c.Close(t.Context())
		t.Skip("this machine makes a cluster in 100 ms")
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's error", err)
	}
}

func TestABadSettingIsExplained(t *testing.T) {
	t.Parallel()
	_, err := postgres.Start(t.Context(), postgres.Options{Settings: map[string]string{"work_mem": "much"}})
	if err == nil || !strings.Contains(err.Error(), "work_mem") {
		t.Fatalf("got %v, want the server's own words", err)
	}
}
