package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/relay"
	"aiadmin/pkg/store"
	"aiadmin/test/logtest"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

// files are good mounts for a database, and the token that opens them.
func files(t testing.TB, database string) (map[string]string, string) {
	t.Helper()
	plain, entry, err := auth.NewToken("test", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	line, err := entry.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"postgres/PG_URL": database, "vault/k1": strings.Repeat("5a", 32), "vault/PRIMARY": "k1",
		"auth/tokens.json": "[" + string(line) + "]"}, plain.Reveal()
}

// started is an App at work, with its log.
func started(t testing.TB, root string) (*app.App, *logtest.Buffer) {
	t.Helper()
	log := &logtest.Buffer{}
	a, err := app.New(app.Options{Mounts: root, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	a.Start(t.Context())
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a, log
}

// until waits for a condition that the service brings about by itself.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("it never was so: %s", what)
		}
	}
}

func readiness(a *app.App) string {
	check, _ := a.Ready(context.Background())
	return check
}

func ask(a http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// TestReadinessNamesWhatIsMissing goes from an empty database that a Job migrates to one that
// goes away and comes back, and to the end.
func TestReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t)
	mounts, _ := files(t, cluster.URL("postgres"))
	mounts["config/config.yaml"] = "database: {migrateOnStart: false}"
	a, _ := started(t, mounttest.Volumes(t, mounts))
	if got := readiness(a); got != "migrations" {
		t.Errorf("an empty database: %q", got)
	}
	if w := ask(a.Handler(), "GET", "/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), `"check":"migrations"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(a.Handler(), "GET", "/livez"); w.Code != 200 {
		t.Errorf("alive: %d", w.Code)
	}
	if err := store.Migrate(t.Context(), cluster.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	until(t, "ready once it is migrated", func() bool { return readiness(a) == "" })
	if err := cluster.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := readiness(a); got != "database" {
		t.Errorf("without a database: %q", got)
	}
	if err := cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "ready when it is back", func() bool { return readiness(a) == "" })
	a.DrainingWhen(func() bool { return true })
	if got := readiness(a); got != "shutdown" {
		t.Errorf("while stopping: %q", got)
	}
}

// TestFirstProbeWaitsForTheFirstLook: a probe that comes at once is answered when the database
// has been looked at, instead of being told to come again. (A busy machine may take longer
// than it waits, but not each time.)
func TestFirstProbeWaitsForTheFirstLook(t *testing.T) {
	t.Parallel()
	mounts, _ := files(t, pgtest.Database(t))
	var got []string
	for range 5 {
		a, _ := started(t, mounttest.Volumes(t, mounts))
		got = append(got, readiness(a))
	}
	if !slices.Contains(got, "") {
		t.Errorf("%q", got)
	}
}

// TestRefusedVolumeIsShown: a broken change leaves all at work, and a verbose look at the
// readiness tells of it.
func TestRefusedVolumeIsShown(t *testing.T) {
	t.Parallel()
	mounts, token := files(t, pgtest.Database(t))
	root := mounttest.Volumes(t, mounts)
	a, log := started(t, root)
	until(t, "ready", func() bool { return readiness(a) == "" })
	verbose := func() string {
		var report struct{ Mounts string }
		w := ask(a.Handler(), "GET", "/readyz?verbose")
		if err := json.Unmarshal(w.Body.Bytes(), &report); err != nil || w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return report.Mounts
	}
	if got := verbose(); got != "ok" {
		t.Errorf("%q", got)
	}
	const broken = "planted, which is no list of tokens"
	if err := os.WriteFile(filepath.Join(root, "auth", "tokens.json"), []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal is shown", func() bool { return verbose() != "ok" })
	if w := ask(a.Handler(), "GET", "/ai/admin/users", "Authorization", "Bearer "+token); w.Code != 200 {
		t.Errorf("the last good token: %d", w.Code)
	}
	if text := log.String(); !strings.Contains(text, "tokens.json") || strings.Contains(text, "planted") {
		t.Errorf("log: %s", text)
	}
	if text := exposition(a); !strings.Contains(text, `ai_admin_mount_reloads_total{result="refused",volume="auth"} 1`) ||
		!strings.Contains(text, `ai_admin_mount_reloads_total{result="refused",volume="vault"} 0`) {
		t.Errorf("metrics: %s", regexp.MustCompile(`(?m)^ai_admin_mount.*$`).FindAllString(text, -1))
	}
	if err := os.WriteFile(filepath.Join(root, "auth", "tokens.json"), []byte(mounts["auth/tokens.json"]), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the mended one is taken", func() bool { return verbose() == "ok" })
}

// TestSecretsMustBeReadable: a secret's folder that goes away makes the service unready until
// it is back, and one with an unfit value does not.
func TestSecretsMustBeReadable(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	for volume, unfit := range map[string]string{"postgres": "PG_PLANTED", "vault": "PLANTED", "auth": "tokens.json"} {
		t.Run(volume, func(t *testing.T) {
			t.Parallel()
			mounts, token := files(t, database)
			root := mounttest.Volumes(t, mounts)
			a, log := started(t, root)
			until(t, "ready", func() bool { return readiness(a) == "" })
			dir := filepath.Join(root, volume)
			move := func(from, to string) {
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			move(dir, dir+"-away")
			until(t, "not ready without the folder", func() bool { return readiness(a) == "secrets" })
			if w := ask(a.Handler(), "GET", "/readyz"); w.Code != 503 || w.Body.String() != `{"check":"secrets","status":"failing"}` {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w := ask(a.Handler(), "GET", "/ai/admin/users", "Authorization", "Bearer "+token); w.Code != 200 {
				t.Errorf("the last good values: %d", w.Code)
			}
			if err := os.WriteFile(filepath.Join(dir+"-away", unfit), []byte("planted"), 0o600); err != nil {
				t.Fatal(err)
			}
			move(dir+"-away", dir)
			until(t, "looked at again", func() bool { return strings.Contains(log.String(), volume+"/"+unfit) })
			if got := readiness(a); got != "" {
				t.Errorf("with the folder back, and an unfit file in it: %q", got)
			}
		})
	}
}

func exposition(a *app.App) string { return ask(a.Metrics(), "GET", "/metrics").Body.String() }

// TestMetricsTellNothingOfUsers: a label's values are bounded, whatever is asked for.
func TestMetricsTellNothingOfUsers(t *testing.T) {
	t.Parallel()
	mounts, token := files(t, pgtest.Database(t))
	a, _ := started(t, mounttest.Volumes(t, mounts))
	id := uuid.NewString()
	before := strings.Count(exposition(a), "\n")
	for _, method := range []string{"GET", "DELETE", "BREW", "PLANTED"} {
		for _, path := range []string{"/ai/admin/users/" + id, "/ai/admin/users/" + id + "/credentials/planted", "/planted/" + id, "/ai/admin/users?tag=planted"} {
			ask(a.Handler(), method, path, "Authorization", "Bearer "+token)
		}
	}
	text := exposition(a)
	for _, word := range []string{id, "planted", "PLANTED", "BREW"} {
		if strings.Contains(text, word) {
			t.Errorf("a metric tells %q", word)
		}
	}
	if strings.Count(text, "\n") == before {
		t.Error("nothing was measured")
	}
	for _, name := range []string{"ai_admin_http_requests_total", "ai_admin_http_request_duration_seconds_bucket", "ai_admin_vault_refused_total",
		"ai_admin_database_connections_open", "ai_admin_database_connections_in_use", "ai_admin_database_connections_max",
		"ai_admin_database_waits_total", "ai_admin_database_wait_seconds_total", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestVersionIsShown: in the first log line, readiness, metrics and the OpenAPI document.
func TestVersionIsShown(t *testing.T) {
	t.Parallel()
	mounts, _ := files(t, pgtest.Database(t))
	log := &logtest.Buffer{}
	a, err := app.New(app.Options{Mounts: mounttest.Volumes(t, mounts), Log: log, Version: "v1.2.3-4-gabcdef"})
	if err != nil {
		t.Fatal(err)
	}
	a.Start(t.Context())
	defer func() { _ = a.Stop() }()
	first, _, _ := strings.Cut(log.String(), "\n")
	for where, text := range map[string]string{"the first log line": first, "/metrics": exposition(a),
		"/readyz?verbose": ask(a.Handler(), "GET", "/readyz?verbose").Body.String(), "/openapi.json": ask(a.Handler(), "GET", "/openapi.json").Body.String()} {
		if !regexp.MustCompile(`"?version"?[:=] ?"v1\.2\.3-4-gabcdef"`).MatchString(text) {
			t.Errorf("%s shows no version: %.200s", where, text)
		}
	}
	if got := app.Version(""); got == "" {
		t.Error("nothing is said of a binary that has no version stamped")
	}
}

// TestReadyMetric has a series for each check, which /readyz stops at the first of.
func TestReadyMetric(t *testing.T) {
	t.Parallel()
	mounts, _ := files(t, pgtest.Database(t))
	root := mounttest.Volumes(t, mounts)
	a, _ := started(t, root)
	series := func() []string { return regexp.MustCompile(`(?m)^ai_admin_ready\{.*`).FindAllString(exposition(a), -1) }
	shows := func(secrets, shutdown int) func() bool {
		want := []string{`ai_admin_ready{check="database"} 1`, `ai_admin_ready{check="migrations"} 1`,
			fmt.Sprintf(`ai_admin_ready{check="secrets"} %d`, secrets), fmt.Sprintf(`ai_admin_ready{check="shutdown"} %d`, shutdown)}
		return func() bool { return slices.Equal(series(), want) }
	}
	until(t, "all checks pass", shows(1, 1))
	if err := os.RemoveAll(filepath.Join(root, "vault")); err != nil {
		t.Fatal(err)
	}
	a.DrainingWhen(func() bool { return true })
	until(t, "two checks fail", shows(0, 0))
}

// TestWrongMountsAreToldAtOnce holds the lines that an operator reads, value by value: each
// names the file and what is expected, and none what was found.
func TestWrongMountsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	root := mounttest.Volumes(t, map[string]string{"postgres/PG_PORT": "planted", "vault/k1": "planted", "vault/PRIMARY": "k2",
		"auth/tokens.json": `[{"name":"planted"}]`, "config/config.yaml": "logLevel: planted\ncolour: planted"})
	_, err := app.New(app.Options{Mounts: root, Log: io.Discard})
	if _, ok := errors.AsType[app.MountError](err); !ok {
		t.Fatalf("%v", err)
	}
	got := strings.ReplaceAll(err.Error(), root, "MOUNTS") + "\n"
	path := filepath.Join("testdata", "mounts.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%v\nwant %s\ngot %s", err, want, got)
	}
	if strings.Contains(got, "planted") {
		t.Error("a value is told")
	}
}

// TestUnusableSinkEndsTheStart: what Knative injects is judged like a mount.
func TestUnusableSinkEndsTheStart(t *testing.T) {
	t.Parallel()
	mounts, _ := files(t, pgtest.Database(t))
	for name, options := range map[string]app.Options{
		"sink":      {Environment: app.Environment{Sink: "not a URL"}},
		"overrides": {Environment: app.Environment{Sink: "http://127.0.0.1:1", Overrides: "{"}},
	} {
		options.Mounts, options.Log = mounttest.Volumes(t, mounts), io.Discard
		_, err := app.New(options)
		if _, ok := errors.AsType[app.MountError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestADeletionIsSentWithItsTagAndThenErased follows a deletion to the sink, and what is
// left of it.
func TestADeletionIsSentWithItsTagAndThenErased(t *testing.T) {
	t.Parallel()
	sent := make(chan string, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- r.Header.Get("Ce-Type") + " " + string(body)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(sink.Close)
	mounts, token := files(t, pgtest.Database(t))
	a, err := app.New(app.Options{Mounts: mounttest.Volumes(t, mounts), Log: io.Discard, Environment: app.Environment{Sink: sink.URL}})
	if err != nil {
		t.Fatal(err)
	}
	a.Start(t.Context())
	t.Cleanup(func() { _ = a.Stop() })
	until(t, "ready", func() bool { return readiness(a) == "" })
	r := httptest.NewRequest("POST", "/ai/admin/users", strings.NewReader(`{"tag":"planted-tag","name":"Planted"}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	path := w.Header().Get("Location")
	if w := ask(a.Handler(), "DELETE", path, "Authorization", "Bearer "+token); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	<-sent
	if got := <-sent; !strings.HasPrefix(got, "ai.admin.user.deleted") || !strings.Contains(got, "planted-tag") {
		t.Errorf("the sink got %s", got)
	}
	until(t, "nothing personal is left", func() bool {
		history := ask(a.Handler(), "GET", path+"/history", "Authorization", "Bearer "+token)
		feed := ask(a.Handler(), "GET", "/ai/admin/changes", "Authorization", "Bearer "+token)
		text := history.Body.String() + feed.Body.String()
		return strings.Count(feed.Body.String(), `"specversion"`) == 2 && !strings.Contains(strings.ToLower(text), "planted")
	})
}

// TestACopyWithoutASinkLeavesWhatIsToBeSent: while a rollout adds or removes the sink, the copy without it erases
// nothing that the other has still to send.
func TestACopyWithoutASinkLeavesWhatIsToBeSent(t *testing.T) {
	t.Parallel()
	sent, mended := make(chan string, 100), make(chan struct{})
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-mended:
			sent <- string(body)
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(sink.Close)
	mounts, token := files(t, pgtest.Database(t))
	copyOf := func(to string) *app.App {
		a, err := app.New(app.Options{Mounts: mounttest.Volumes(t, mounts), Log: io.Discard, Environment: app.Environment{Sink: to}})
		if err != nil {
			t.Fatal(err)
		}
		a.Start(t.Context())
		t.Cleanup(func() { _ = a.Stop() })
		until(t, "ready", func() bool { return readiness(a) == "" })
		return a
	}
	_, silent := copyOf(sink.URL), copyOf("")
	db, err := store.Open(store.Options{ConnString: mounts["postgres/PG_URL"], MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	until(t, "the other copy sends", func() bool { sending, err := relay.Sending(t.Context(), db); return sending && err == nil })
	r := httptest.NewRequest("POST", "/ai/admin/users", strings.NewReader(`{"tag":"planted-tag","name":"Planted"}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	silent.Handler().ServeHTTP(w, r)
	if w := ask(silent.Handler(), "DELETE", w.Header().Get("Location"), "Authorization", "Bearer "+token); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	time.Sleep(time.Second) // three times as long as the janitor waits after a deletion
	close(mended)
	if created, deleted := <-sent, <-sent; !strings.Contains(created, "Planted") || !strings.Contains(deleted, "planted-tag") {
		t.Errorf("the sink got %s\n%s", created, deleted)
	}
}
