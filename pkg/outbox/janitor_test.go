package outbox

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
)

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
	eventually(t, eraseEvery/2, "erased", func() bool {
		var n int
		return s.DB().DB.QueryRow("SELECT count(*) FROM erasures").Scan(&n) == nil && n == 0
	})
	if n := unsent(t, s); n != 1 {
		t.Errorf("%d events wait", n)
	}
	stop()
	sink := newTestSink(t, nil)
	start(t, Options{Store: s, Sink: sink.URL})
	awaitSent(t, s, patience)
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
	eventually(t, eraseEvery/2, "erased", func() bool { return erasures() == 0 })
}

func TestExpiredClaimsAreRemoved(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := s.DB().DB.Exec(`INSERT INTO claims (key, expires_at) SELECT int4send(n), now() + CASE WHEN n <= 1200 THEN interval '-1 s' ELSE interval '1 h' END
		FROM generate_series(1, 1300) AS n`); err != nil {
		t.Fatal(err)
	}
	left := func(want int) func() bool {
		return func() bool {
			var n int
			return s.DB().DB.QueryRow("SELECT count(*) FROM claims").Scan(&n) == nil && n == want
		}
	}
	start(t, Options{Store: s, Retention: func() Retention { return Retention{Claims: time.Second} }})
	eventually(t, patience, "100 claims are left", left(100))
	if _, err := s.DB().DB.Exec("UPDATE claims SET expires_at = now()"); err != nil {
		t.Fatal(err)
	}
	eventually(t, eraseEvery/2, "claims that are kept for a second are looked for each second", left(0))
}
