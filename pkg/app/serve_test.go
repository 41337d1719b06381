package app

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// TestStreamsEndWithTheMetricsServer: when it dies the service stops, and an open stream
// must not hold that up.
func TestStreamsEndWithTheMetricsServer(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{"postgres/PG_URL": pgtest.Database(t), "vault/k": strings.Repeat("5a", 32), "vault/PRIMARY": "k",
		"config/config.yaml": "auth: disabled"} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := New(Options{Mounts: root, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- a.serve(context.WithoutCancel(t.Context()), listeners[0], listeners[1], ServeOptions{DrainDelay: time.Millisecond})
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listeners[0].Addr().String()+"/ai/admin/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %s", answer.Status)
	}
	_ = listeners[1].Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); { // until the stream's orderly end
		t.Log(lines.Text())
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the death of the metrics server is no error")
		}
	case <-time.After(time.Minute):
		t.Error("it still serves")
	}
}
