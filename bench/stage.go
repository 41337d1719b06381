package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/postgres"
	"aiadmin/pkg/store"
)

// bench is the stage: the database, the mounts and the running service.
type bench struct {
	options runCmd
	folder  string
	cluster *postgres.Cluster
	db      *pgx.Conn
	token   string
	service *service
	numbers numbers
	// background are the statements that the service runs without being asked.
	background map[string]bool
}

const database = "bench"

// clusterSettings are those of a small production server. The log is kept for capture.
var clusterSettings = map[string]string{"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min",
	"random_page_cost": "1.1", "effective_cache_size": "2GB", "logging_collector": "on", "log_destination": "csvlog",
	"log_checkpoints": "off", "log_autovacuum_min_duration": "-1", "log_rotation_size": "0"}

func setUp(ctx context.Context, options runCmd) (b *bench, err error) {
	b = &bench{options: options}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.folder, err = os.MkdirTemp("", "ai-admin-bench-"); err != nil {
		return nil, err
	}
	if b.options.Binary == "" {
		progress("building the service")
		b.options.Binary = filepath.Join(b.folder, "ai-admin")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", b.options.Binary, "./cmd/ai-admin")
		build.Dir, build.Stderr = "..", os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build the service: %w", err)
		}
	}
	if err := b.openDatabase(ctx); err != nil {
		return nil, err
	}
	if err := b.mountVolumes(); err != nil {
		return nil, err
	}
	progress("starting the service")
	b.service, err = b.startService(ctx, b.mounts())
	return b, err
}

func (b *bench) openDatabase(ctx context.Context) (err error) {
	progress("starting PostgreSQL with fsync=on")
	if b.cluster, err = postgres.Start(ctx, postgres.Options{Durable: true, Settings: clusterSettings, Progress: os.Stderr}); err != nil {
		return err
	}
	admin, err := pgx.Connect(ctx, b.cluster.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(ctx) }()
	// The yardstick's connections plan as the service's do: without that, its statements take twice the time.
	for _, statement := range []string{"CREATE DATABASE " + database, "ALTER DATABASE " + database + " SET enable_seqscan = off",
		"ALTER DATABASE " + database + " SET jit = off"} {
		if _, err := admin.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := store.Migrate(ctx, b.cluster.URL(database)); err != nil {
		return err
	}
	if b.db, err = pgx.Connect(ctx, b.cluster.URL(database)); err != nil {
		return err
	}
	if _, err = b.db.Exec(ctx, "SET ai_admin.forms = '1'"); err != nil { // what is copied has its forms
		return err
	}
	return b.seed(ctx)
}

// mountVolumes writes what the service reads: its database, a key, a token.
func (b *bench) mountVolumes() error {
	plain, entry, err := auth.NewToken("bench", auth.Admin)
	if err != nil {
		return err
	}
	b.token = plain.Reveal()
	line, err := entry.MarshalJSON()
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"postgres/PG_URL":    b.cluster.URL(database),
		"vault/k1":           strings.Repeat("5a", 32),
		"vault/PRIMARY":      "k1",
		"auth/tokens.json":   "[" + string(line) + "]",
		"config/config.yaml": "metricsPort: 0\n",
	} {
		path := filepath.Join(b.mounts(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) mounts() string { return filepath.Join(b.folder, "mounts") }

func (b *bench) close() {
	if b.service != nil {
		b.service.stop()
	}
	ctx := context.Background()
	if b.db != nil {
		_ = b.db.Close(ctx)
	}
	if b.cluster != nil {
		_ = b.cluster.Close(ctx)
	}
	_ = os.RemoveAll(b.folder)
}
