package main

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell runs a script beside a cluster; it finds a folder to write to in $OUT.
func shell(t *testing.T, ctx context.Context, script string) (code int, out string, err error) {
	t.Helper()
	out = t.TempDir()
	code, err = run(ctx, false, []string{"env", "OUT=" + out, "sh", "-c", script})
	return code, out, err
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func TestTheCommandFindsAClusterThatEndsWithIt(t *testing.T) {
	t.Parallel()
	code, out, err := shell(t, t.Context(), `echo "$AI_ADMIN_TEST_PG" >$OUT/url; exit 7`)
	if code != 7 || err != nil {
		t.Errorf("code %d, %v; want the command's own 7", code, err)
	}
	address, err := url.Parse(read(t, filepath.Join(out, "url")))
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", address.Host); err == nil {
		_ = conn.Close()
		t.Errorf("the cluster at %s outlived the command", address.Host)
	}
}

func TestAnInterruptReachesTheWholeCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	out := t.TempDir()
	// The inner shell stands for a test binary that go test started.
	const script = `sh -c 'trap "touch $OUT/told; exit 1" INT; touch $OUT/ready; while :; do sleep 0.05; done'; exit 4`
	go func() {
		code, _ := run(ctx, false, []string{"env", "OUT=" + out, "sh", "-c", script})
		ended <- code
	}()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(out, "ready")); err == nil {
			break
		}
	}
	cancel()
	if code := <-ended; code == 0 {
		t.Error("an interrupted command counts as passed")
	}
	if _, err := os.Stat(filepath.Join(out, "told")); err != nil {
		t.Error("the command's own child was not told:", err)
	}
}

func TestNoCommandIsAWrongCall(t *testing.T) {
	t.Parallel()
	if code, err := run(t.Context(), false, nil); code != 2 || err == nil {
		t.Errorf("code %d, %v", code, err)
	}
	if code, err := run(t.Context(), false, []string{"/nonexistent"}); code != 1 || err == nil {
		t.Errorf("code %d, %v", code, err)
	}
}
