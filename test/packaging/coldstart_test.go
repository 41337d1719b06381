package packaging_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

const helloWorld = `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})))
}
`

// TestColdStart measures exec to the first 200 of /readyz, in turns with the smallest
// server that Go makes: what Knative's users wait for when a pod starts. It holds the best
// turn to ten times what one takes at rest, since the machine may be busy with something
// else; how often hello world's time it is, is for the benchmark and a reader to judge.
func TestColdStart(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: not building a hello-world server")
	}
	turn := coldStarts(t)
	var ours, theirs []time.Duration
	for range 7 {
		us, them := turn()
		ours, theirs = append(ours, us), append(theirs, them)
	}
	t.Logf("exec to ready: %v at best, %v in the middle; hello world: %v, %v; %.1f times it",
		slices.Min(ours), median(ours), slices.Min(theirs), median(theirs), times(ours, theirs))
	if best := slices.Min(ours); best > 100*time.Millisecond {
		t.Errorf("ready after %v, at most 100 ms", best)
	}
}

// BenchmarkColdStart reports the same: at most five times hello world is wanted.
func BenchmarkColdStart(b *testing.B) {
	turn := coldStarts(b)
	var ours, theirs []time.Duration
	for b.Loop() {
		us, them := turn()
		ours, theirs = append(ours, us), append(theirs, them)
	}
	b.ReportMetric(0, "ns/op") // says nothing: it is both servers' starts and ends
	b.ReportMetric(float64(median(ours).Microseconds())/1e3, "ms/ready")
	b.ReportMetric(float64(median(theirs).Microseconds())/1e3, "ms/hello")
	b.ReportMetric(times(ours, theirs), "times-hello")
}

// coldStarts makes what starts both servers once, each in its turn.
func coldStarts(t testing.TB) func() (ours, theirs time.Duration) {
	dir, hello := mounts(t, pgtest.Database(t), "metricsPort: 0\n"), helloServer(t)
	return func() (ours, theirs time.Duration) {
		return toReady(t, "/readyz", binary(t), "serve", "--mounts", dir), toReady(t, "/", hello)
	}
}

func times(ours, theirs []time.Duration) float64 {
	return float64(median(ours)) / float64(median(theirs))
}

func median(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }

func helloServer(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(helloWorld), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", "hello", "main.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "hello")
}

// toReady starts a server, asks until it answers 200, and ends it.
func toReady(t testing.TB, path, name string, args ...string) time.Duration {
	t.Helper()
	port := freePort(t)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	begin := time.Now()
	p := start(t, []string{"PORT=" + port}, name, args...)
	for {
		answer, err := client.Get("http://127.0.0.1:" + port + path)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("not ready: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(begin)
	_ = p.cmd.Process.Kill()
	<-p.exited
	return took
}
