package blackbox

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestH2C speaks HTTP/2 without TLS, by prior knowledge.
func TestH2C(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	s.client.Transport = transport
	u := s.create(t)
	for range 50 {
		s.do(t, "GET", u.path(), "").is(t, http.StatusOK)
	}
	response, err := s.client.Do(s.request(t, "GET", u.path(), ""))
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.ProtoMajor != 2 {
		t.Errorf("%s", response.Proto)
	}
	s.do(t, "POST", usersPath, strings.Repeat(" ", 2<<20)).fails(t, http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
	s.do(t, "GET", u.path(), "").is(t, http.StatusOK)
}

// TestMetrics holds that metrics have a port of their own and name no user.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t, `"email":"metrics@example.com","credentials":{"openai":"planted-openai-1"}`)
	s.do(t, "GET", u.path(), "").is(t, http.StatusOK)
	s.do(t, "GET", "/nope/"+u.ID, "").is(t, http.StatusNotFound)
	s.do(t, "GET", "/metrics", "").fails(t, http.StatusNotFound, "NOT_FOUND")
	response, err := s.client.Get(s.metrics + "/metrics")
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	text := string(body)
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
	for _, word := range []string{u.ID, u.Tag + "\"", "metrics@example.com", planted, "/nope"} {
		if strings.Contains(text, word) {
			t.Errorf("the metrics show %s", word)
		}
	}
	for _, want := range []string{usersPath + "/{UserID}", `404`, `201`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	response, err = s.client.Get(s.metrics + usersPath)
	must(t, err)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("users on the metrics port: %d", response.StatusCode)
	}
}

// TestLogLines holds what the log says of a request: enough to find it, and no secret.
func TestLogLines(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)
	for _, tt := range []struct {
		method, path, body, route string
		status                    float64
		headers                   []string
	}{
		{"GET", u.path(), "", usersPath + "/{UserID}", 200, nil},
		{"GET", u.path() + "/credentials/openai", "", usersPath + "/{UserID}/credentials/{provider}", 200, nil},
		{"PUT", u.path(), `{"credentials":{"openai":"planted-openai-2"},"name":5}`, usersPath + "/{UserID}", 400, nil},
		{"PUT", u.path(), `{"credentials":{"openai":"planted`, usersPath + "/{UserID}", 400, nil},
		{"PUT", u.path(), `{"credentials":{"openai":{"planted":1}}}`, usersPath + "/{UserID}", 400, nil},
		{"POST", usersPath, `{"tag":"x","name":"N","credentials":{"a":"planted-a","a":"planted-b"}}`, usersPath, 400, nil},
		{"GET", usersPath, "", usersPath, 401, []string{"Authorization", "Bearer tok-planted-unknown"}},
		{"GET", usersPath + "?q=x%22%0ainjected", "", usersPath, 200, nil},
		{"GET", "/no/such/route", "", "", 404, nil},
	} {
		id := newTag()
		a := s.do(t, tt.method, tt.path, tt.body, append(tt.headers, "X-Request-Id", id)...)
		entry := s.logs.find(t, id)
		if n := strings.Count(s.logs.out.String(), `"requestId":"`+id+`"`); n != 1 {
			t.Errorf("%d lines of one request", n)
		}
		if entry["status"] != tt.status || float64(a.status) != tt.status || entry["method"] != tt.method || tt.route != "" && entry["route"] != tt.route {
			t.Errorf("%s %s → %d: %v", tt.method, tt.path, a.status, entry)
		}
		if entry["duration"] == nil {
			t.Errorf("no duration: %v", entry)
		}
		if tt.status == 200 && entry["actor"] != "name-of-admin" {
			t.Errorf("actor: %v", entry)
		}
	}
}
