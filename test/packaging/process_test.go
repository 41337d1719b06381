package packaging_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aiadmin/test/mounttest"
)

const (
	token = "packaging-test-token"
	// oldKey is the function's, of the known answers in PyNaCl's format.
	oldKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// mounts lays out the volumes as Kubernetes does, for the database at url.
func mounts(t testing.TB, url, settings string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	return mounttest.Volumes(t, map[string]string{
		"postgres/PG_URL": url, "vault/PRIMARY": "k1", "vault/k1": strings.Repeat("2a", 32), "vault/old": oldKey,
		"auth/tokens.json":   fmt.Sprintf(`[{"name":"test","sha256":%q,"scopes":["admin"]}]`, hex.EncodeToString(sum[:])),
		"config/config.yaml": settings,
	})
}

// build makes the binary once for all tests of this package, the way ko does, in a folder
// that git ignores.
var build = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs("../../.cache/packaging/ai-admin")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "./cmd/ai-admin")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a program that a test started and ends.
type process struct {
	cmd    *exec.Cmd
	log    *tail
	exited chan struct{}
}

// start runs a program and ends it with the test at the latest.
func start(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), log: new(tail), exited: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	started := make(chan error)
	go func() {
		endWithUs(p.cmd)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("the end of what %s logged:\n%s", filepath.Base(name), p.log)
		}
	})
	return p
}

// stop sends SIGTERM and wants an exit with code 0 within limit.
func (p *process) stop(t testing.TB, limit time.Duration) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(limit):
		t.Errorf("still running %v after SIGTERM", limit)
	}
}

// serve starts `ai-admin serve` and returns it with the address that it logged.
func serve(t testing.TB, mounts string, args ...string) (*process, string) {
	t.Helper()
	p := start(t, []string{"PORT=0"}, binary(t), append([]string{"serve", "--mounts", mounts}, args...)...)
	address := ""
	eventually(t, p, func() bool {
		for lines := bufio.NewScanner(strings.NewReader(p.log.String())); lines.Scan(); {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				address = "127.0.0.1" + line.Address[strings.LastIndex(line.Address, ":"):]
			}
		}
		return address != ""
	})
	return p, address
}

// eventually waits until true, and fails at once when p ends before that.
func eventually(t testing.TB, p *process, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.exited:
			t.Fatal("the process ended early")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s")
		}
	}
}

// tail keeps the first and last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*tail)(nil)

// Write implements [io.Writer].
func (l *tail) Write(p []byte) (int, error) {
	const most = 64 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > most {
		l.text = append(l.text[:most/2], l.text[len(l.text)-most/2:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
