package blackbox

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between the service and its database, and can be cut: connections break and
// new ones are refused, or stalled: connections stay and nothing passes.
type proxy struct {
	address, target string
	mu              sync.Mutex
	listener        net.Listener
	open            map[net.Conn]bool
	stalled         chan struct{} // nil, or closed when the stall ends
}

// behindProxy is the address of a database through a proxy of its own.
func behindProxy(t testing.TB, database string) (string, *proxy) {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	p := &proxy{target: u.Host, address: "127.0.0.1:0", open: map[net.Conn]bool{}}
	p.mend(t)
	t.Cleanup(p.cut)
	u.Host = p.address
	return u.String(), p
}

func (p *proxy) mend(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", p.address)
	must(t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address, p.listener = listener.Addr().String(), listener
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.listener.Close()
	for conn := range p.open {
		_ = conn.Close()
	}
	clear(p.open)
}

// stall holds everything back until the returned function is called.
func (p *proxy) stall() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.stalled = gate
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stalled = nil
		close(gate)
	})
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
	p.mu.Lock()
	delete(p.open, client)
	delete(p.open, server)
	p.mu.Unlock()
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		gate := p.stalled
		p.mu.Unlock()
		if gate != nil {
			<-gate
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// TestDatabaseAway holds that an outage is a 503 on every route, that nothing of it shows,
// and that all works again when it ends, with no restart.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	url, p := behindProxy(t, database(t))
	s := serve(t, url)
	routes := s.routes(t)
	for round := range 2 {
		p.cut()
		s.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
		for _, r := range routes {
			a := s.call(t, r)
			a.fails(t, http.StatusServiceUnavailable, "DATABASE_UNAVAILABLE")
			if a.header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", r)
			}
		}
		ready := s.do(t, "GET", "/readyz", "").is(t, http.StatusServiceUnavailable)
		if !strings.Contains(string(ready.body), "database") {
			t.Errorf("readyz does not name the database: %s", ready.body)
		}
		s.do(t, "GET", "/livez", "").is(t, http.StatusOK)
		s.do(t, "GET", "/openapi.json", "").is(t, http.StatusOK)
		s.do(t, "POST", usersPath, `{"tag":"-"}`).fails(t, http.StatusBadRequest, "VALIDATION_ERROR") // needs no database
		p.mend(t)
		s.waitReady(t)
		s.get(t, s.create(t).ID)
		if round > 0 {
			for _, r := range routes {
				s.call(t, r).is(t, r.success)
			}
		}
	}
}

// TestDatabaseAwayAtStart holds that a service waits for its database.
func TestDatabaseAwayAtStart(t *testing.T) {
	t.Parallel()
	url, p := behindProxy(t, database(t))
	p.cut()
	s := launch(t, url, quickStop)
	s.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
	s.do(t, "GET", "/livez", "").is(t, http.StatusOK)
	s.do(t, "GET", usersPath, "").fails(t, http.StatusServiceUnavailable, "DATABASE_UNAVAILABLE")
	p.mend(t)
	s.waitReady(t)
	s.create(t)
}

// TestDatabaseHangs holds that a database that no longer answers ends in 503 or 504 within
// the request's time, and that the service recovers.
func TestDatabaseHangs(t *testing.T) {
	t.Parallel()
	url, p := behindProxy(t, database(t))
	s := serveWith(t, url, []string{"--request-timeout", "1s"})
	routes := s.routes(t)
	resume := p.stall()
	defer resume()
	var group sync.WaitGroup
	for _, r := range routes {
		group.Go(func() {
			began := time.Now()
			a := s.call(t, r)
			code := a.problem(t).ErrorCode
			if !slices.Contains([]int{503, 504}, a.status) || !slices.Contains([]string{"TIMEOUT", "DATABASE_UNAVAILABLE"}, code) {
				t.Errorf("%s: %d %s", r, a.status, a.body)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s took %s", r, took)
			}
		})
	}
	group.Wait()
	resume()
	s.waitReady(t)
	s.create(t)
}

// TestLostAnswer cuts the database while changes are being made: whatever a client was told,
// a retry with the same key has one effect.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	url, p := behindProxy(t, database(t))
	s := serve(t, url)
	var group sync.WaitGroup
	const writers = 8
	for w := range writers {
		group.Go(func() {
			for i := range 15 {
				tag := newTag()
				body := fmt.Sprintf(`{"tag":%q,"name":"N"}`, tag)
				key := fmt.Sprintf("lost-%d-%d", w, i)
				for attempt := 0; ; attempt++ {
					a := s.do(t, "POST", usersPath, body, "Idempotency-Key", key)
					if a.status == http.StatusCreated {
						if got := len(s.historyPatient(t, a.user(t).ID)); got != 1 {
							t.Errorf("%d entries of history", got)
						}
						break
					}
					if a.status != 503 && a.status != 409 || attempt > 400 {
						t.Errorf("attempt %d: %d %s", attempt, a.status, a.body)
						break
					}
					time.Sleep(25 * time.Millisecond)
				}
			}
		})
	}
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		p.cut()
		time.Sleep(50 * time.Millisecond)
		p.mend(t)
	}
	group.Wait()
}

// historyPatient asks again while the database is away.
func (s *service) historyPatient(t testing.TB, id string) []historyEntry {
	t.Helper()
	for range 400 {
		req := s.request(t, "GET", usersPath+"/"+id+"/history", "")
		if resp, err := s.client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				var body struct{ History []historyEntry }
				if a := s.do(t, "GET", usersPath+"/"+id+"/history", ""); a.status == http.StatusOK {
					a.decode(t, &body)
					return body.History
				}
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	return nil
}
