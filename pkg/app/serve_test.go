package app

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

// TestStreamsEndWhenTheMetricsServerFails holds a stream open while the listener for
// metrics dies: the service stops, and does not wait for the stream's client.
func TestStreamsEndWhenTheMetricsServerFails(t *testing.T) {
	t.Parallel()
	root := mounttest.Volumes(t, map[string]string{
		"postgres/PG_URL": pgtest.Database(t),
		"vault/PRIMARY":   "k", "vault/k": strings.Repeat("5a", 32),
		"config/config.yaml": "auth: disabled",
	})
	a, err := New(Options{Mounts: root, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	public, private := listen(), listen()
	ended := make(chan error, 1)
	go func() { ended <- a.serve(t.Context(), public, private, ServeOptions{DrainDelay: 1}) }()
	var stream *http.Response
	for stream == nil || stream.StatusCode != http.StatusOK { // until the database was looked at
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+public.Addr().String()+"/ai/admin/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/event-stream")
		if stream, err = http.DefaultTransport.RoundTrip(request); err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
	}
	if err := private.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the failure was not reported")
		}
	case <-time.After(8 * time.Second):
		t.Fatal("the service waits for the stream")
	}
	if rest, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream did not end in order: %q, %v", rest, err)
	}
}
