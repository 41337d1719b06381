package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"aiadmin/pkg/server"
)

// sinkCmd is where events go: it answers each in a millisecond and keeps account.
type sinkCmd struct {
	Port int `required:""`
}

// sinkTime is how long the sink takes to answer.
const sinkTime = time.Millisecond

// account is what a sink has got.
type account struct {
	Events      int                  `json:"events"`
	Inversions  int                  `json:"inversions"` // events that came after a later one of their user
	First, Last time.Time            // arrivals
	Arrived     map[string]time.Time // by subject, of version 1
}

type sink struct {
	mu      sync.Mutex
	account account
	reached map[string]string // the highest sequence, by subject
}

// Run serves until ctx ends.
func (c sinkCmd) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return err
	}
	s := server.New(server.Options{Handler: &sink{reached: map[string]string{}, account: account{Arrived: map[string]time.Time{}}},
		Log: slog.New(slog.DiscardHandler), DrainDelay: 1})
	return s.Run(ctx, listener)
}

// ServeHTTP takes an event, or tells the account.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if r.Method == http.MethodGet {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.account)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	if subject := r.Header.Get("Ce-Subject"); subject != "" {
		s.take(subject, r.Header.Get("Ce-Sequence"), now)
	}
	time.Sleep(sinkTime)
	w.WriteHeader(http.StatusAccepted)
}

func (s *sink) take(subject, sequence string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.account
	if a.Events++; a.Events == 1 {
		a.First = now
	}
	a.Last = now
	if sequence < s.reached[subject] {
		a.Inversions++
	}
	s.reached[subject] = sequence
	if sequence == fmt.Sprintf("%020d", 1) {
		a.Arrived[subject] = now
	}
}

// measureRelay drains a full outbox, and then sends single events.
func measureRelay(ctx context.Context, b *bench, r *report) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	port := freePort()
	to, err := start(exec.Command(self, "sink", "--port", strconv.Itoa(port)), port)
	if err != nil {
		return err
	}
	defer to.stop()
	if err := to.await(ctx, "/"); err != nil {
		return err
	}
	b.service.stop()
	if err := b.fillOutbox(ctx); err != nil {
		return err
	}
	if b.service, err = b.startService(ctx, b.mounts(), "K_SINK=http://"+to.address); err != nil {
		return err
	}
	if err := b.measureDrain(ctx, to, r); err != nil {
		return err
	}
	return b.measureLatency(ctx, to, r)
}

const (
	pending    = 100_000
	perUser    = 5    // events of one user among them
	singly     = 200  // events sent one at a time
	drainFrom  = 5000 // the goal, per second
	drainLimit = 90 * time.Second
)

// fillOutbox makes events that are to be sent, several of each user, in turns.
func (b *bench) fillOutbox(ctx context.Context) error {
	progress("filling the outbox with %d events", pending)
	_, err := b.db.Exec(ctx, "TRUNCATE outbox")
	if err != nil {
		return err
	}
	_, err = b.db.Exec(ctx, `WITH event AS (
		INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
		SELECT gen_random_uuid(), ('00000000-0000-7000-8000-' || ($1::bigint + n % ($2::bigint / $3)))::uuid, 2 + n / ($2::bigint / $3),
			'ai.admin.user.updated', now(), 'bench', 'bench',
			json_build_object('user', json_build_object('tag', n::text, 'name', repeat('x', 300)), 'changed', json_build_array('name')), '[]'
		FROM generate_series(0, $2::bigint - 1) AS n ORDER BY n
		RETURNING id, seq, user_id)
		INSERT INTO outbox (partition, seq, event_id, user_id)
		SELECT get_byte(uuid_send(user_id), 15) % 16, seq, id, user_id FROM event`, firstUser, pending, perUser)
	return err
}

func (s *service) account(ctx context.Context) (a account, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address, nil)
	if err != nil {
		return a, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer func() { _ = answer.Body.Close() }()
	return a, json.NewDecoder(answer.Body).Decode(&a)
}

func (b *bench) measureDrain(ctx context.Context, to *service, r *report) error {
	until := time.Now().Add(drainLimit)
	var a account
	for a.Events < pending && time.Now().Before(until) {
		time.Sleep(200 * time.Millisecond)
		var err error
		if a, err = to.account(ctx); err != nil {
			return err
		}
	}
	rate := float64(a.Events) / a.Last.Sub(a.First).Seconds()
	r.add("relay: 100,000 pending events drained", rate, "per second", "at least 5000", rate >= drainFrom && a.Events >= pending)
	r.add("relay: events out of order per user", float64(a.Inversions), "", "0", a.Inversions == 0)
	return nil
}

// measureLatency creates users one at a time and compares when the client had its answer
// with when the sink had the event, which may well be earlier.
func (b *bench) measureLatency(ctx context.Context, to *service, r *report) error {
	o := operation{name: "relay", method: "POST", path: usersPath, header: map[string]string{"Content-Type": "application/json"},
		body: newBody, status: 201, about: newUser}
	answered := map[string]time.Time{}
	for range singly {
		_, n, _, err := b.once(ctx, o)
		if err != nil {
			return err
		}
		answered[idOf(n).String()] = time.Now()
		time.Sleep(15 * time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	a, err := to.account(ctx)
	if err != nil {
		return err
	}
	var waits []float64
	for subject, at := range answered {
		if arrived, ok := a.Arrived[subject]; ok {
			waits = append(waits, float64(arrived.Sub(at).Microseconds())/1000)
		}
	}
	if len(waits) < singly {
		r.note("%d of %d single events did not arrive within 2 s", singly-len(waits), singly)
	}
	slices.Sort(waits)
	if len(waits) > 0 {
		half := waits[len(waits)/2]
		r.add("relay: from the client's answer to the sink's arrival, median", half, "ms", "at most 5", half <= 5)
		r.add("relay: the same, p99", waits[len(waits)*99/100], "ms", "-", true)
	}
	return nil
}
