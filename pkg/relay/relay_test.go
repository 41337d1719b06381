package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.M{M: m}, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// received is a request that a test's sink has seen.
type received struct {
	id      string
	user    uuid.UUID
	version int
	status  int
	at      time.Time
	header  http.Header
}

// testSink is a sink that answers as the test says, and remembers what it got.
type testSink struct {
	*httptest.Server
	mu     sync.Mutex
	log    []received
	answer func(w http.ResponseWriter, d received) int // returns the status; 0 when it has answered itself
}

func newTestSink(t testing.TB, answer func(http.ResponseWriter, received) int) *testSink {
	t.Helper()
	s := &testSink{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *testSink) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	d := received{id: r.Header.Get("Ce-Id"), at: time.Now(), header: r.Header}
	d.user, _ = uuid.Parse(r.Header.Get("Ce-Subject"))
	d.version, _ = strconv.Atoi(r.Header.Get("Ce-Sequence"))
	d.status = http.StatusAccepted
	if s.answer != nil {
		d.status = s.answer(w, d)
	}
	s.mu.Lock()
	s.log = append(s.log, d)
	s.mu.Unlock()
	if d.status != 0 {
		w.WriteHeader(d.status)
	}
}

func (s *testSink) deliveries() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.log...)
}

// accepted are the versions that the sink took of each user, in its order.
func (s *testSink) accepted() map[uuid.UUID][]int {
	out := map[uuid.UUID][]int{}
	for _, d := range s.deliveries() {
		if d.status/100 == 2 {
			out[d.user] = append(out[d.user], d.version)
		}
	}
	return out
}

// checkOrder fails when a user's versions did not come as 1, 2, 3 …, repetitions aside.
func checkOrder(t testing.TB, accepted map[uuid.UUID][]int, users, versions int) (repeated int) {
	t.Helper()
	if len(accepted) != users {
		t.Errorf("%d users' events came, not %d", len(accepted), users)
	}
	for id, got := range accepted {
		next := 1
		for _, v := range got {
			switch {
			case v == next:
				next++
			case v < next:
				repeated++
			default:
				t.Errorf("user %s: version %d came before %d", id, v, next)
				next = v + 1
			}
		}
		if next != versions+1 {
			t.Errorf("user %s: %d versions came, not %d", id, next-1, versions)
		}
	}
	return repeated
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	return openURL(t, pgtest.Database(t), 12)
}

func openURL(t testing.TB, url string, connections int) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{ConnString: url, MaxConnections: connections})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// testLog writes to the test, which shows it when it fails.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) { w.t.Log(string(b)); return len(b), nil }

// start runs a Relay until the test ends or stop is called.
func start(t testing.TB, o Options) (x *Relay, stop func()) {
	t.Helper()
	if o.Log == nil {
		o.Log = testLog(t)
	}
	if o.Source == "" {
		o.Source = "/ai/admin/users"
	}
	x, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return x, stop
}

const insertEvent = `WITH e AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
		VALUES ($1, $2, $3, 'ai.admin.user.updated', now(), 'a', 'c', $4::json, '[]') RETURNING id, seq, user_id)
	INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $5, seq, id, user_id FROM e`

// commit records one event as a change does.
func commit(t testing.TB, s *store.Store, of uuid.UUID, version int) {
	t.Helper()
	data, _ := json.Marshal(map[string]any{"user": map[string]any{"id": of, "version": version}, "changed": []string{"name"}})
	if _, err := s.DB().DB.ExecContext(context.Background(), insertEvent, user.NewID(), of, version, string(data), int16(of[15]%store.Partitions)); err != nil {
		t.Error(err)
	}
}

// commitMany records versions 1 to n of many users in one statement, interleaved.
func commitMany(t testing.TB, s *store.Store, users []uuid.UUID, versions int) {
	t.Helper()
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.String()
	}
	_, err := s.DB().DB.ExecContext(context.Background(), `WITH e AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
		SELECT gen_random_uuid(), u, v, 'ai.admin.user.updated', now(), 'a', 'c', '{"user":{},"changed":[]}', '[]'
		FROM generate_series(1, $2::int) AS v, unnest($1::text[]::uuid[]) AS u ORDER BY v RETURNING id, seq, user_id)
		INSERT INTO outbox (partition, seq, event_id, user_id)
		SELECT get_byte(uuid_send(user_id), 15) % 16, seq, id, user_id FROM e`, ids, versions)
	if err != nil {
		t.Fatal(err)
	}
}

func newUsers(n int) []uuid.UUID {
	out := make([]uuid.UUID, n)
	for i := range out {
		out[i] = uuid.New()
	}
	return out
}

func unsent(t testing.TB, s *store.Store) (n int) {
	t.Helper()
	if err := s.DB().DB.QueryRowContext(context.Background(), "SELECT count(*) FROM outbox").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// patience is what a busy machine is given, and less than what a sink is: what hangs there still hangs.
const patience = sendTimeout - 5*time.Second

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen within %v: %s", within, what)
		}
	}
}

func awaitSent(t testing.TB, s *store.Store, within time.Duration) {
	t.Helper()
	eventually(t, within, "the outbox is empty", func() bool { return unsent(t, s) == 0 })
}

func TestSendsWhatWasThereAndWhatComes(t *testing.T) {
	t.Parallel()
	s, sink := openStore(t), newTestSink(t, nil)
	users := newUsers(40)
	commitMany(t, s, users, 3)
	if sending, err := Sending(t.Context(), s); sending || err != nil {
		t.Errorf("before anybody sends: %v, %v", sending, err)
	}
	x, stop := start(t, Options{Store: s, Sink: sink.URL})
	awaitSent(t, s, patience)
	if sending, err := Sending(t.Context(), s); !sending || err != nil {
		t.Errorf("while it sends: %v, %v", sending, err)
	}
	for version := 4; version <= 6; version++ {
		for _, id := range users {
			commit(t, s, id, version)
			x.Wake()
		}
	}
	awaitSent(t, s, patience)
	stop()
	if repeated := checkOrder(t, sink.accepted(), 40, 6); repeated > 0 {
		t.Errorf("%d events were sent twice", repeated)
	}
}

func TestBinaryModeRequest(t *testing.T) {
	t.Parallel()
	s, sink := openStore(t), newTestSink(t, nil)
	x, _ := start(t, Options{Store: s, Sink: sink.URL + "/in?k=v", Overrides: `{"extensions":{"cluster":"a b","tenant":"ü"}}`})
	id := uuid.New()
	commit(t, s, id, 7)
	x.Wake()
	awaitSent(t, s, patience)
	h := sink.deliveries()[0].header
	for name, want := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "ai.admin.user.updated", "Ce-Source": "/ai/admin/users",
		"Ce-Subject": id.String(), "Ce-Partitionkey": id.String(), "Ce-Sequence": fmt.Sprintf("%020d", 7), "Ce-Causationid": "c",
		"Ce-Cluster": "a%20b", "Ce-Tenant": "%C3%BC", "Content-Type": "application/json", "Idempotency-Key": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}

func TestRefusesSinksAndOverridesThatCannotBe(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	for name, o := range map[string]Options{
		"scheme":       {Sink: "ftp://host/"},
		"relative":     {Sink: "/sink"},
		"no host":      {Sink: "http:///x"},
		"broken":       {Sink: "http://a b/"},
		"no JSON":      {Sink: "http://a/", Overrides: "{"},
		"no strings":   {Sink: "http://a/", Overrides: `{"extensions":{"a":1}}`},
		"upper case":   {Sink: "http://a/", Overrides: `{"extensions":{"Tenant":"x"}}`},
		"own name":     {Sink: "http://a/", Overrides: `{"extensions":{"source":"x"}}`},
		"control":      {Sink: "http://a/", Overrides: `{"extensions":{"a":"x\ny"}}`},
		"trailing":     {Sink: "http://a/", Overrides: `{"extensions":{}} {}`},
		"no extension": {Sink: "http://a/", Overrides: `{"extensions":{"":"x"}}`},
	} {
		o.Store = s
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, overrides := range []string{"", " ", "{}", `{"extensions":null}`, `{"extensions":{"a1":"x"},"more":1}`} {
		if _, err := New(Options{Store: s, Sink: "https://a/", Overrides: overrides}); err != nil {
			t.Errorf("%s: %v", overrides, err)
		}
	}
}
