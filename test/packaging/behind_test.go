package packaging_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const users = "/ai/admin/users"

// everyRoute drives each route once through the sidecar, and looks at what the sidecar
// could spoil: statuses, headers, conditional requests, bodies.
func everyRoute(c client) {
	headers, created := c.want("POST", users, `{"tag":"ada","name":"Ada","credentials":{"openai":"sk-0123456789abcdef"}}`, 201)
	one := users + "/" + c.field(created, "id")
	if headers.Get("Location") != one || headers.Get("ETag") != `"1"` || headers.Get("X-Request-Id") == "" {
		c.t.Errorf("headers are lost: %v", headers)
	}
	c.want("GET", users+"?tag=ada&limit=1", "", 200)
	c.want("GET", users+"?nonsense=1", "", 400)
	c.want("GET", one, "", 200)
	c.want("HEAD", one, "", 200)
	c.want("GET", one, "", 304, `If-None-Match: "1"`)
	c.want("PUT", one, `{"name":"Ada L."}`, 200, `If-Match: "1"`)
	c.want("PUT", one, `{"name":"Too late"}`, 412, `If-Match: "1"`)
	c.want("PATCH", one, `{"role":"admin"}`, 200, "Content-Type: application/merge-patch+json")
	if headers, text := c.want("GET", one+"/credentials/openai", "", 200); c.field(text, "secret") != "sk-0123456789abcdef" ||
		headers.Get("Cache-Control") != "no-store" {
		c.t.Errorf("reveal: %s %v", text, headers)
	}
	if _, text := c.want("GET", one+"/history", "", 200); strings.Count(text, `"version"`) < 3 {
		c.t.Errorf("history has not every change: %s", text)
	}
	c.want("GET", "/ai/admin/changes?limit=10", "", 200)
	c.want("GET", "/openapi.json", "", 200)
	c.want("GET", "/livez", "", 200)
	c.want("GET", "/readyz", "", 200)
	c.want("GET", "/metrics", "", 404) // on a port of its own
	c.want("GET", "/ai/admin/nothing", "", 404)
	c.want("DELETE", users, "", 405)
	c.want("GET", users, "", 401, "Authorization: Bearer wrong")
	c.want("POST", users, `{"tag":"`+strings.Repeat("x", 1<<20)+`"}`, 413)
	c.want("OPTIONS", users, "", 204, "Origin: https://nobody.example.com", "Access-Control-Request-Method: GET")
	c.want("DELETE", one, "", 204)
	c.want("GET", one, "", 404)
}

// everyMode sends one event in each mode of the HTTP binding to both addresses that a
// Trigger may have.
func everyMode(c client) {
	for _, path := range []string{"/ai/admin/events", "/"} {
		name := strings.Trim(strings.ReplaceAll(path, "/", "-"), "-") + "x"
		event := func(id, kind, data string) string {
			return fmt.Sprintf(`{"specversion":"1.0","id":"%s-%s","source":"/test","type":"ai.admin.user.%s","datacontenttype":"application/json","data":%s}`, name, id, kind, data)
		}
		headers, _ := c.want("POST", path, fmt.Sprintf(`{"tag":"b.%s","name":"Binary"}`, name), 200,
			"ce-specversion: 1.0", "ce-id: "+name+"-binary", "ce-source: /test", "ce-type: ai.admin.user.create")
		if headers.Get("Ce-Type") != "ai.admin.user.created" {
			c.t.Errorf("%s: the answer is no event: %v", path, headers)
		}
		c.want("POST", path, event("structured", "create", `{"tag":"s.`+name+`","name":"Structured"}`), 200,
			"Content-Type: application/cloudevents+json; charset=utf-8")
		c.want("POST", path, "["+event("b1", "update", `{"tag":"b.`+name+`","name":"Batch"}`)+","+event("b2", "delete", `{"tag":"s.`+name+`"}`)+"]", 200,
			"Content-Type: application/cloudevents-batch+json")
		c.want("POST", path, event("bad", "create", `{"tag":"?"}`), 422, "Content-Type: application/cloudevents+json")
	}
}

// manyAtOnce sends as many requests at once as the concurrency limit lets in.
func manyAtOnce(t *testing.T, url string) {
	const clients, each = 500, 4
	var failed atomic.Int64
	var group sync.WaitGroup
	started := time.Now()
	for range clients {
		group.Go(func() {
			c := client{t, url}
			for range each {
				if answer, text, err := c.send("GET", users+"?limit=50", ""); err != nil || answer.StatusCode != 200 {
					failed.Add(1)
					t.Logf("%v %.200s", err, text)
				}
			}
		})
	}
	group.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, clients*each)
	}
	t.Logf("%d requests by %d clients in %v", clients*each, clients, time.Since(started).Round(time.Millisecond))
}

// timesOut asks for users while another transaction holds their table, through the sidecar
// of a revision whose timeout is limit seconds, and wants a 504 with says in its body.
func timesOut(t *testing.T, s sidecar, database, says string) {
	unlock := lockUsers(t, database)
	defer unlock()
	started := time.Now()
	_, text := client{t, s.url}.want("GET", users, "", http.StatusGatewayTimeout)
	if took := time.Since(started); took < 900*time.Millisecond || took > 20*time.Second || !strings.Contains(text, says) {
		t.Errorf("after %v: %q, want %q after a second", took, text, says)
	}
	if s.probe() != http.StatusOK {
		t.Error("one slow request made the pod unready")
	}
	unlock()
	client{t, s.url}.want("GET", users, "", http.StatusOK)
	s.stopNow(t)
}

// lockUsers keeps every statement on users waiting until the returned function is called,
// which may be more than once.
func lockUsers(t *testing.T, database string) (unlock func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = conn.Close(context.Background()) }
}

// stopNow frees the sidecar's fixed ports for the next one.
func (s sidecar) stopNow(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
}

// stopsUnderLoad ends the pod as the kubelet does: SIGTERM to the sidecar, and to us only
// when our preStop hook, the sidecar's /wait-for-drain, has returned. Meanwhile clients
// go on until the router has noticed that the pod is not ready. The sidecar waits 30 s
// for that, so this takes as long.
func stopsUnderLoad(t *testing.T, s sidecar, app *process) {
	load := startLoad(t, s)
	time.Sleep(300 * time.Millisecond)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() {
		answer, err := http.Get("http://127.0.0.1:8022/wait-for-drain")
		if err == nil {
			_ = answer.Body.Close()
		}
		drained <- err
	}()
	for deadline := time.Now().Add(5 * time.Second); s.probe() == http.StatusOK; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sidecar stays ready after SIGTERM")
		}
	}
	time.Sleep(2 * time.Second) // routers take their time to notice
	load.stop(t)
	if err := <-drained; err != nil {
		t.Errorf("preStop hook: %v", err)
	}
	app.stop(t, 10*time.Second)
	<-s.exited
}

// load is readers and writers that go on until they are stopped.
type load struct {
	group         sync.WaitGroup
	ended         atomic.Bool
	sent, failed  atomic.Int64
	firstComplain sync.Once
}

func startLoad(t *testing.T, s sidecar) *load {
	l := new(load)
	for i := range 16 {
		l.group.Go(func() {
			c := client{t, s.url}
			for n := 0; !l.ended.Load(); n++ {
				answer, text, err := c.send("POST", users, fmt.Sprintf(`{"tag":"load-%d-%d","name":"Load"}`, i, n))
				l.sent.Add(1)
				if err != nil || answer.StatusCode != http.StatusCreated {
					l.failed.Add(1)
					l.firstComplain.Do(func() { t.Logf("first failure: %v %.300s", err, text) })
				}
			}
		})
	}
	return l
}

func (l *load) stop(t *testing.T) {
	l.ended.Store(true)
	l.group.Wait()
	if l.failed.Load() > 0 || l.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed", l.failed.Load(), l.sent.Load())
	}
	t.Logf("%d requests while stopping, none failed", l.sent.Load()-l.failed.Load())
}
