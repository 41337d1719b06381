package function_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	function "aiadmin"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

// The shapes of func-go's Handler, Starter, Stopper, ReadinessReporter and
// LivenessReporter (v0.21.3): what it does not find it leaves out without a word.
// test/packaging builds and runs against the real ones.
var _ interface {
	Handle(http.ResponseWriter, *http.Request)
	Start(context.Context, map[string]string) error
	Stop(context.Context) error
	Ready(context.Context) (bool, error)
	Alive(context.Context) (bool, error)
} = function.New()

// away is a database that is not there: most of what is tested here needs none.
const away = "postgres://nobody:nothing@127.0.0.1:1/none?sslmode=disable"

// mounts lays out volumes that name a database.
func mounts(t *testing.T, database string) string {
	t.Helper()
	return mounttest.Volumes(t, map[string]string{
		"postgres/PG_URL": database, "vault/PRIMARY": "k", "vault/k": strings.Repeat("00", 32),
		"config/config.yaml": "auth: disabled\nmetricsPort: 0\n",
	})
}

func start(t *testing.T, database string) *function.Function {
	t.Helper()
	f := function.New()
	if err := f.Start(t.Context(), map[string]string{"mounts": mounts(t, database)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestBeforeStartNothingFails(t *testing.T) {
	t.Parallel()
	f := function.New()
	answer := httptest.NewRecorder()
	f.Handle(answer, httptest.NewRequest(http.MethodGet, "/livez", nil))
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
		t.Errorf("Handle answers %d", answer.Code)
	}
	if ready, err := f.Ready(t.Context()); ready || err != nil {
		t.Errorf("Ready = %v, %v", ready, err)
	}
	if err := f.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestServesTheApp(t *testing.T) {
	t.Parallel()
	f := start(t, away)
	answer := httptest.NewRecorder()
	f.Handle(answer, httptest.NewRequest(http.MethodGet, "/livez", nil))
	if answer.Code != http.StatusOK {
		t.Errorf("/livez answers %d", answer.Code)
	}
	if alive, err := f.Alive(t.Context()); !alive || err != nil {
		t.Errorf("Alive = %v, %v", alive, err)
	}
	if ready, err := f.Ready(t.Context()); ready || err != nil {
		t.Errorf("Ready = %v, %v without a database: func's server makes a 500 of an error", ready, err)
	}
}

func TestWrongMountsAreNamed(t *testing.T) {
	t.Parallel()
	err := function.New().Start(t.Context(), map[string]string{"mounts": t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "PG_HOST") {
		t.Errorf("got error %v, want one that names what is missing", err)
	}
}

// TestFailedStartLeavesNothingBehind: goleak finds what the pool would run.
func TestFailedStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	err := function.New().Start(t.Context(), map[string]string{"mounts": mounts(t, away), "K_SINK": "not a URL"})
	if err == nil || !strings.Contains(err.Error(), "K_SINK") {
		t.Errorf("got error %v, want one that names K_SINK", err)
	}
}

// TestOutlivesTheServersDeadlines sends a body that takes longer than the server's read
// and write timeouts, as func's server has them, but shorter.
func TestOutlivesTheServersDeadlines(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	server := httptest.NewUnstartedServer(http.HandlerFunc(start(t, away).Handle))
	server.Config.ReadTimeout, server.Config.WriteTimeout = timeout, timeout
	server.Start()
	defer server.Close()

	body, slow := io.Pipe()
	go func() {
		for _, piece := range []string{"{", `"tag": `, `"ada", `, `"nam`, `e": "Ada"`, "}"} {
			_, _ = io.WriteString(slow, piece)
			time.Sleep(timeout / 2)
		}
		_ = slow.Close()
	}()
	answer, err := http.Post(server.URL+"/ai/admin/users", "application/json", body)
	if err != nil {
		t.Fatalf("the server's deadline cut the request off: %v", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable { // the whole body was read, the database is away
		t.Errorf("got status %d", answer.StatusCode)
	}
}

// TestShutdownEndsStreams shuts the server down as func's does, which calls Stop only when
// no request is left, or after 30 s.
func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(start(t, pgtest.Database(t)).Handle))
	t.Cleanup(server.Close)
	var stream *http.Response
	for stream == nil || stream.StatusCode != http.StatusOK { // until the database was looked at
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/ai/admin/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/event-stream")
		if stream, err = server.Client().Do(request); err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Fatalf("an open stream holds the shutdown: %v", err)
	}
	if rest, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream did not end in order: %q, %v", rest, err)
	}
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.M{M: m}, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}
