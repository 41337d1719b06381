package eventapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/eventapi"
	"aiadmin/pkg/request"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
	"aiadmin/test/pgtest"
)

// service is the handler on a real server and a real database.
type service struct {
	*httptest.Server
	admin *admin.Service
	db    *store.Store
}

func start(t testing.TB) *service {
	t.Helper()
	return serve(t, pgtest.Database(t))
}

func serve(t testing.TB, url string) *service {
	t.Helper()
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := vault.ParseKeyRing(map[string]string{"k": strings.Repeat("0f", 32), "PRIMARY": "k"})
	if err != nil {
		t.Fatal(err)
	}
	a := admin.New(db, keys, admin.Retention{Events: time.Hour, Requests: time.Hour}, admin.Options{Log: slog.New(slog.DiscardHandler)})
	s := withAdmin(t, a)
	s.admin, s.db = a, db
	return s
}

// withAdmin is the handler on a real server, over any service.
func withAdmin(t testing.TB, a eventapi.Admin) *service {
	t.Helper()
	server := httptest.NewServer(handler(a))
	t.Cleanup(server.Close)
	return &service{Server: server}
}

func handler(a eventapi.Admin) http.Handler {
	h := eventapi.New(eventapi.Options{Admin: a, Source: "/ai/admin/users",
		Enter: func(context.Context) (func(), error) { return func() {}, nil }})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(request.With(r.Context(), &request.Info{Actor: "sender"})))
	})
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *service) post(t testing.TB, header map[string]string, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/ai/admin/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header[http.CanonicalHeaderKey(name)] = strings.Split(value, "\n") // a line each
	}
	return s.do(t, request)
}

func (s *service) do(t testing.TB, request *http.Request) answer {
	t.Helper()
	response, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func (a answer) errorCode() string {
	var problem struct{ ErrorCode string }
	_ = json.Unmarshal([]byte(a.body), &problem)
	return problem.ErrorCode
}

// binary is the header of an event in binary mode, with changes; "-" takes one away.
func binary(eventType, id string, changes map[string]string) map[string]string {
	h := map[string]string{"Content-Type": "application/json", "ce-specversion": "1.0", "ce-id": id, "ce-source": "/hr", "ce-type": eventType}
	maps.Copy(h, changes)
	maps.DeleteFunc(h, func(_, value string) bool { return value == "-" })
	return h
}

func structured(contentType string) map[string]string {
	return map[string]string{"Content-Type": contentType}
}

const (
	oneEvent  = "application/cloudevents+json"
	someEvent = "application/cloudevents-batch+json"
)

// envelope is an event as JSON, its members changed; an empty value takes one away.
func envelope(eventType, id, data string, changes map[string]string) string {
	members := map[string]string{"specversion": `"1.0"`, "id": fmt.Sprintf("%q", id), "source": `"/hr"`, "type": fmt.Sprintf("%q", eventType), "data": data}
	maps.Copy(members, changes)
	var parts []string
	for name, value := range members {
		if value != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func mustID(t testing.TB, s string) uuid.UUID {
	t.Helper()
	id, ok := user.ParseID(s)
	if !ok {
		t.Fatalf("%q is no id", s)
	}
	return id
}
