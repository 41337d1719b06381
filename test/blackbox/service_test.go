package blackbox

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aiadmin/test/logtest"
)

// planted is part of every secret and token that these tests make: wherever it turns up
// in an answer or a log line, a secret got out.
const planted = "planted"

// service is a running `ai-admin serve`.
type service struct {
	url, metrics string // addresses without a slash at the end
	mounts       string
	command      *exec.Cmd
	exited       chan struct{} // closed when the process has ended
	logs         *logs
	client       *http.Client
}

// serve starts a service on a database and waits until it is ready. When the test ends it
// is stopped by SIGTERM, must exit with 0, and its log is judged.
func serve(t testing.TB, database string, change ...func(mounts)) *service {
	t.Helper()
	return serveWith(t, database, quickStop, change...)
}

// quickStop spares the tests that are not about stopping the wait that lets a load balancer
// notice.
var quickStop = []string{"--drain-delay", "0s"}

// serveWith starts a service with flags.
func serveWith(t testing.TB, database string, flags []string, change ...func(mounts)) *service {
	t.Helper()
	s := launch(t, database, flags, change...)
	s.waitReady(t)
	return s
}

// launch starts a service without waiting for it.
func launch(t testing.TB, database string, flags []string, change ...func(mounts)) *service {
	t.Helper()
	port, metricsPort := freePort(t), freePort(t)
	m := defaultMounts(t, database, metricsPort)
	for _, f := range change {
		f(m)
	}
	s := &service{
		url: fmt.Sprintf("http://127.0.0.1:%d", port), metrics: fmt.Sprintf("http://127.0.0.1:%d", metricsPort),
		mounts: m.lay(t), exited: make(chan struct{}), logs: &logs{},
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	s.command = serveCommand(s.mounts, port, flags...)
	s.command.Stdout, s.command.Stderr = &s.logs.out, &s.logs.errors
	must(t, s.command.Start())
	go func() {
		defer close(s.exited)
		_ = s.command.Wait()
	}()
	t.Cleanup(func() { s.stop(t) })
	return s
}

// serveCommand has the environment that Knative gives and no other.
func serveCommand(root string, port int, flags ...string) *exec.Cmd {
	command := exec.Command(binary, append([]string{"serve", "--mounts", root}, flags...)...)
	command.Env = []string{"PORT=" + strconv.Itoa(port), "K_SERVICE=ai-admin", "K_REVISION=ai-admin-00001",
		"HOME=/nonexistent", "GORACE=halt_on_error=0"}
	return command
}

// lastPort is the port given out last. They are below those that the kernel gives to
// outgoing connections, which would otherwise take one between its choice and its use.
var lastPort atomic.Int64

const firstPort, ports = 18_000, 12_000

// freePort is a port that nobody listens on at present and no other test was given.
func freePort(t testing.TB) int {
	t.Helper()
	lastPort.CompareAndSwap(0, int64(os.Getpid())*97) // packages test at the same time
	for range ports {
		port := firstPort + int(lastPort.Add(1)%ports)
		if listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			must(t, listener.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (s *service) waitReady(t testing.TB) {
	t.Helper()
	s.waitStatus(t, "/readyz", http.StatusOK)
}

// waitStatus asks a probe until it answers with the status.
func (s *service) waitStatus(t testing.TB, path string, status int) {
	t.Helper()
	last := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.exited:
			t.Fatalf("the service ended: %s\n%s", s.command.ProcessState, s.logs.tail())
		default:
		}
		response, err := s.client.Get(s.url + path)
		if err != nil {
			last = err.Error()
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == status {
			return
		}
		last = response.Status
	}
	t.Fatalf("%s did not answer %d in %s, last: %s\n%s", path, status, patience, last, s.logs.tail())
}

func (s *service) stop(t testing.TB) {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	s.client.CloseIdleConnections()
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Errorf("the service did not end within 20 s of SIGTERM\n%s", s.logs.tail())
		_ = s.command.Process.Kill()
		<-s.exited
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.logs.tail())
	}
	s.logs.judge(t)
}

// logs collects what a process writes: stdout as lines, stderr as it is.
type logs struct {
	out, errors logtest.Buffer
}

func (l *logs) tail() string {
	text := l.out.String()
	return "stdout: …" + text[max(0, len(text)-4000):] + "\nstderr: " + l.errors.String()
}

// lines are the log's entries.
func (l *logs) lines(t testing.TB) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(l.out.String()) {
		if !strings.HasSuffix(line, "\n") { // the rest of it is on its way
			break
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a log line is no JSON object: %s", line)
			continue
		}
		out = append(out, entry)
	}
	return out
}

// find returns the entry of the request with this id, waiting for it shortly: it may be
// written after the answer.
func (l *logs) find(t testing.TB, requestID string) map[string]any {
	t.Helper()
	var line map[string]any
	eventually(t, "a log line of request "+requestID, func() bool {
		for _, entry := range l.lines(t) {
			if entry["requestId"] == requestID && entry["status"] != nil {
				line = entry
			}
		}
		return line != nil
	})
	return line
}

// patience is for what must happen, but may take a busy machine its time.
const patience = time.Minute

// eventually tries until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// judge holds what must be true of every log.
func (l *logs) judge(t testing.TB) {
	t.Helper()
	for _, entry := range l.lines(t) {
		for _, member := range []string{"time", "level", "msg"} {
			if entry[member] == nil {
				t.Errorf("a log line has no %s: %v", member, entry)
			}
		}
		if entry["msg"] == "panic" {
			t.Errorf("the service panicked: %v", entry)
		}
	}
	all := l.out.String() + l.errors.String()
	if i := strings.Index(all, planted); i >= 0 {
		t.Errorf("the log has a secret: …%s…", all[max(0, i-200):min(len(all), i+100)])
	}
	for _, word := range []string{"DATA RACE", "panic:", "goroutine "} {
		if strings.Contains(l.errors.String(), word) {
			t.Errorf("stderr: %s", l.errors.String())
		}
	}
}

// alive fails the test when the process has ended.
func (s *service) alive(t testing.TB) {
	t.Helper()
	select {
	case <-s.exited:
		t.Fatalf("the service ended: %s\n%s", s.command.ProcessState, s.logs.tail())
	default:
	}
	if _, err := os.FindProcess(s.command.Process.Pid); err != nil {
		t.Fatal(err)
	}
}
