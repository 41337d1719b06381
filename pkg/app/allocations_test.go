package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The most allocations that a request may make, from the handler's entry to its answer,
// with a real database behind it: a tenth above what is needed at present, with the race
// detector, which keeps less for reuse.
const (
	getAllocations  = 98
	listAllocations = 680 // of 50 users
)

// TestAllocations keeps the frequent reads from getting slower unnoticed: time cannot be
// held on a shared machine, allocations can.
func TestAllocations(t *testing.T) {
	serve, path := loaded(t)
	for _, read := range []struct {
		path string
		most float64
	}{{path, getAllocations}, {"/ai/admin/users", listAllocations}} {
		got := testing.AllocsPerRun(200, func() { serve(t, http.MethodGet, read.path, "", http.StatusOK) })
		t.Logf("GET %s: %.0f allocations", read.path, got)
		if got > read.most {
			t.Errorf("GET %s: %.0f allocations, want at most %.0f", read.path, got, read.most)
		}
	}
}

// BenchmarkGet reads one user through all layers.
func BenchmarkGet(b *testing.B) {
	serve, path := loaded(b)
	b.ReportAllocs()
	for b.Loop() {
		serve(b, http.MethodGet, path, "", http.StatusOK)
	}
}

// BenchmarkList reads a page of 50 users through all layers.
func BenchmarkList(b *testing.B) {
	serve, _ := loaded(b)
	b.ReportAllocs()
	for b.Loop() {
		serve(b, http.MethodGet, "/ai/admin/users", "", http.StatusOK)
	}
}

type serveFunc func(t testing.TB, method, path, body string, status int) *httptest.ResponseRecorder

// loaded wires a service with 60 users, and returns what serves a request of it and the
// path of one user.
func loaded(t testing.TB) (serve serveFunc, path string) {
	t.Helper()
	plain, entry, err := auth.NewToken("test", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	line, err := entry.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(app.Options{Log: io.Discard, Mounts: mounttest.Volumes(t, map[string]string{
		"postgres/PG_URL": pgtest.Database(t), "vault/k1": strings.Repeat("5a", 32), "vault/PRIMARY": "k1",
		"auth/tokens.json": "[" + string(line) + "]"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Stop() })
	serve = func(t testing.TB, method, path, body string, status int) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+plain.Reveal())
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, r)
		if w.Code != status {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w
	}
	for i := range 60 {
		w := serve(t, http.MethodPost, "/ai/admin/users", fmt.Sprintf(`{"tag":"u-%d","name":"Ada %d","email":"u%d@example.com"}`, i, i, i), http.StatusCreated)
		path = w.Header().Get("Location")
	}
	return serve, path
}
