package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
	"aiadmin/pkg/postgres"
	"aiadmin/pkg/vault"
)

// devFolder is what `ai-admin dev` keeps between runs: postgres/, mounts/ and token.
type devFolder struct {
	dir  string
	lock *postgres.Lock
}

// openDevFolder makes dir where needed. One process at a time may have it open.
func openDevFolder(dir string) (*devFolder, error) {
	// The database's own user passes through on its way to postgres/, and may do no more.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	lock, err := postgres.TryLock(filepath.Join(dir, "lock"))
	if errors.Is(err, postgres.ErrLocked) {
		return nil, fmt.Errorf("another ai-admin dev runs in %s: stop that one, or use another folder with --dir and another --port", dir)
	}
	if err != nil {
		return nil, err
	}
	return &devFolder{dir, lock}, nil
}

func (f *devFolder) path(names ...string) string {
	return filepath.Join(append([]string{f.dir}, names...)...)
}

// devDatabase is the name of the service's database and of the role that owns it. It is
// not a superuser, so that what works here works with a managed database's role.
const devDatabase = "ai_admin"

// layOut writes the volumes: the database's each time, because its port changes; the
// others once, because they are the user's to change. It returns the admin token.
func (f *devFolder) layOut(cluster *postgres.Cluster, metricsPort int) (token string, err error) {
	host, port, err := net.SplitHostPort(cluster.Addr())
	if err != nil {
		return "", err
	}
	err = writeFiles(f.path("mounts", "postgres"), map[string]string{"PG_HOST": host, "PG_PORT": port,
		"PG_DB": devDatabase, "PG_USER": devDatabase, "PG_PASS": cluster.Password().Reveal(), "PG_SSLMODE": "disable"})
	if err != nil {
		return "", err
	}
	if err := f.writeOnce("vault", map[string]string{"PRIMARY": "dev\n", "dev": vault.NewKey().Reveal() + "\n"}); err != nil {
		return "", err
	}
	yaml := fmt.Sprintf("# See docs/configuration.md. Kept between runs: change it as you like.\nmetricsPort: %d # 0 is any free one\nconsole: {enabled: true}\n", metricsPort)
	if err := f.writeOnce("config", map[string]string{"config.yaml": yaml}); err != nil {
		return "", err
	}
	return f.token()
}

// writeOnce lays a volume out unless it is there, as a plain folder: its files are for the
// user to edit. It appears complete or not at all.
func (f *devFolder) writeOnce(volume string, files map[string]string) error {
	dir := f.path("mounts", volume)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unfinished, err := os.MkdirTemp(f.path("mounts"), "."+volume+"-")
	if err != nil {
		return err
	}
	if err := writeFiles(unfinished, files); err != nil {
		return err
	}
	return os.Rename(unfinished, dir)
}

// writeFiles writes a volume's files; they are the owner's alone.
func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// token reads the admin token, or makes one with its volume. The volume holds the hash
// alone, as it does in production; the token file is how a second run can print it.
func (f *devFolder) token() (string, error) {
	kept, err := os.ReadFile(f.path("token"))
	if err == nil {
		if _, err := os.Stat(f.path("mounts", "auth", config.TokensFile)); err == nil {
			return strings.TrimSpace(string(kept)), nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	plain, entry, err := auth.NewToken("dev", auth.Admin)
	if err != nil {
		return "", err
	}
	list, err := json.MarshalIndent([]auth.Token{entry}, "", "  ")
	if err != nil {
		return "", err
	}
	if err := writeFiles(f.path("mounts", "auth"), map[string]string{config.TokensFile: string(list) + "\n"}); err != nil {
		return "", err
	}
	// Last: a token file says that the volume was complete.
	return plain.Reveal(), os.WriteFile(f.path("token"), []byte(plain.Reveal()+"\n"), 0o600)
}

// ensureDatabase makes the role and the database of a new cluster.
func ensureDatabase(ctx context.Context, cluster *postgres.Cluster) error {
	conn, err := pgx.Connect(ctx, cluster.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var role, database bool
	const look = `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1), EXISTS (SELECT FROM pg_database WHERE datname = $1)`
	if err := conn.QueryRow(ctx, look, devDatabase).Scan(&role, &database); err != nil {
		return err
	}
	if !role {
		// The password is 26 letters and digits of our own making: nothing to quote.
		_, err = conn.Exec(ctx, "CREATE ROLE "+devDatabase+" LOGIN PASSWORD '"+cluster.Password().Reveal()+"'")
	}
	if err == nil && !database {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+devDatabase+" OWNER "+devDatabase)
	}
	return err
}
