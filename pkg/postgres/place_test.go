package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/postgres"
)

// TestAClosedParentIsNoObstacle is the checkout in root's home, which the user postgres
// may not enter: the commonest place on a fresh machine.
func TestAClosedParentIsNoObstacle(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as someone else")
	}
	closed := folder(t) // its mode is 0700
	dir := filepath.Join(closed, "postgres")
	first := start(t, postgres.Options{Dir: dir})
	link := filepath.Join(dir, "data")
	data, err := os.Readlink(link)
	if err != nil || strings.HasPrefix(data, closed) {
		t.Fatalf("the data is in %q, %v", data, err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(data)) })
	execute(t, first, "CREATE TABLE kept AS SELECT 'still here' AS what")
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := start(t, postgres.Options{Dir: dir})
	if got := ask(t, second, "SELECT what FROM kept"); got != "still here" {
		t.Errorf("read %q", got)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Whoever removes the folder has removed the cluster, wherever its data was.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	third := start(t, postgres.Options{Dir: dir})
	if got := ask(t, third, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'"); got != "0" {
		t.Error("a removed folder's data came back")
	}
}

func TestDeadOwnersFoldersAreSwept(t *testing.T) { // not parallel: it looks at the shared folder
	old := time.Now().Add(-time.Hour)
	t.Setenv("TMPDIR", folder(t))
	if err := os.Chmod(os.Getenv("TMPDIR"), 0o755); err != nil {
		t.Fatal(err)
	}
	dead, young := filepath.Join(os.TempDir(), "ai-admin-pg-1"), filepath.Join(os.TempDir(), "ai-admin-pg-2")
	used := filepath.Join(os.TempDir(), "ai-admin-pg-3")
	for _, dir := range []string{dead, young, used} {
		if err := os.Mkdir(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := postgres.TryLock(filepath.Join(used, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, dir := range []string{dead, used} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	start(t, postgres.Options{})
	for dir, kept := range map[string]bool{dead: false, young: true, used: true} {
		if _, err := os.Stat(dir); (err == nil) != kept {
			t.Errorf("%s: kept %v, want %v", filepath.Base(dir), err == nil, kept)
		}
	}
}
