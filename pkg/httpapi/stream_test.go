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
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	changesPath = "/ai/admin/changes"
	longEnough  = 25 * time.Second // for a busy machine
)

func openURL(t testing.TB, url string, connections int) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{ConnString: url, MaxConnections: connections})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	return openURL(t, pgtest.Database(t), 12)
}

// insertEvents records versions from $2 to $3 of many users, interleaved, each with a name of $4 bytes.
const insertEvents = `INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
	SELECT gen_random_uuid(), u, v, 'ai.admin.user.updated', now(), 'a', 'c',
		json_build_object('user', json_build_object('id', u, 'name', repeat('x', $4)), 'changed', '[]'::json), json_build_array(repeat('y', $4))
	FROM generate_series($2::int, $3::int) AS v, unnest($1::text[]::uuid[]) AS u ORDER BY v`

func insert(t testing.TB, s *store.Store, users []uuid.UUID, from, to, size int) {
	t.Helper()
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.String()
	}
	if _, err := s.DB().DB.ExecContext(t.Context(), insertEvents, ids, from, to, size); err != nil {
		t.Error(err)
	}
}

func commit(t testing.TB, s *store.Store, of uuid.UUID, version int) {
	t.Helper()
	insert(t, s, []uuid.UUID{of}, version, version, 1)
}

func newUsers(n int) []uuid.UUID {
	out := make([]uuid.UUID, n)
	for i := range out {
		out[i] = uuid.New()
	}
	return out
}

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen within %v: %s", within, what)
		}
	}
}

// feedServer serves the routes over a real store, and returns the change feed's URL.
func feedServer(t testing.TB, s *store.Store, change func(*Options)) (a *API, url string) {
	t.Helper()
	a, _ = service(t, admin.New(s, nil, admin.Retention{}, admin.Options{}), func(o *Options) {
		o.Cursor = admin.EncodeCursor
		o.AppendEvent = func(dst []byte, e user.Event) []byte { return cloudevent.AppendJSON(dst, e, "/ai/admin/users") }
		if change != nil {
			change(o)
		}
	})
	server := httptest.NewServer(a)
	t.Cleanup(func() { a.EndStreams(); server.CloseClientConnections(); server.Close() })
	return a, server.URL + changesPath
}

type streamed struct {
	id    string
	event struct {
		ID       string
		Subject  uuid.UUID
		Sequence string
	}
}

// reader reads a stream's events.
type reader struct {
	t      testing.TB
	answer *http.Response
	lines  *bufio.Reader
	beats  int
}

func openStream(t testing.TB, url, lastEventID string) *reader {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer planted-token")
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return &reader{t: t, answer: answer, lines: bufio.NewReader(answer.Body)}
}

// next returns the next event, and whether there was one before the stream's orderly end.
func (r *reader) next() (e streamed, ok bool) {
	r.t.Helper()
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			if err.Error() != "EOF" {
				r.t.Errorf("the stream broke: %v", err)
			}
			return e, false
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			e.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.event); err != nil {
				r.t.Errorf("%s: %v", value, err)
			}
		case "":
			if line != "" {
				r.beats++
			} else if e.id != "" {
				return e, true
			}
		default:
			r.t.Errorf("line %q", line)
		}
	}
}

func TestStreamShowsAllAndResumes(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	x, url := feedServer(t, s, nil)
	users := newUsers(1)
	insert(t, s, users, 1, 120, 1) // more than a page
	first := openStream(t, url, "")
	if got := first.answer.Header.Get("Content-Type"); first.answer.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%d, %s", first.answer.StatusCode, got)
	}
	var middle string
	for v := 1; v <= 120; v++ {
		e, ok := first.next()
		if !ok || e.event.Sequence != sequence(v) {
			t.Fatalf("event %d: %+v", v, e)
		}
		if v == 60 {
			middle = e.id
		}
	}
	commit(t, s, users[0], 121)
	x.Wake()
	if e, _ := first.next(); e.event.Sequence != sequence(121) {
		t.Errorf("a new event: %+v", e)
	}
	for name, r := range map[string]*reader{"Last-Event-ID": openStream(t, url, middle), "after": openStream(t, url+"?after="+middle, "")} {
		if e, _ := r.next(); e.event.Sequence != sequence(61) {
			t.Errorf("resumed by %s at %+v", name, e)
		}
	}
	wrong := openStream(t, url, "x").answer
	problem, err := io.ReadAll(wrong.Body)
	if err != nil || wrong.StatusCode != 400 || !strings.Contains(string(problem), `"field":"Last-Event-ID"`) {
		t.Errorf("a Last-Event-ID that is none: %d %s %v", wrong.StatusCode, problem, err)
	}
}

// While one transaction is open, events of younger ones must wait for it: shown at once,
// they would let readers pass the place where it commits.
func TestStreamSkipsNothingBehindOpenTransaction(t *testing.T) {
	t.Parallel()
	// A cluster of its own, for other tests' transactions would hold the feed up as well.
	cluster := pgtest.Cluster(t)
	if err := store.Migrate(t.Context(), cluster.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	s := openURL(t, cluster.URL("postgres"), 8)
	x, url := feedServer(t, s, nil)
	before := uuid.New()
	commit(t, s, before, 1)
	stream := openStream(t, url, "")
	if e, _ := stream.next(); e.event.Subject != before {
		t.Fatalf("%+v", e)
	}
	late := uuid.New()
	tx, err := s.DB().DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(insertEvents, []string{late.String()}, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	others := newUsers(30)
	var writers sync.WaitGroup
	for _, id := range others {
		writers.Go(func() { commit(t, s, id, 1); x.Wake() })
	}
	writers.Wait()
	got := make(chan streamed, 100)
	go func() {
		for {
			e, ok := stream.next()
			if !ok {
				close(got)
				return
			}
			got <- e
		}
	}()
	select {
	case e := <-got:
		t.Fatalf("shown past an open transaction: %+v", e)
	case <-time.After(1500 * time.Millisecond):
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	seen := map[uuid.UUID]bool{}
	for len(seen) < 31 {
		select {
		case e := <-got:
			if len(seen) == 0 && e.event.Subject != late {
				t.Errorf("the first was not that of the oldest transaction")
			}
			seen[e.event.Subject] = true
		case <-time.After(longEnough):
			t.Fatalf("only %d events came", len(seen))
		}
	}
	x.EndStreams()
	for range got { // up to the end
	}
}

func TestExpiredCursorIsAnsweredBeforeTheStream(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	_, url := feedServer(t, s, nil)
	commit(t, s, uuid.New(), 1)
	if _, err := s.DB().DB.Exec("UPDATE feed_floor SET xid = (SELECT max(xid::text::bigint)+1 FROM events)::text::xid8"); err != nil {
		t.Fatal(err)
	}
	if r := openStream(t, url, admin.EncodeCursor(user.Place{XID: 5, Seq: 1})); r.answer.StatusCode != http.StatusGone {
		t.Errorf("status %d", r.answer.StatusCode)
	}
	if r := openStream(t, url, "nonsense"); r.answer.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", r.answer.StatusCode)
	}
}

func TestStreamsAreBoundedAndEndCleanly(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	x, url := feedServer(t, s, nil)
	var open []*reader
	for range maxStreams {
		r := openStream(t, url, "")
		if r.answer.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %d", len(open), r.answer.StatusCode)
		}
		open = append(open, r)
	}
	if n := s.Stats().InUse; n > streamReaders {
		t.Errorf("%d connections are in use", n)
	}
	if r := openStream(t, url, ""); r.answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: %d", r.answer.StatusCode)
	}
	_ = open[0].answer.Body.Close()
	eventually(t, longEnough, "the place of one who left is free", func() bool { return x.OpenStreams() == maxStreams-1 })
	x.EndStreams()
	for _, r := range open[1:] {
		if _, ok := r.next(); ok {
			t.Error("an event out of nowhere")
		}
	}
	eventually(t, longEnough, "all have ended", func() bool { return x.OpenStreams() == 0 })
	if r := openStream(t, url, ""); r.answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream began while stopping: %d", r.answer.StatusCode)
	}
}

// The request's deadline ends the stream, and not the connection under it.
func TestStreamEndsBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	_, url := feedServer(t, openStore(t), func(o *Options) { o.Timeout = endEarly + 2*time.Second })
	r := openStream(t, url, "")
	if _, ok := r.next(); ok {
		t.Error("an event out of nowhere")
	}
}

// A client that does not read must hold no connection of the pool.
func TestSlowClientHoldsNoConnection(t *testing.T) {
	t.Parallel()
	s := openURL(t, pgtest.Database(t), 2)
	_, url := feedServer(t, s, nil)
	for range 4 {
		insert(t, s, newUsers(500), 1, 10, 1000) // more than sockets buffer
	}
	var clients []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), changesPath))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("GET " + changesPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nAccept: text/event-stream\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, conn)
	}
	time.Sleep(500 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	var one int
	if err := s.DB().DB.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		t.Errorf("with %d clients that do not read: %v", len(clients), err)
	}
}

func sequence(v int) string { return fmt.Sprintf("%020d", v) }

// TestAPageOfLargeEventsIsSmall is not parallel: it measures what the whole process allocates.
func TestAPageOfLargeEventsIsSmall(t *testing.T) {
	s := openStore(t)
	a, _ := feedServer(t, s, nil)
	const size = 30_000
	id := uuid.New()
	insert(t, s, []uuid.UUID{id}, 1, 500, size)
	for _, path := range []string{changesPath, usersPath + "/" + id.String() + "/history"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := ask(a, "GET", path+"?limit=500")
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d KiB allocated for %d KiB", path, allocated>>10, w.Body.Len()>>10)
		if w.Code != http.StatusOK || allocated > 2*500*size { // what the events hold
			t.Errorf("%s: status %d, %d bytes were allocated for %d events of %d", path, w.Code, allocated, 500, size)
		}
	}
}

// changing is a service of which only the change feed is asked.
type changing struct {
	Admin
	changes func(context.Context) (user.ChangesPage, error)
}

func (c changing) Changes(ctx context.Context, _ string, _ int) (user.ChangesPage, error) {
	return c.changes(ctx)
}

// What ends a stream before it has begun is the stop, and no fault.
func TestStreamThatHasYetToBeginEndsWithTheStop(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	a, _ := service(t, changing{changes: func(ctx context.Context) (user.ChangesPage, error) {
		close(asked)
		<-ctx.Done()
		return user.ChangesPage{}, ctx.Err()
	}}, func(o *Options) { o.Cursor = admin.EncodeCursor })
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { answered <- ask(a, "GET", changesPath, "Accept", "text/event-stream") }()
	<-asked
	a.EndStreams()
	if w := <-answered; w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "stopping") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func parameter(name, value string) string {
	if value == "" {
		return ""
	}
	return "&" + name + "=" + value
}

// TestPagesAreBoundedInBytes reads a feed and a history of large events whole, by page and
// by stream, and holds what a page takes of the memory.
func TestPagesAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	a, url := feedServer(t, s, nil)
	const versions, size = 300, 30_000
	id := uuid.New()
	insert(t, s, []uuid.UUID{id}, 1, versions, size)

	walk := func(path, list, next string) (pages, entries int) {
		for cursor := ""; pages == 0 || cursor != ""; pages++ {
			w := ask(a, "GET", path+"?limit=500"+parameter(next, cursor))
			if w.Code != http.StatusOK || w.Body.Len() > 2<<20 {
				t.Fatalf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
			}
			var page map[string]json.RawMessage
			var got []json.RawMessage
			if err := errors.Join(json.Unmarshal(w.Body.Bytes(), &page), json.Unmarshal(page[list], &got)); err != nil {
				t.Fatal(err)
			}
			entries += len(got)
			var info struct{ Next string }
			if list == "changes" {
				_ = json.Unmarshal(w.Body.Bytes(), &info)
			} else {
				_ = json.Unmarshal(page["page"], &info)
			}
			if cursor = info.Next; len(got) == 0 {
				cursor = ""
			}
		}
		return pages, entries
	}
	eventually(t, longEnough, "the feed shows all", func() bool { // also what other tests' transactions hold up
		_, entries := walk(changesPath, "changes", "after")
		return entries == versions
	})
	if pages, entries := walk(changesPath, "changes", "after"); entries != versions || pages < versions*size/(1<<20) {
		t.Errorf("the feed: %d events on %d pages", entries, pages)
	}
	if pages, entries := walk(usersPath+"/"+id.String()+"/history", "history", "cursor"); entries != versions || pages < versions*size/(1<<20) {
		t.Errorf("the history: %d entries on %d pages", entries, pages)
	}
	stream := openStream(t, url, "")
	for v := 1; v <= versions; v++ {
		if e, ok := stream.next(); !ok || e.event.Sequence != sequence(v) {
			t.Fatalf("event %d of the stream: %+v", v, e.event)
		}
	}
}

// TestAStreamEndsWithItsCallersLeave holds a stream open while its token is looked at again.
func TestAStreamEndsWithItsCallersLeave(t *testing.T) {
	t.Parallel()
	reader := auth.NewCaller("reader", auth.UsersRead)
	for name, test := range map[string]struct {
		caller auth.Caller
		err    error
		status int
	}{
		"it still may":          {reader, nil, http.StatusGatewayTimeout},
		"its issuer is away":    {auth.Caller{}, errors.New("away"), http.StatusGatewayTimeout},
		"its token was removed": {auth.Caller{}, auth.ErrUnauthenticated, http.StatusUnauthorized},
		"its scope was removed": {auth.NewCaller("reader", auth.EventsSend), nil, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var begun atomic.Bool
				var lasted time.Duration
				begin := func(ctx context.Context) (user.ChangesPage, error) {
					begun.Store(true)
					began := time.Now()
					<-ctx.Done()
					lasted = time.Since(began)
					return user.ChangesPage{}, ctx.Err()
				}
				a, _ := service(t, changing{changes: begin}, func(o *Options) {
					o.Cursor = admin.EncodeCursor
					o.Timeout = time.Minute
					o.Authenticate = func(context.Context, string) (auth.Caller, error) {
						if begun.Load() {
							return test.caller, test.err
						}
						return reader, nil
					}
				})
				if got := ask(a, "GET", "/ai/admin/changes", "Accept", "text/event-stream").Code; got != test.status {
					t.Errorf("status %d, want %d", got, test.status)
				}
				if want := map[bool]time.Duration{true: askAgain, false: time.Minute - endEarly}[test.status != http.StatusGatewayTimeout]; lasted != want {
					t.Errorf("the stream lasted %v, want %v", lasted, want)
				}
			})
		})
	}
}

// TestAStreamEndsWhenItsTokenExpires: by the entry in tokens.json, without anything changing.
func TestAStreamEndsWhenItsTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plain, entry, err := auth.NewToken("contractor", auth.UsersRead)
		if err != nil {
			t.Fatal(err)
		}
		entry.ExpiresAt = time.Now().Add(5 * time.Second)
		authenticator, err := auth.New(auth.Options{Tokens: []auth.Token{entry}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		open := func(ctx context.Context) (user.ChangesPage, error) {
			<-ctx.Done()
			return user.ChangesPage{}, ctx.Err()
		}
		a, _ := service(t, changing{changes: open}, func(o *Options) {
			o.Authenticate, o.Cursor = authenticator.Authenticate, admin.EncodeCursor
		})
		answer := ask(a, "GET", "/ai/admin/changes", "Accept", "text/event-stream", "Authorization", "Bearer "+plain.Reveal())
		if lasted := time.Since(began); lasted < 5*time.Second || lasted > 5*time.Second+askAgain {
			t.Errorf("it lasted %v", lasted)
		}
		if answer.Code != http.StatusUnauthorized || !strings.Contains(answer.Body.String(), "has expired") {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	})
}
