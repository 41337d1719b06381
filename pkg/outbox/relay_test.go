package outbox

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
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
	sink := newTestSink(t, func(w http.ResponseWriter, _ delivery) int {
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
	owns := func(x *Outbox) int { return int(value(t, x.metrics.owned)) }
	eventually(t, 10*time.Second, "both own their share", func() bool { return owns(x) == 8 && owns(y) == 8 })
	writers.Wait()
	stopX() // its partitions are taken over
	eventually(t, 10*time.Second, "all is taken over", func() bool { return owns(y) == 16 })
	awaitSent(t, first, 20*time.Second)
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

// A process whose locks are lost stops at once, and whoever has them goes on in order.
func TestLosingTheLocksKeepsOrder(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	sink := newTestSink(t, func(http.ResponseWriter, delivery) int { time.Sleep(time.Millisecond); return 202 })
	users := newUsers(30)
	const versions = 60
	commitMany(t, s, users, versions)
	_, stopX := start(t, Options{Store: s, Sink: sink.URL})
	_, stopY := start(t, Options{Store: s, Sink: sink.URL})
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		if _, err := s.DB().DB.Exec(`SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
			AND classid = $1 AND objid = 16 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			ORDER BY random() LIMIT 1) AS one`, lockClass); err != nil {
			t.Fatal(err)
		}
	}
	awaitSent(t, s, 20*time.Second)
	stopX()
	stopY()
	repeated := checkOrder(t, sink.accepted(), len(users), versions)
	t.Log(repeated, "were sent again") // those under way when the locks were lost
	if repeated > 4*maxFlying {
		t.Errorf("%d events were sent again", repeated)
	}
}

func TestParksWhatIsRefusedAndResends(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	var bad atomic.Pointer[uuid.UUID]
	sink := newTestSink(t, func(_ http.ResponseWriter, d delivery) int {
		if id := bad.Load(); id != nil && d.user == *id && d.version >= 2 {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	users := newUsers(3)
	bad.Store(&users[0])
	x, stop := start(t, Options{Store: s, Sink: sink.URL, MaxAttempts: 3, MaxBackoff: 20 * time.Millisecond})
	for v := 1; v <= 4; v++ {
		for _, id := range users {
			commit(t, s, id, v)
			x.Wake()
		}
	}
	eventually(t, 10*time.Second, "one event is parked", func() bool {
		p, err := x.Parked(t.Context())
		return err == nil && p == Parked{Events: 1, Users: 1}
	})
	eventually(t, 10*time.Second, "the others' events are sent", func() bool { return unsent(t, s) == 3 })
	tries := 0
	for _, d := range sink.deliveries() {
		if d.user == users[0] && d.version == 2 {
			tries++
		}
		if d.user == users[0] && d.version > 2 {
			t.Errorf("version %d was sent past the parked one", d.version)
		}
	}
	if tries != 3 {
		t.Errorf("it was tried %d times, not 3", tries)
	}
	list, err := ListParked(t.Context(), s, uuid.Nil, 10)
	if err != nil || len(list) != 1 || list[0].UserID != users[0] || list[0].Fault != "422" || list[0].Tries != 3 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if at, err := x.OldestUnsent(t.Context()); err != nil || at.IsZero() {
		t.Errorf("oldest unsent: %v, %v", at, err)
	}
	if n, err := Resend(t.Context(), s, users[1]); n != 0 || err != nil {
		t.Errorf("another user's: %d, %v", n, err)
	}
	bad.Store(nil)
	if n, err := Resend(t.Context(), s, users[0]); n != 1 || err != nil {
		t.Errorf("resend: %d, %v", n, err)
	}
	awaitSent(t, s, 10*time.Second)
	stop()
	checkOrder(t, sink.accepted(), 3, 4)
}

// The tries of an event are counted across restarts, and so is the wait.
func TestRestartGoesOnCounting(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	sink := newTestSink(t, func(http.ResponseWriter, delivery) int { return http.StatusForbidden })
	o := Options{Store: s, Sink: sink.URL, MaxAttempts: 3, MaxBackoff: 30 * time.Millisecond}
	commit(t, s, uuid.New(), 1)
	for want := 1; want <= 3; want++ {
		_, stop := start(t, o)
		eventually(t, 5*time.Second, "another try", func() bool { return len(sink.deliveries()) >= want })
		stop()
		time.Sleep(50 * time.Millisecond)
	}
	x, stop := start(t, o)
	eventually(t, 5*time.Second, "it is parked", func() bool { p, err := x.Parked(t.Context()); return err == nil && p.Events == 1 })
	time.Sleep(100 * time.Millisecond)
	stop()
	if n := len(sink.deliveries()); n != 3 {
		t.Errorf("%d tries", n)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	var seen atomic.Int32
	sink := newTestSink(t, func(w http.ResponseWriter, _ delivery) int {
		if seen.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	x, _ := start(t, Options{Store: s, Sink: sink.URL, MaxBackoff: 10 * time.Millisecond})
	commit(t, s, uuid.New(), 1)
	x.Wake()
	awaitSent(t, s, 10*time.Second)
	log := sink.deliveries()
	if gap := log[1].at.Sub(log[0].at); gap < time.Second || gap > 2*time.Second {
		t.Errorf("tried again after %v", gap)
	}
	if log[0].id != log[1].id {
		t.Errorf("ids differ: %s, %s", log[0].id, log[1].id)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	other := newTestSink(t, nil)
	var seen atomic.Int32
	sink := newTestSink(t, func(w http.ResponseWriter, _ delivery) int {
		if seen.Add(1) > 2 {
			return http.StatusNoContent
		}
		w.Header().Set("Location", other.URL)
		return http.StatusTemporaryRedirect
	})
	x, _ := start(t, Options{Store: s, Sink: sink.URL, MaxBackoff: 10 * time.Millisecond, MaxAttempts: 1})
	commit(t, s, uuid.New(), 1)
	x.Wake()
	awaitSent(t, s, 10*time.Second)
	if n := len(other.deliveries()); n > 0 {
		t.Errorf("%d requests came to the other host", n)
	}
}

// While the sink takes its time, the database must be left alone: no transaction, no
// snapshot that would hold vacuum up.
func TestNoTransactionIsOpenWhileSending(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	inside, leave := make(chan struct{}, 100), make(chan struct{})
	sink := newTestSink(t, func(http.ResponseWriter, delivery) int { inside <- struct{}{}; <-leave; return 202 })
	defer sync.OnceFunc(func() { close(leave) })()
	x, _ := start(t, Options{Store: s, Sink: sink.URL})
	for _, id := range newUsers(10) {
		commit(t, s, id, 1)
	}
	x.Wake()
	for range 10 {
		<-inside
	}
	time.Sleep(300 * time.Millisecond)
	for range 20 {
		var open int
		if err := s.DB().DB.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND (state LIKE 'idle in transaction%' OR now() - xact_start > interval '250 ms')`).Scan(&open); err != nil {
			t.Fatal(err)
		}
		if open > 0 {
			t.Fatalf("%d transactions are open", open)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// One user whose events hang delays nobody else, not even in the same partition.
func TestSlowUserDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	slow := uuid.New()
	leave := make(chan struct{})
	sink := newTestSink(t, func(_ http.ResponseWriter, d delivery) int {
		if d.user == slow {
			<-leave
		}
		return 202
	})
	letGo := sync.OnceFunc(func() { close(leave) })
	defer letGo()
	commitMany(t, s, []uuid.UUID{slow}, 600) // more than a lane holds
	x, stop := start(t, Options{Store: s, Sink: sink.URL})
	others := newUsers(20)
	for i := range others {
		others[i][15] = slow[15]
	}
	for v := 1; v <= 5; v++ {
		for _, id := range others {
			commit(t, s, id, v)
		}
		x.Wake()
	}
	eventually(t, 5*time.Second, "the others' events are sent", func() bool { return unsent(t, s) == 600 })
	letGo()
	awaitSent(t, s, 20*time.Second)
	stop()
	accepted := sink.accepted()
	checkOrder(t, map[uuid.UUID][]int{slow: accepted[slow]}, 1, 600)
	delete(accepted, slow)
	checkOrder(t, accepted, 20, 5)
}

// A sink that is down gets few requests, however many events wait, and all of them soon
// after it is back.
func TestDownSinkGetsNoStorm(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	var up atomic.Bool
	sink := newTestSink(t, func(http.ResponseWriter, delivery) int {
		if up.Load() {
			return 202
		}
		return http.StatusBadGateway
	})
	users := newUsers(500)
	commitMany(t, s, users, 3)
	x, stop := start(t, Options{Store: s, Sink: sink.URL})
	time.Sleep(3 * time.Second)
	x.Wake()
	if n := len(sink.deliveries()); n < 10 || n > 2*maxFlying {
		t.Errorf("%d requests in 3 s", n)
	}
	up.Store(true)
	awaitSent(t, s, maxPause+10*time.Second)
	stop()
	checkOrder(t, sink.accepted(), 500, 3)
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
	eventually(t, 5*time.Second, "the others are sent", func() bool { return len(sink.deliveries()) == 100 })
	time.Sleep(3 * markEvery) // fresh scans no longer look back so far
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for v := 2; v <= 5; v++ {
		commit(t, s, late, v)
		x.Wake()
	}
	awaitSent(t, s, 5*time.Second)
	stop()
	accepted := sink.accepted()
	checkOrder(t, map[uuid.UUID][]int{late: accepted[late]}, 1, 5)
}

// Stopping lets what is being sent finish, and begins nothing else.
func TestStopEndsBetweenEvents(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	inside := make(chan struct{}, 100)
	sink := newTestSink(t, func(http.ResponseWriter, delivery) int {
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

// Without a sink events wait, and personal values of the deleted are erased all the same.
func TestWithoutSinkEventsWait(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	x, stop := start(t, Options{Store: s})
	id := uuid.New()
	commit(t, s, id, 1)
	if _, err := s.DB().DB.Exec("INSERT INTO erasures SELECT user_id, seq FROM events"); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	eventually(t, 5*time.Second, "erased", func() bool {
		var n int
		return s.DB().DB.QueryRow("SELECT count(*) FROM erasures").Scan(&n) == nil && n == 0
	})
	if n := unsent(t, s); n != 1 {
		t.Errorf("%d events wait", n)
	}
	stop()
	sink := newTestSink(t, nil)
	start(t, Options{Store: s, Sink: sink.URL})
	awaitSent(t, s, 5*time.Second)
}

// With a sink, erasing waits for the deletion's event, and comes soon after it.
func TestErasesOnceSent(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	inside, leave := make(chan struct{}, 1), make(chan struct{})
	sink := newTestSink(t, func(http.ResponseWriter, delivery) int { inside <- struct{}{}; <-leave; return 202 })
	commit(t, s, uuid.New(), 1)
	if _, err := s.DB().DB.Exec("INSERT INTO erasures SELECT user_id, seq FROM events"); err != nil {
		t.Fatal(err)
	}
	start(t, Options{Store: s, Sink: sink.URL})
	<-inside
	erasures := func() (n int) {
		if err := s.DB().DB.QueryRow("SELECT count(*) FROM erasures").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	time.Sleep(2 * eraseSoon)
	if erasures() != 1 {
		t.Error("erased before it was sent")
	}
	close(leave)
	eventually(t, 5*time.Second, "erased", func() bool { return erasures() == 0 })
}

func TestExpiredClaimsAreRemoved(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := s.DB().DB.Exec(`INSERT INTO claims (key, expires_at) SELECT int4send(n), now() + CASE WHEN n <= 1200 THEN interval '-1 s' ELSE interval '1 h' END
		FROM generate_series(1, 1300) AS n`); err != nil {
		t.Fatal(err)
	}
	start(t, Options{Store: s})
	eventually(t, 10*time.Second, "100 claims are left", func() bool {
		var n int
		return s.DB().DB.QueryRow("SELECT count(*) FROM claims").Scan(&n) == nil && n == 100
	})
}

// Users whose events hang, with more behind them than memory takes, leave room for others;
// and an event that only a sweep can find is found while lanes are read on all the time.
func TestBacklogsOfSlowUsersLeaveRoom(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	slow := newUsers(maxFlying - 8)
	hangs := map[uuid.UUID]bool{}
	for _, id := range slow {
		hangs[id] = true
	}
	leave := make(chan struct{})
	sink := newTestSink(t, func(_ http.ResponseWriter, d delivery) int {
		if hangs[d.user] {
			<-leave
		}
		return 202
	})
	letGo := sync.OnceFunc(func() { close(leave) })
	defer letGo()
	commitMany(t, s, slow, 100)
	hot, parked := uuid.New(), uuid.New()
	commitMany(t, s, []uuid.UUID{hot}, 1500)
	commit(t, s, parked, 1)
	if _, err := s.DB().DB.Exec("UPDATE outbox SET parked_at = now() WHERE user_id = $1", parked); err != nil {
		t.Fatal(err)
	}
	x, stop := start(t, Options{Store: s, Sink: sink.URL})
	eventually(t, 5*time.Second, "the hot user's are being sent", func() bool { return len(sink.accepted()[hot]) > 100 })
	if _, err := Resend(t.Context(), s, parked); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a sweep finds what was parked", func() bool { return len(sink.accepted()[parked]) == 1 })
	others := newUsers(50)
	commitMany(t, s, others, 2)
	x.Wake()
	eventually(t, 30*time.Second, "the others' are sent", func() bool { return unsent(t, s) == len(slow)*100 })
	letGo()
	awaitSent(t, s, 30*time.Second)
	stop()
	accepted := sink.accepted()
	checkOrder(t, map[uuid.UUID][]int{hot: accepted[hot]}, 1, 1500)
	delete(accepted, hot)
	delete(accepted, parked)
	for _, id := range others {
		checkOrder(t, map[uuid.UUID][]int{id: accepted[id]}, 1, 2)
		delete(accepted, id)
	}
	checkOrder(t, accepted, len(slow), 100)
}
