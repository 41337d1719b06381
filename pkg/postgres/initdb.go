package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// superuser is the only role of a new cluster.
const superuser = "postgres"

// locales are tried in this order: Unicode letters fold their case in the first two, and
// macOS has only the second.
var locales = []string{"C.UTF-8", "en_US.UTF-8", "C"}

// dataMajor is the major version that made data, or 0 when there is no complete one yet.
func dataMajor(data string) (int, error) {
	content, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err // it belongs to another user, such as root in an earlier run
	}
	return strconv.Atoi(strings.TrimSpace(string(content)))
}

// initialize makes c.data with initdb: in a folder beside it, renamed when complete, so
// that an interrupted one is never taken for a cluster.
func (c *Cluster) initialize(ctx context.Context) error {
	partial, passwordFile := c.data+".new", c.data+".password"
	if err := errors.Join(os.RemoveAll(partial), os.RemoveAll(passwordFile)); err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	defer os.Remove(passwordFile)
	c.password = rand.Text()
	if err := writePrivate(passwordFile, c.password); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(partial, 0o700), c.account.own(partial), c.account.own(passwordFile)); err != nil {
		return err
	}
	if err := c.initdb(ctx, partial, passwordFile); err != nil {
		return err
	}
	// The password first: data without it would be a cluster that nobody can log in to.
	if err := writePrivate(c.passwordFile(), c.password); err != nil {
		return err
	}
	return os.Rename(partial, c.data)
}

// initdb runs the program with the first locale that this machine has.
func (c *Cluster) initdb(ctx context.Context, data, passwordFile string) error {
	for i, locale := range locales {
		args := []string{"-D", data, "-U", superuser, "--pwfile=" + passwordFile,
			"--auth=scram-sha-256", "--encoding=UTF8", "--locale=" + locale, "--lc-messages=C"}
		if !c.options.Durable {
			args = append(args, "--no-sync")
		}
		out, err := c.runAsServer(ctx, "initdb", args...)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if i == len(locales)-1 || !strings.Contains(out, "locale") {
			return fmt.Errorf("initdb: %w: %s", err, tail(out, 5))
		}
		if err := emptyFolder(data); err != nil {
			return err
		}
	}
	return nil
}

// runAsServer runs one of the installation's programs to its end and returns its output.
// A done ctx interrupts its whole group: initdb has children.
func (c *Cluster) runAsServer(ctx context.Context, program string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(c.binaries.path(program), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &out, &out // "/": initdb wants to return to where it began
	p, err := spawn(cmd, c.account)
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = syscall.Kill(-p.pid, syscall.SIGINT)
		<-p.done
	}
	return out.String(), p.err
}

// emptyFolder removes what is in dir and leaves dir, its owner and mode.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

// writePrivate writes a file that only its owner reads.
func writePrivate(path, content string) error {
	return os.WriteFile(path, []byte(content), 0o600)
}

// tail is the end of a program's output.
func tail(out string, lines int) string {
	all := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
