package pgtest

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/postgres"
)

// replicated are the settings of clusters of which one copies the other.
var replicated = map[string]string{"max_connections": "200", "shared_buffers": "64MB", "wal_level": "replica", "max_wal_senders": "5",
	"hot_standby": "on", "full_page_writes": "on", "wal_keep_size": "1GB", "max_wal_size": "1GB"}

// Primary starts a cluster that [Standby] can copy, and ends with the test.
func Primary(t testing.TB) *postgres.Cluster {
	t.Helper()
	return started(t, postgres.Options{Settings: replicated})
}

// Standby copies a running primary (pg_basebackup) and starts a standby that follows it, which ends
// with the test.
func Standby(t testing.TB, primary *postgres.Cluster) *postgres.Cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "ai-admin-standby-") // where the server's own user may read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	// -R has the copy follow the primary.
	copying := exec.CommandContext(t.Context(), primary.Program("pg_basebackup"), "-d", primary.URL("postgres"), "-D", data, "-R", "-X", "stream", "-c", "fast")
	if out, err := copying.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(primary.Password().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ownedLike(data, filepath.Dir(primary.LogFile())); err != nil {
		t.Fatal(err)
	}
	return started(t, postgres.Options{Dir: dir, Settings: replicated})
}

// ownedLike gives a folder to the owner of the primary's data.
func ownedLike(data, primary string) error {
	info, err := os.Stat(filepath.Join(primary, "data"))
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // of every Unix
	return filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

func started(t testing.TB, options postgres.Options) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context(), options)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { _ = c.StopImmediate(context.Background()); _ = c.Close(context.Background()) })
	return c
}

// AwaitTrue asks a question of SQL until its answer is true.
func AwaitTrue(t testing.TB, connString, question string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		var is bool
		conn, err := pgx.Connect(ctx, connString)
		if err == nil {
			err = conn.QueryRow(ctx, question).Scan(&is)
			_ = conn.Close(ctx)
		}
		if is {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s is not true: %v", question, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
