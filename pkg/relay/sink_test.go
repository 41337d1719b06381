package relay

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func TestParksWhatIsRefusedAndResends(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	var bad atomic.Pointer[uuid.UUID]
	sink := newTestSink(t, func(_ http.ResponseWriter, d received) int {
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
	eventually(t, patience, "one event is parked", func() bool {
		p, err := CountParked(t.Context(), s)
		return err == nil && p == Parked{Events: 1, Users: 1}
	})
	eventually(t, patience, "the others' events are sent", func() bool { return unsent(t, s) == 3 })
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
	if at, err := OldestUnsent(t.Context(), s); err != nil || at.IsZero() {
		t.Errorf("oldest unsent: %v, %v", at, err)
	}
	if n, err := Resend(t.Context(), s, users[1], user.AuditEntry{Actor: "test"}); n != 0 || err != nil {
		t.Errorf("another user's: %d, %v", n, err)
	}
	bad.Store(nil)
	if n, err := Resend(t.Context(), s, users[0], user.AuditEntry{Actor: "test"}); n != 1 || err != nil {
		t.Errorf("resend: %d, %v", n, err)
	}
	if log, err := s.Audit(t.Context(), user.AuditQuery{}, 10); err != nil || len(log) != 1 || log[0].Action != user.EventsResent || log[0].UserID != users[0] || string(log[0].Detail) != `{"events":1}` {
		t.Errorf("the audit log has %+v, %v", log, err)
	}
	awaitSent(t, s, patience)
	stop()
	checkOrder(t, sink.accepted(), 3, 4)
}

// The tries of an event are counted across restarts, and so is the wait.
func TestRestartGoesOnCounting(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	sink := newTestSink(t, func(http.ResponseWriter, received) int { return http.StatusForbidden })
	o := Options{Store: s, Sink: sink.URL, MaxAttempts: 3, MaxBackoff: 30 * time.Millisecond}
	commit(t, s, uuid.New(), 1)
	for want := 1; want <= 3; want++ {
		_, stop := start(t, o)
		eventually(t, patience, "another try", func() bool { return len(sink.deliveries()) >= want })
		stop()
		time.Sleep(50 * time.Millisecond)
	}
	_, stop := start(t, o)
	eventually(t, patience, "it is parked", func() bool { p, err := CountParked(t.Context(), s); return err == nil && p.Events == 1 })
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
	sink := newTestSink(t, func(w http.ResponseWriter, _ received) int {
		if seen.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	x, _ := start(t, Options{Store: s, Sink: sink.URL, MaxBackoff: 10 * time.Millisecond})
	commit(t, s, uuid.New(), 1)
	x.Wake()
	awaitSent(t, s, patience)
	log := sink.deliveries()
	if gap := log[1].at.Sub(log[0].at); gap < time.Second || gap > patience {
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
	sink := newTestSink(t, func(w http.ResponseWriter, _ received) int {
		if seen.Add(1) > 2 {
			return http.StatusNoContent
		}
		w.Header().Set("Location", other.URL)
		return http.StatusTemporaryRedirect
	})
	x, _ := start(t, Options{Store: s, Sink: sink.URL, MaxBackoff: 10 * time.Millisecond, MaxAttempts: 1})
	commit(t, s, uuid.New(), 1)
	x.Wake()
	awaitSent(t, s, patience)
	if n := len(other.deliveries()); n > 0 {
		t.Errorf("%d requests came to the other host", n)
	}
}

// One user whose events hang delays nobody else, not even in the same partition.
func TestSlowUserDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	slow := uuid.New()
	leave := make(chan struct{})
	sink := newTestSink(t, func(_ http.ResponseWriter, d received) int {
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
	eventually(t, patience, "the others' events are sent", func() bool { return unsent(t, s) == 600 })
	letGo()
	awaitSent(t, s, patience)
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
	sink := newTestSink(t, func(http.ResponseWriter, received) int {
		if up.Load() {
			return 202
		}
		return http.StatusBadGateway
	})
	users := newUsers(500)
	commitMany(t, s, users, 3)
	var log bytes.Buffer // written by slog under its lock, read when all has ended
	address := strings.Replace(sink.URL, "//", "//planted-user:planted-password@", 1) + "/in?token=planted-token"
	x, stop := start(t, Options{Store: s, Sink: address, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	time.Sleep(3 * time.Second)
	x.Wake()
	if n := len(sink.deliveries()); n < 10 || n > 2*maxFlying {
		t.Errorf("%d requests in 3 s", n)
	}
	up.Store(true)
	awaitSent(t, s, maxPause+patience)
	stop()
	checkOrder(t, sink.accepted(), 500, 3)
	if text := log.String(); strings.Count(text, `"sink":"`+sink.URL+`/in"`) < 2 || strings.Contains(text, "planted") {
		t.Errorf("down and back, the log names the sink: %s", text)
	}
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
	sink := newTestSink(t, func(_ http.ResponseWriter, d received) int {
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
	eventually(t, patience, "the hot user's are being sent", func() bool { return len(sink.accepted()[hot]) > 100 })
	if _, err := Resend(t.Context(), s, parked, user.AuditEntry{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "a sweep finds what was parked", func() bool { return len(sink.accepted()[parked]) == 1 })
	others := newUsers(50)
	commitMany(t, s, others, 2)
	x.Wake()
	eventually(t, patience, "the others' are sent", func() bool { return unsent(t, s) == len(slow)*100 })
	letGo()
	awaitSent(t, s, patience)
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

// TestSendingGoesOnAfterAReadOnlyTime has the relay connect while the database only reads: later
// events are sent, and what was sent is known.
func TestSendingGoesOnAfterAReadOnlyTime(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	sink := newTestSink(t, nil)
	start(t, Options{Store: openURL(t, database, 4), Sink: sink.URL})
	first := openURL(t, database, 4)
	commit(t, first, uuid.New(), 1)
	awaitSent(t, first, patience)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(pgtest.ReadOnly(t.Context(), database, true))
	must(pgtest.Exec(t.Context(), database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"))
	time.Sleep(2 * pollEvery) // in which it connects again, and reads
	must(pgtest.ReadOnly(t.Context(), database, false))
	later := openURL(t, database, 4)
	commit(t, later, uuid.New(), 1)
	awaitSent(t, later, patience)
	if n := len(sink.deliveries()); n != 2 {
		t.Errorf("%d deliveries of 2 events", n)
	}
}

// TestTheSinksAddressIsInNoError: it may hold a token.
func TestTheSinksAddressIsInNoError(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	s, err := newSink(Options{Sink: strings.Replace(server.URL, "//", "//planted-user:planted-password@", 1) + "/in?token=planted-token"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.client.CloseIdleConnections()
	for _, ends := range []func(){func() {}, server.Close} {
		ends()
		a := s.send(t.Context(), user.Event{Data: []byte("{}")})
		if a.verdict != failed || a.err == nil || strings.Contains(fmt.Sprint(a.fault, a.err), "planted") {
			t.Errorf("%s: %v", a.fault, a.err)
		}
	}
}

// TestSinkTokenIsSentAndRenewed follows the file that a SinkBinding mounts: absent, made,
// renewed.
func TestSinkTokenIsSentAndRenewed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	s, err := newSink(Options{Sink: "http://sink.example/in", TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{"": "", "first\n": "Bearer first", "second": "Bearer second"} {
		if content != "" {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(file)
		}
		request, err := s.request(t.Context(), user.Event{})
		if err != nil {
			t.Fatal(err)
		}
		if got := request.Header.Get("Authorization"); got != want {
			t.Errorf("with %q in the file: Authorization %q, want %q", content, got, want)
		}
	}
}

// TestSinkIsTrustedByTheMountedAuthorities goes from no bundle to one that does not help and one
// that does, while the same sink is in use, in both versions of HTTP.
func TestSinkIsTrustedByTheMountedAuthorities(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- r.Proto
				w.WriteHeader(http.StatusAccepted)
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			t.Cleanup(server.Close)
			folder := t.TempDir()
			s, err := newSink(Options{Sink: server.URL, TrustFolder: folder})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.client.CloseIdleConnections)
			bundle := func(name string, text []byte) {
				if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			untrusted := func(when string) {
				if a := s.send(t.Context(), user.Event{}); a.fault != "has a certificate that is not trusted" {
					t.Errorf("%s: %+v", when, a)
				}
			}
			authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			untrusted("no bundle")
			bundle("broken.pem", []byte("-----BEGIN CERTIFICATE-----\nplanted"))
			untrusted("a broken one")
			bundle("..data", authority)
			untrusted("Kubernetes' own files are none")
			bundle("ca.crt", append([]byte("# of the cluster\n"), authority...))
			if a := s.send(t.Context(), user.Event{}); a.err != nil {
				t.Fatalf("%+v", a)
			}
			if proto := <-got; proto != protocol {
				t.Errorf("sent by %s", proto)
			}
		})
	}
}
