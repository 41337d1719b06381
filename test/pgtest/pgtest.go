// Package pgtest gives each test a PostgreSQL database of its own. It is for tests alone
// and never in the binary.
//
// Where AI_ADMIN_TEST_PG names a cluster (make test starts one for all packages), that is
// used; otherwise the package's process starts a throw-away one on first use, which
// [Main] stops. A database is a clone of a template that is migrated once per cluster, so a
// cluster must not outlive a change of the migrations.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/postgres"
	"aiadmin/pkg/store"
)

// Environment names the variable with the URL of a cluster to use.
const Environment = "AI_ADMIN_TEST_PG"

// shared is this process's cluster, with its migrated template.
var shared struct {
	once    sync.Once
	url     string
	cluster *postgres.Cluster
	err     error
}

const (
	template = "ai_admin_template"
	deadline = 3 * time.Minute
)

// Main runs a package's tests, stops the cluster that they started, and exits.
func Main(m *testing.M) { os.Exit(M{m}.Run()) }

// M is a package's tests and the end of their cluster, for a TestMain that does more:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.M{M: m}) }
type M struct{ *testing.M }

// Run runs the tests, stops the cluster that they started and returns the exit code.
func (m M) Run() int {
	defer stop()
	return m.M.Run()
}

func stop() {
	if shared.cluster == nil {
		return
	}
	if err := shared.cluster.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
	}
}

// Settings of a test's cluster. Commits stay synchronous (they cost nothing without
// fsync): a test that kills its server counts on what was acknowledged.
var Settings = map[string]string{"max_connections": "400", "shared_buffers": "128MB", "autovacuum_naptime": "10s"}

// Database returns the URL of a new, migrated database, which ends with the test.
func Database(t testing.TB) string {
	t.Helper()
	return create(t, "TEMPLATE "+template+" STRATEGY file_copy")
}

// Empty returns the URL of a new database with nothing in it, which ends with the test.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, "TEMPLATE template0")
}

// Made returns the URL of a new, empty database made with options of CREATE DATABASE, which ends with the test.
func Made(t testing.TB, options string) string {
	t.Helper()
	return create(t, "TEMPLATE template0 "+options)
}

// Cluster starts a cluster of the test's own, for tests that stop it.
func Cluster(t testing.TB) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context(), postgres.Options{Settings: Settings})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return c
}

func create(t testing.TB, how string) string {
	t.Helper()
	shared.once.Do(prepare)
	if shared.err != nil {
		t.Fatalf("pgtest: %v", shared.err)
	}
	name := "test_" + randomName()
	if err := Exec(t.Context(), shared.url, "CREATE DATABASE "+name+" "+how); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := Exec(context.Background(), shared.url, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return withDatabase(shared.url, name)
}

func prepare() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	shared.url = os.Getenv(Environment)
	if shared.url == "" {
		shared.cluster, shared.err = postgres.Start(ctx, postgres.Options{Settings: Settings, Progress: os.Stderr})
		if shared.err != nil {
			return
		}
		shared.url = shared.cluster.URL("postgres")
	}
	shared.err = makeTemplate(ctx, shared.url)
}

// makeTemplate migrates the template unless another process has done so.
func makeTemplate(ctx context.Context, admin string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(4711)"); err != nil {
		return err
	}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", template).Scan(&exists); err != nil || exists {
		return err
	}
	const draft = template + "_draft"
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + draft, "CREATE DATABASE " + draft + " TEMPLATE template0"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := store.Migrate(ctx, withDatabase(admin, draft)); err != nil {
		return err
	}
	// Only a finished template bears the name that other processes look for.
	_, err = conn.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+template)
	return err
}

// Exec runs one statement on a connection of its own.
func Exec(ctx context.Context, connString, statement string) error {
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// ReadOnly has new sessions of a database only read, or no longer, as a standby's do.
func ReadOnly(ctx context.Context, connString string, is bool) error {
	return Exec(ctx, connString, fmt.Sprintf(`SET transaction_read_only = off;
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET default_transaction_read_only = %t', current_database()); END $$`, is))
}

func withDatabase(connString, name string) string {
	u, err := url.Parse(connString)
	if err != nil {
		panic(err) // the cluster's own URL
	}
	u.Path = "/" + name
	return u.String()
}

func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return strings.ToLower(hex.EncodeToString(b[:]))
}
