package gateways

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/test/logtest"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// service is ai-admin with a database of its own, which can be cut off.
type service struct {
	address, token string // what a gateway is configured with
	admin          string // a token that may do everything
	line           *line
	log            *logtest.Buffer
	tags           int
}

func newService(t testing.TB) *service {
	t.Helper()
	s := &service{log: &logtest.Buffer{}}
	gatewayToken, gateway, err := auth.NewToken("gateway", auth.AccessCheck, auth.CredentialsRead)
	if err != nil {
		t.Fatal(err)
	}
	adminToken, admin, err := auth.NewToken("admin", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := json.Marshal([]auth.Token{gateway, admin})
	if err != nil {
		t.Fatal(err)
	}
	database, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	s.line = newLine(t, database.Host)
	database.Host = s.line.address()
	a, err := app.New(app.Options{Log: s.log, Mounts: mounttest.Volumes(t, map[string]string{"postgres/PG_URL": database.String(),
		"vault/k1": strings.Repeat("5a", 32), "vault/PRIMARY": "k1", "auth/tokens.json": string(tokens)})})
	if err != nil {
		t.Fatal(err)
	}
	a.Start(t.Context())
	server := httptest.NewServer(a.Handler())
	t.Cleanup(func() { _ = a.Stop() }) // it fails when the database is cut off
	t.Cleanup(server.Close)
	s.address, s.token, s.admin = strings.TrimPrefix(server.URL, "http://"), gatewayToken.Reveal(), adminToken.Reveal()
	return s
}

// call asks the administration for something and decodes the answer.
func (s *service) call(t testing.TB, method, path string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, "http://"+s.address+"/ai/admin/users"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.admin)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err = io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode > 299 {
		t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// person is a user with a credential and a key.
type person struct{ id, key string }

// user makes one; members are those of the body of POST /ai/admin/users.
func (s *service) user(t testing.TB, members map[string]any) person {
	t.Helper()
	s.tags++
	body := map[string]any{"tag": fmt.Sprintf("user-%d", s.tags), "name": "Ada", "credentials": map[string]any{"openai": credential}}
	for name, value := range members {
		body[name] = value
	}
	var made, key struct{ ID, Secret string }
	s.call(t, http.MethodPost, "", body, &made)
	s.call(t, http.MethodPost, "/"+made.ID+"/keys", map[string]any{"name": "test"}, &key)
	return person{made.ID, key.Secret}
}

func (s *service) suspend(t testing.TB, p person) {
	t.Helper()
	s.call(t, http.MethodPut, "/"+p.id, map[string]any{"status": "suspended"}, &struct{}{})
}

func (s *service) stopDatabase(testing.TB) { s.line.cut() }

// line is the connection to the database, to be cut.
type line struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	ended bool
	conns []net.Conn
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, to: to}
	t.Cleanup(l.cut)
	go l.serve()
	return l
}

func (l *line) address() string { return l.listener.Addr().String() }

func (l *line) serve() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		other, err := net.Dial("tcp", l.to)
		if err != nil || !l.keep(conn, other) {
			_ = conn.Close()
			continue
		}
		go func() { _, _ = io.Copy(other, conn); _ = other.Close() }()
		go func() { _, _ = io.Copy(conn, other); _ = conn.Close() }()
	}
}

func (l *line) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conns...)
	return !l.ended
}

// cut ends all connections and takes no more.
func (l *line) cut() {
	_ = l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}
