package faults

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"aiadmin/pkg/auth"
	"aiadmin/test/mounttest"
)

// service is one copy of ai-admin: it keeps its port and mounts over restarts.
type service struct {
	t       testing.TB
	binary  string
	url     string
	port    int
	mounts  string
	sink    string
	command *exec.Cmd
	exited  chan struct{}
	logs    *tail
}

// token is what all clients show.
type mounts struct{ root, token string }

// layMounts writes the volumes of a service.
func layMounts(t testing.TB, database, outbox string) mounts {
	t.Helper()
	return layVolume(t, map[string]string{"PG_URL": database}, outbox)
}

// layVolume writes the volumes of a service, of which postgres holds these files.
func layVolume(t testing.TB, postgres map[string]string, outbox string) mounts {
	t.Helper()
	token, entry, err := auth.NewToken("faults", auth.Admin)
	must(t, err)
	tokens, err := json.Marshal([]auth.Token{entry})
	must(t, err)
	files := map[string]string{
		"vault/k1":           hex.EncodeToString(bytes.Repeat([]byte{7}, 32)),
		"vault/PRIMARY":      "k1",
		"auth/tokens.json":   string(tokens),
		"config/config.yaml": "metricsPort: 0\noutbox: " + outbox + "\n",
	}
	for name, content := range postgres {
		files["postgres/"+name] = content
	}
	return mounts{mounttest.Volumes(t, files), token.Reveal()}
}

func newService(t testing.TB, m mounts, sink string) *service {
	t.Helper()
	s := &service{t: t, binary: binary, port: freePort(t), mounts: m.root, sink: sink, logs: &tail{}}
	s.url = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	t.Cleanup(func() {
		if s.running() {
			s.kill()
		}
		if t.Failed() {
			t.Logf("the service's last words:\n%s", s.logs)
		}
	})
	return s
}

// freePort picks one below the range that kernels give to outgoing connections: the port
// must still be free when a killed service starts anew.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			must(t, l.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// start starts the process, with its environment as Knative sets it.
func (s *service) start() {
	s.t.Helper()
	s.command = exec.Command(s.binary, "serve", "--mounts", s.mounts, "--drain-delay", "50ms")
	s.command.Env = []string{"PORT=" + strconv.Itoa(s.port), "K_SINK=" + s.sink, "K_SERVICE=ai-admin", "K_REVISION=ai-admin-00001"}
	s.command.Stdout, s.command.Stderr = s.logs, s.logs
	must(s.t, s.command.Start())
	exited := make(chan struct{})
	s.exited = exited
	command := s.command
	go func() { defer close(exited); _ = command.Wait() }()
}

func (s *service) running() bool {
	if s.exited == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash does.
func (s *service) kill() {
	_ = s.command.Process.Signal(syscall.SIGKILL)
	<-s.exited
}

// stop asks the process to end, and returns its exit code.
func (s *service) stop() int {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		s.t.Error("it does not end by SIGTERM")
		s.kill()
	}
	return s.command.ProcessState.ExitCode()
}

// awaitReady waits until the service says that it is ready.
func (s *service) awaitReady(ctx context.Context) {
	s.t.Helper()
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
		must(s.t, err)
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if !s.running() {
			s.t.Fatalf("the service ended by itself: %s\n%s", s.command.ProcessState, s.logs)
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("the service does not get ready")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tail keeps the end of what a process writes, requests answered well left out.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 16 << 10

// Write implements [io.Writer].
func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(b) {
		if !bytes.Contains(line, []byte(`"level":"INFO","msg":"request"`)) {
			l.text = append(l.text, line...)
		}
	}
	l.text = l.text[max(0, len(l.text)-tailBytes):]
	return len(b), nil
}

// String returns it.
func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
