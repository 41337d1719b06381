package faults

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// delivery is a request that reached the sink.
type delivery struct {
	id, kind, subject, sequence, cause string
	content                            [32]byte // of type, time, source, extensions and data
	accepted                           bool     // with a 2xx that may have got through
	at                                 time.Time
}

// sink takes events and notes them, with the faults of its mood.
type sink struct {
	*httptest.Server
	address string
	mood    atomic.Pointer[mood]
	mu      sync.Mutex
	log     []delivery
}

// mood answers a delivery: a status, or 0 to hang up in the middle of an answer.
type mood struct {
	name   string
	answer func(w http.ResponseWriter, d delivery) int
	closed bool // nobody listens
}

var (
	well  = mood{name: "well", answer: func(http.ResponseWriter, delivery) int { return http.StatusAccepted }}
	moods = []mood{
		{name: "slow", answer: func(http.ResponseWriter, delivery) int {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
			return http.StatusOK
		}},
		{name: "hanging up", answer: func(http.ResponseWriter, delivery) int { return rand.IntN(2) * http.StatusAccepted }},
		{name: "503", answer: func(http.ResponseWriter, delivery) int { return http.StatusServiceUnavailable }},
		{name: "429", answer: func(w http.ResponseWriter, _ delivery) int {
			if rand.IntN(2) == 0 {
				return http.StatusOK
			}
			w.Header().Set("Retry-After", "1")
			return http.StatusTooManyRequests
		}},
		{name: "down", closed: true},
	}
)

func newSink(t testing.TB) *sink {
	t.Helper()
	s := &sink{}
	s.mood.Store(&well)
	s.listen(t, "127.0.0.1:0")
	s.address = s.Listener.Addr().String()
	t.Cleanup(func() { s.hangUp() })
	return s
}

func (s *sink) url() string { return "http://" + s.address + "/events" }

func (s *sink) listen(t testing.TB, address string) {
	t.Helper()
	var listener net.Listener
	var err error
	for range 100 {
		if listener, err = net.Listen("tcp", address); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	must(t, err)
	s.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(s.serve)}}
	s.Start()
}

func (s *sink) hangUp() {
	s.CloseClientConnections()
	s.Close()
}

// become changes the sink's mood.
func (s *sink) become(t testing.TB, m mood) {
	t.Helper()
	was := s.mood.Swap(&m)
	switch {
	case m.closed && !was.closed:
		s.hangUp()
	case was.closed && !m.closed:
		s.listen(t, s.address)
	}
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender died in the middle
	}
	h := r.Header
	d := delivery{id: h.Get("Ce-Id"), kind: h.Get("Ce-Type"), subject: h.Get("Ce-Subject"), sequence: h.Get("Ce-Sequence"),
		cause: h.Get("Ce-Causationid"), at: time.Now(),
		content: sha256.Sum256([]byte(h.Get("Ce-Type") + "\n" + h.Get("Ce-Time") + "\n" + h.Get("Ce-Source") + "\n" + h.Get("Ce-Partitionkey") + "\n" + string(body)))}
	m := s.mood.Load()
	status := http.StatusServiceUnavailable
	if m.answer != nil {
		status = m.answer(w, d)
	}
	d.accepted = status/100 == 2
	s.mu.Lock() // noted before it is answered: the next event of the user comes after the answer
	s.log = append(s.log, d)
	s.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 O")
		_ = conn.Close()
	}
}

func (s *sink) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery(nil), s.log...)
}
