package postgres

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// process is a running child; err may be read once done is closed.
type process struct {
	pid  int
	done chan struct{}
	err  error
}

// spawn starts cmd as the account, in a process group of its own. On Linux it ends when we do.
//
// The goroutine keeps its thread for as long as the child lives, because Linux sends the
// parent-death signal when the *thread* that forked is gone, not the process.
func spawn(cmd *exec.Cmd, as account) (*process, error) {
	cmd.SysProcAttr = attributes(as)
	cmd.Env = environment()
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal sends sig to the process; one that has ended already is no error.
func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.done: // the pid may be someone else's by now
		return nil
	default:
	}
	if err := syscall.Kill(p.pid, sig); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// environment returns ours without the variables that would steer the server or translate the
// messages that Start parses. A PGDATA, PGPORT or LC_ALL of the caller's shell is not meant for
// this cluster.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "PG") || strings.HasPrefix(entry, "LC_") ||
			strings.HasPrefix(entry, "LANG") || strings.HasPrefix(entry, "TZ=")
	})
	return append(env, "LC_ALL=C")
}
