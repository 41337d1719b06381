// Package apt installs Debian packages for the commands that a newcomer types first
// (`make run`, `make test`). Nothing that serves requests imports it.
package apt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// ErrUnavailable means that this machine cannot install packages on its own: it has no
// apt-get, or the caller is neither root nor allowed to use sudo without a password.
var ErrUnavailable = errors.New("packages cannot be installed from here")

// serialize keeps two installs of this process from meeting at dpkg's lock.
var serialize sync.Mutex

// Install installs packages without their recommendations, and says so on progress in
// one line first. The error is ErrUnavailable, or quotes the last lines of apt-get.
func Install(ctx context.Context, progress io.Writer, packages ...string) error {
	prefix, err := rootPrefix(ctx)
	if err != nil {
		return err
	}
	serialize.Lock()
	defer serialize.Unlock()
	fmt.Fprintf(progress, "Installing %s from Debian's packages…\n", strings.Join(packages, " "))
	if err := run(ctx, "", append(prefix, "apt-get", "update", "-q")...); err != nil {
		return err
	}
	done, err := withoutMainCluster(ctx, prefix)
	if err != nil {
		return err
	}
	defer done()
	install := []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy",
		"-o", "DPkg::Lock::Timeout=120", "--no-install-recommends"}
	return run(ctx, "", append(append(prefix, install...), packages...)...)
}

// rootPrefix is what a command line has to start with to run as root.
func rootPrefix(ctx context.Context) ([]string, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, ErrUnavailable
	}
	if os.Geteuid() == 0 {
		return nil, nil
	}
	if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
		return nil, ErrUnavailable
	}
	return []string{"sudo", "-n"}, nil
}

const createClusterConf = "/etc/postgresql-common/createcluster.d/ai-admin.conf"

// withoutMainCluster keeps Debian's postgresql package from creating and starting a
// system-wide cluster, which would take port 5432 on a machine whose owner asked for no
// such thing. The setting lasts only until done is called: a cluster that the owner
// installs later is theirs to have.
func withoutMainCluster(ctx context.Context, prefix []string) (done func(), err error) {
	write := append(prefix, "install", "-D", "-m", "644", "/dev/stdin", createClusterConf)
	if err := run(ctx, "create_main_cluster = false\n", write...); err != nil {
		return nil, err
	}
	return func() {
		// Not ctx: an interrupted install must not leave the setting behind.
		ctx := context.WithoutCancel(ctx)
		_ = run(ctx, "", append(prefix, "rm", "-f", createClusterConf)...)
		// Another package's folder stays: rmdir refuses a folder with files in it.
		_ = run(ctx, "", append(prefix, "rmdir", filepath.Dir(createClusterConf))...)
	}, nil
}

// run runs one command; its output is shown only when it fails.
func run(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	// Asked, not killed: a killed dpkg leaves packages half installed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, lastLines(string(out), 3))
	}
	return nil
}

// lastLines is the end of a command's output on one line.
func lastLines(out string, n int) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " / ")
}
