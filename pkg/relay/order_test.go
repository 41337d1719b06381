package relay

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"aiadmin/pkg/store"
)

// hangUp closes the connection in the middle of an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, _ = conn.Write([]byte("HTTP/1.1 202 Acc"))
		_ = conn.Close()
	}
}

// Two processes, one of them coming late, send to a sink with every fault, while writers
// commit: each user's events must come in order and be accepted once.
func TestTwoRelaysKeepOrderWithFaultySink(t *testing.T) {
	t.Parallel()
	first := openStore(t)
	sink := newTestSink(t, func(w http.ResponseWriter, _ received) int {
		switch n := rand.IntN(100); {
		case n < 4:
			return http.StatusServiceUnavailable
		case n < 6:
			return http.StatusTooManyRequests
		case n < 8:
			return http.StatusBadRequest
		case n < 10:
			hangUp(w)
			return 0
		case n < 12:
			time.Sleep(20 * time.Millisecond)
		}
		return http.StatusAccepted
	})
	o := Options{Store: first, Sink: sink.URL, MaxBackoff: 50 * time.Millisecond, MaxAttempts: 1000}
	x, stopX := start(t, o)
	users := newUsers(50)
	const versions = 40
	var writers sync.WaitGroup
	for _, some := range slices.Collect(slices.Chunk(users, 10)) {
		writers.Go(func() {
			for v := 1; v <= versions; v++ {
				for _, id := range some {
					commit(t, first, id, v)
					x.Wake()
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	y, stopY := start(t, o)
	owns := func(x *Relay) int { return int(value(t, x.metrics.owned)) }
	eventually(t, patience, "both own their share", func() bool { return owns(x) == 8 && owns(y) == 8 })
	writers.Wait()
	stopX() // its partitions are taken over
	eventually(t, patience, "all is taken over", func() bool { return owns(y) == 16 })
	awaitSent(t, first, patience)
	stopY()
	if repeated := checkOrder(t, sink.accepted(), len(users), versions); repeated > 0 {
		t.Errorf("%d events were accepted twice", repeated)
	}
}

// value reads a gauge.
func value(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetGauge().GetValue()
}

// A process that loses its locks stops at once, and their new owner continues in order.
func TestLosingTheLocksKeepsOrder(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	sink := newTestSink(t, func(http.ResponseWriter, received) int { time.Sleep(time.Millisecond); return 202 })
	users := newUsers(30)
	const versions, kills = 200, 4
	commitMany(t, s, users, versions)
	_, stopX := start(t, Options{Store: s, Sink: sink.URL})
	_, stopY := start(t, Options{Store: s, Sink: sink.URL})
	for range kills {
		time.Sleep(150 * time.Millisecond)
		if _, err := s.DB().DB.Exec(`SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
			AND classid = $1 AND objid = 16 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			ORDER BY random() LIMIT 1) AS one`, lockClass); err != nil {
			t.Fatal(err)
		}
	}
	awaitSent(t, s, patience)
	stopX()
	stopY()
	repeated := checkOrder(t, sink.accepted(), len(users), versions)
	t.Log(repeated, "were sent again")
	if most := kills * (maxFlying + settleRows); repeated > most { // those under way, and those not recorded yet
		t.Errorf("%d events were sent again, more than %d", repeated, most)
	}
}

// While the sink takes its time, the database must be left alone: no transaction, no
// snapshot that would hold vacuum up.
func TestNoTransactionIsOpenWhileSending(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	inside, leave := make(chan struct{}, 100), make(chan struct{})
	sink := newTestSink(t, func(http.ResponseWriter, received) int { inside <- struct{}{}; <-leave; return 202 })
	defer sync.OnceFunc(func() { close(leave) })()
	x, _ := start(t, Options{Store: s, Sink: sink.URL})
	for _, id := range newUsers(10) {
		commit(t, s, id, 1)
	}
	x.Wake()
	for range 10 {
		<-inside
	}
	var taken time.Time // by then all that is held while sending is held
	if err := s.DB().DB.QueryRow("SELECT clock_timestamp()").Scan(&taken); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "all transactions from before have ended", func() (none bool) {
		err := s.DB().DB.QueryRow(`SELECT count(*) = 0 FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start <= $1`, taken).Scan(&none)
		return err == nil && none
	})
}

// A commit that becomes visible after others with higher numbers is found, and its user's
// next event does not overtake it.
func TestLateCommitIsNotOvertaken(t *testing.T) {
	t.Parallel()
	s, sink := openStore(t), newTestSink(t, nil)
	x, stop := start(t, Options{Store: s, Sink: sink.URL})
	late := uuid.New()
	tx, err := s.DB().DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(insertEvent, uuid.New(), late, 1, `{"user":{}}`, int16(late[15]%16)); err != nil {
		t.Fatal(err)
	}
	others := newUsers(100)
	commitMany(t, s, others, 1)
	x.Wake()
	eventually(t, patience, "the others are sent", func() bool { return len(sink.deliveries()) == 100 })
	time.Sleep(2 * pollEvery)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for v := 2; v <= 5; v++ {
		commit(t, s, late, v)
		x.Wake()
	}
	awaitSent(t, s, patience)
	stop()
	accepted := sink.accepted()
	checkOrder(t, map[uuid.UUID][]int{late: accepted[late]}, 1, 5)
}

// A large transaction that commits late is found at once, though one look has no space for
// all of it, and though its rows come before ones that were seen.
func TestLargeLateCommitIsSent(t *testing.T) {
	t.Parallel()
	s, sink := openStore(t), newTestSink(t, nil)
	x, _ := start(t, Options{Store: s, Sink: sink.URL})
	tx, err := s.DB().DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	const late = 4 * maxUsers
	for _, id := range newUsers(late) {
		if _, err := tx.Exec(insertEvent, uuid.New(), id, 1, `{"user":{}}`, int16(id[15]%store.Partitions)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // looks that see rows behind those
		commitMany(t, s, newUsers(20), 1)
		x.Wake()
		awaitSent(t, s, patience)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	awaitSent(t, s, fullEvery/2)
	if n := len(sink.deliveries()); n != late+60 {
		t.Errorf("%d deliveries of %d events", n, late+60)
	}
}

// Stopping lets what is being sent finish, and begins nothing else.
func TestStopEndsBetweenEvents(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	inside := make(chan struct{}, 100)
	sink := newTestSink(t, func(http.ResponseWriter, received) int {
		inside <- struct{}{}
		time.Sleep(300 * time.Millisecond)
		return 202
	})
	id := uuid.New()
	commitMany(t, s, []uuid.UUID{id}, 10)
	_, stop := start(t, Options{Store: s, Sink: sink.URL})
	<-inside
	stop()
	if n := unsent(t, s); n != 9 {
		t.Errorf("%d events are left of 10", n)
	}
	if d := sink.deliveries(); len(d) != 1 || d[0].status != 202 {
		t.Errorf("sent: %+v", d)
	}
}
