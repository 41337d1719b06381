package packaging_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"aiadmin/pkg/pgtest"
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
// server that Go makes: what Knative's users wait for when a pod starts. The best of the
// turns counts, since the machine may be busy with something else.
func TestColdStart(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: not building a hello-world server")
	}
	dir := mounts(t, pgtest.Database(t), "metricsPort: 0\n")
	hello := helloServer(t)
	var ours, theirs []time.Duration
	for range 7 {
		ours = append(ours, toReady(t, "/readyz", binary(t), "serve", "--mounts", dir))
		theirs = append(theirs, toReady(t, "/", hello))
	}
	us, them := slices.Min(ours), slices.Min(theirs)
	t.Logf("exec to ready: %v (median %v); hello world: %v (median %v); %.1f times it",
		us, median(ours), them, median(theirs), float64(us)/float64(them))
	if us > 100*time.Millisecond {
		t.Errorf("ready after %v, at most 100 ms", us)
	}
}

// BenchmarkColdStart reports the same as a benchmark.
func BenchmarkColdStart(b *testing.B) {
	dir, hello := mounts(b, pgtest.Database(b), "metricsPort: 0\n"), helloServer(b)
	var ours, theirs []time.Duration
	for b.Loop() {
		ours = append(ours, toReady(b, "/readyz", binary(b), "serve", "--mounts", dir))
		theirs = append(theirs, toReady(b, "/", hello))
	}
	b.ReportMetric(float64(median(ours).Microseconds())/1e3, "ms/ready")
	b.ReportMetric(float64(median(theirs).Microseconds())/1e3, "ms/hello")
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
