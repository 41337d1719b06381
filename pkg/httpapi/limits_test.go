package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"aiadmin/pkg/user"
)

func TestGateLetsWaitAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	const places = 2
	release, entered := make(chan struct{}), make(chan struct{}, 100)
	a, _ := service(t, fake{get: func(context.Context) (*user.User, error) {
		entered <- struct{}{}
		<-release
		return someone(), nil
	}}, func(o *Options) { o.Gate = NewGate(places) })
	answers := make(chan int, places+places*waitingPerPlace)
	for range cap(answers) { // some at work, the others in line
		go func() { answers <- ask(a, "GET", onePath).Code }()
	}
	<-entered
	for len(a.options.Gate.line) < places*waitingPerPlace {
		time.Sleep(time.Millisecond)
	}
	refused := ask(a, "GET", onePath)
	if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") == "" {
		t.Errorf("beyond the line: %d %v", refused.Code, refused.Header())
	}
	close(release)
	for range cap(answers) {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("one that waited: %d", status)
		}
	}
	if left := len(a.options.Gate.line); left != 0 {
		t.Errorf("%d are in line for ever", left)
	}
}

func TestGateEndsWaiting(t *testing.T) {
	t.Parallel()
	g := NewGate(1)
	g.patience = time.Millisecond
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context()); user.KindOf(err) != user.Unavailable {
		t.Errorf("out of patience: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	g.patience = time.Minute
	if _, err := g.Enter(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("the client left: %v", err)
	}
	leave()
	if _, err := g.Enter(t.Context()); err != nil {
		t.Errorf("after a leave: %v", err)
	}
	if left := len(g.line); left != 0 {
		t.Errorf("%d are in line for ever", left)
	}
}

// TestTricklingBodiesKeepNobodyOut: a body that is on its way takes no place, and ends in time.
func TestTricklingBodiesKeepNobodyOut(t *testing.T) {
	t.Parallel()
	const places = 3
	a, _ := service(t, fake{apply: func(context.Context) error { return nil }}, func(o *Options) { o.Gate, o.BodyTimeout = NewGate(places), 2*time.Second })
	s := httptest.NewServer(a)
	defer s.Close()
	statuses := make(chan string, 3*places+5)
	for i := range cap(statuses) { // more than have a place, and than may wait for one
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		length := []int{40, 40_000, 1 << 20}[i%3]
		if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", onePath, length); err != nil {
			t.Fatal(err)
		}
		go func() {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			statuses <- strings.TrimSpace(line)
		}()
	}
	began := time.Now()
	for range 20 {
		if status, _ := send(t, s.Client().Transport, "PUT", s.URL+onePath, strings.NewReader(`{"name":"Ada"}`)); status != http.StatusOK {
			t.Errorf("a whole request: %d", status)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("whole requests took %v beside those that trickle", took)
	}
	for range cap(statuses) {
		if line := <-statuses; line != "HTTP/1.1 504 Gateway Timeout" {
			t.Errorf("a body that never comes whole: %q", line)
		}
	}
}

// TestSlowReadersGiveTheirPlacesBack: a client that asks for a large page and does not read
// it is cut off in time.
func TestSlowReadersGiveTheirPlacesBack(t *testing.T) {
	t.Parallel()
	const places = 2
	large := someone()
	large.Metadata = []byte(`{"x":"` + strings.Repeat("x", 16<<10) + `"}`)
	page := user.Page{}
	for range 500 {
		page.Users = append(page.Users, large)
	}
	a, log := service(t, fake{list: func(context.Context) (user.Page, error) { return page, nil },
		get: func(context.Context) (*user.User, error) { return someone(), nil }},
		func(o *Options) { o.Gate, o.AnswerTimeout = NewGate(places), -31*time.Second }) // with 8 MB at 2 Mbit/s: a second
	s := httptest.NewServer(a)
	defer s.Close()
	for i := range places {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET %s?limit=500&page=%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n", usersPath, i+1); err != nil {
			t.Fatal(err)
		}
	}
	for len(a.options.Gate.places) < places {
		time.Sleep(time.Millisecond)
	}
	if answer := ask(a, "GET", onePath); answer.Code != http.StatusOK { // waits for a place
		t.Errorf("%d", answer.Code)
	}
	// The line comes after the place is given back.
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "i/o timeout"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody was cut off: %s", log)
		}
	}
}

// TestRequestGoesOnAfterItsBody: the time for the body is no bound of the work.
func TestRequestGoesOnAfterItsBody(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{apply: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
			return nil
		}
	}}, func(o *Options) { o.BodyTimeout = 100 * time.Millisecond })
	s := httptest.NewServer(a)
	defer s.Close()
	if status, _ := send(t, s.Client().Transport, "PUT", s.URL+onePath, strings.NewReader(`{"name":"Ada"}`)); status != http.StatusOK {
		t.Errorf("%d", status)
	}
}

// send sends a request over the network, and returns the status and the answer.
func send(t *testing.T, by http.RoundTripper, method, url string, body io.Reader) (int, string) {
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("Content-Type", "application/json")
	answer, err := by.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(text)
}

func TestPanicEndsOneRequest(t *testing.T) {
	t.Parallel()
	calls := 0
	a, log := service(t, fake{get: func(context.Context) (*user.User, error) {
		if calls++; calls == 1 {
			panic("sk-planted in a panic")
		}
		return someone(), nil
	}}, nil)
	w := ask(a, "GET", onePath)
	var document struct{ ErrorCode user.Kind }
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || w.Code != 500 || document.ErrorCode != user.Internal {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "planted") {
		t.Error("the answer tells of the panic")
	}
	if !strings.Contains(log.String(), w.Header().Get("X-Request-Id")) {
		t.Error("the log does not have the request's id")
	}
	if next := ask(a, "GET", onePath); next.Code != 200 {
		t.Errorf("the next request: %d", next.Code)
	}
}

// TestPanicCutsOffAnAnswer: a client must not take the beginning of an answer for all of it.
func TestPanicCutsOffAnAnswer(t *testing.T) {
	t.Parallel()
	a, log := service(t, fake{}, func(o *Options) {
		o.Schemas = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"a":`)
			_ = http.NewResponseController(w).Flush()
			panic("planned")
		})
	})
	s := httptest.NewServer(a)
	defer s.Close()
	answer, err := s.Client().Get(s.URL + "/ai/admin/schemas/x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("the answer ends as if it were whole: %s", body)
	}
	if !strings.Contains(log.String(), `"error":"panic: planned"`) {
		t.Errorf("the request's line does not tell: %s", log)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{get: func(ctx context.Context) (*user.User, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}, func(o *Options) { o.Timeout = 30 * time.Millisecond })
	s := httptest.NewServer(a)
	defer s.Close()
	for _, test := range []struct {
		method, path string
		body         io.Reader
	}{
		{"GET", onePath, nil},
		{"POST", usersPath, neverEnding(t)},
	} {
		status, body := send(t, s.Client().Transport, test.method, s.URL+test.path, test.body)
		if status != http.StatusGatewayTimeout || !strings.Contains(body, string(user.Timeout)) {
			t.Errorf("%s: %d %s", test.method, status, body)
		}
	}
}

// neverEnding is a body of which only the beginning arrives.
func neverEnding(t *testing.T) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	go func() { _, _ = w.Write([]byte(`{"tag":`)) }()
	return r
}

func TestClientGone(t *testing.T) {
	t.Parallel()
	a, log := service(t, fake{get: func(ctx context.Context) (*user.User, error) { <-ctx.Done(); return nil, ctx.Err() }}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", onePath, nil)
	r.Header.Set("Authorization", "Bearer planted-token")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if w.Body.Len() > 0 || !strings.Contains(log.String(), `"status":499`) {
		t.Errorf("answered %q, logged %s", w.Body, log)
	}
	r = httptest.NewRequestWithContext(ctx, "GET", usersPath+"?limit=0", nil)
	r.Header.Set("Authorization", "Bearer planted-token")
	w = httptest.NewRecorder()
	if a.ServeHTTP(w, r); w.Code != 400 { // it may have closed its half of the connection alone
		t.Errorf("what needs no wait is answered %d %s", w.Code, w.Body)
	}
}

func TestLogLine(t *testing.T) {
	t.Parallel()
	a, log := service(t, fake{}, nil)
	ask(a, "GET", onePath+"/credentials/openai", "X-Request-Id", "r-1")
	var line map[string]any
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"requestId": "r-1", "method": "GET", "status": 200., "actor": "tester",
		"route": "/ai/admin/users/{UserID}/credentials/{provider}"} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	if line["userId"] == nil || line["provider"] != "openai" {
		t.Errorf("the log does not tell whose secret was revealed: %s", log)
	}
	if strings.Contains(log.String(), "planted") {
		t.Errorf("the log tells too much: %s", log)
	}
}

// TestPagesShareABudgetOfBytes: of large pages only so many are read at once that their users fit into memory;
// small ones do not wait for each other.
func TestPagesShareABudgetOfBytes(t *testing.T) {
	t.Parallel()
	for limit, most := range map[int]int{500: 4, 50: 20} {
		entered, leave := make(chan struct{}, 20), make(chan struct{})
		a, _ := service(t, fake{list: func(context.Context) (user.Page, error) {
			entered <- struct{}{}
			<-leave
			return user.Page{}, nil
		}}, nil)
		var done sync.WaitGroup
		for i := range 20 {
			done.Go(func() { ask(a, "GET", fmt.Sprintf("%s?limit=%d&tag=t%d", usersPath, limit, i)) })
		}
		for range most {
			<-entered
		}
		if limit == 500 { // the others wait until one of them is answered
			select {
			case <-entered:
				t.Errorf("more than %d pages of %d are read at once", most, limit)
			case <-time.After(50 * time.Millisecond):
			}
		}
		close(leave)
		done.Wait()
	}
}

// TestAllocations holds reads under a ceiling: each allocation is work for every request.
// The recorder, the request and their headers are the test's own and counted too.
func TestAllocations(t *testing.T) {
	page := user.Page{}
	for range 50 {
		page.Users = append(page.Users, someone())
	}
	a, _ := service(t, fake{get: func(context.Context) (*user.User, error) { return someone(), nil },
		list: func(context.Context) (user.Page, error) { return page, nil }}, nil)
	for path, most := range map[string]float64{onePath: 65, usersPath: 70} {
		ask(a, "GET", path)
		if got := testing.AllocsPerRun(100, func() { ask(a, "GET", path) }); got > most {
			t.Errorf("GET %s makes %.0f allocations, at most %.0f are wanted", path, got, most)
		} else {
			t.Logf("GET %s: %.0f allocations", path, got)
		}
	}
}

// TestTricklingStreamsOfHTTP2 shares one connection between a body that trickles in and
// whole requests.
func TestTricklingStreamsOfHTTP2(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{apply: func(context.Context) error { return nil }}, func(o *Options) { o.BodyTimeout = 500 * time.Millisecond })
	s := httptest.NewUnstartedServer(a)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	transport := &http.Transport{Protocols: s.Config.Protocols}
	defer transport.CloseIdleConnections()
	put := func(body io.Reader) int {
		status, _ := send(t, transport, "PUT", s.URL+onePath, body)
		return status
	}
	trickled := make(chan int)
	go func() { trickled <- put(neverEnding(t)) }()
	for range 20 {
		if got := put(strings.NewReader(`{"name":"Ada"}`)); got != http.StatusOK {
			t.Errorf("a whole request: %d", got)
		}
	}
	if got := <-trickled; got != http.StatusGatewayTimeout {
		t.Errorf("a body that never comes whole: %d", got)
	}
}
