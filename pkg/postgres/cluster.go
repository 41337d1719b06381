package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"aiadmin/pkg/secret"
)

// Options say what cluster Start makes or opens.
type Options struct {
	// Dir keeps the cluster between runs. Empty: a throw-away one, removed by Close.
	Dir string
	// Durable keeps fsync and full_page_writes on. Without it a loss of power may lose the
	// cluster; a killed server still loses nothing that was committed.
	Durable bool
	// Settings go to the server's command line, over this package's own.
	Settings map[string]string
	// Progress takes the line that announces an install; nil discards it.
	Progress io.Writer
}

// Cluster is a private PostgreSQL server and its folder.
type Cluster struct {
	options  Options
	binaries Binaries
	account  account
	dir      string // lock, password, log
	data     string // PGDATA, with no symbolic link in it
	password string
	lock     *Lock

	mu     sync.Mutex // guards what changes with each start
	port   int        // 0 until the first start
	server *process
}

// Start opens the cluster in o.Dir, or creates one there (0.6 s), and starts its server (50 ms).
// Where PostgreSQL is missing, Start installs it if it can. It fails with ErrLocked when another
// process has the folder open, and with ErrNotFound when there is no server.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// open locks the folder and leaves it initialized, with no server running in it.
func open(ctx context.Context, o Options) (*Cluster, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	c := &Cluster{options: o}
	if err := c.openFolder(); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// openFolder finds or makes the folder and locks it.
func (c *Cluster) openFolder() (err error) {
	if c.options.Dir == "" {
		if c.account, err = serverAccount(""); err != nil {
			return err
		}
		if c.dir, err = temporary(c.account); err != nil {
			return err
		}
	} else if c.dir, err = permanent(c.options.Dir); err != nil {
		return err
	}
	c.lock, err = TryLock(filepath.Join(c.dir, "lock"))
	return err
}

// prepare initializes the folder, whatever state its last owner left it in.
func (c *Cluster) prepare(ctx context.Context) (err error) {
	if c.account, err = serverAccount(filepath.Join(c.dir, "data")); err != nil {
		return err
	}
	if c.account.drop { // the server only passes through; it owns nothing but its data
		if err := os.Chmod(c.dir, 0o711); err != nil {
			return err
		}
	}
	home, err := place(c.dir, c.account)
	if err != nil {
		return err
	}
	c.data = filepath.Join(home, "data")
	major, err := dataMajor(c.data)
	if err != nil {
		return fmt.Errorf("%w: remove %s to begin anew", err, c.dir)
	}
	takeOver(c.data)
	if c.binaries, err = Ensure(ctx, c.options.Progress, major); err != nil {
		return err
	}
	if major == 0 {
		return c.initialize(ctx)
	}
	// Keep the previous run's log, so that a crash can be investigated.
	_ = os.Rename(c.LogFile(), c.LogFile()+".1")
	password, err := os.ReadFile(c.passwordFile())
	c.password = strings.TrimSpace(string(password))
	return err
}

// permanent makes dir and returns its absolute name without symbolic links, which is what the
// kernel shows of the server's working directory.
func permanent(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// Close stops the server and releases the folder. A throw-away folder is removed.
func (c *Cluster) Close(ctx context.Context) error {
	stop := c.Stop
	if c.options.Dir == "" {
		stop = c.StopImmediate // nothing to save
	}
	err := stop(ctx)
	if c.options.Dir == "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	c.lock.Release()
	return err
}

// URL is the address of a database, password included, for a superuser.
func (c *Cluster) URL(database string) string {
	address := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, c.password), Host: c.Addr(),
		Path: "/" + database, RawQuery: "sslmode=disable"}
	return address.String()
}

// Addr is the server's host:port, the same for as long as the Cluster is open.
func (c *Cluster) Addr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port))
}

// Password is the superuser's.
func (c *Cluster) Password() secret.Text { return secret.New(c.password) }

// Program is the full name of one of the installation's programs, such as pg_basebackup.
func (c *Cluster) Program(name string) string { return c.binaries.path(name) }

// LogFile is where the server writes its messages.
func (c *Cluster) LogFile() string { return filepath.Join(c.dir, "postgres.log") }

func (c *Cluster) passwordFile() string { return filepath.Join(c.dir, "password") }
