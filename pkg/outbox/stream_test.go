package outbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// feedServer serves streams as the service's route does.
func feedServer(t testing.TB, s *store.Store) (*Outbox, *httptest.Server) {
	t.Helper()
	service := admin.New(s, nil, admin.Retention{}, admin.Options{})
	x, _ := start(t, Options{Store: s, Changes: service.Changes, Cursor: admin.EncodeCursor})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := x.ServeStream(w, r, r.URL.Query().Get("after")); err != nil {
			http.Error(w, string(user.KindOf(err)), map[user.Kind]int{user.CursorExpired: 410, user.Unavailable: 503, user.Invalid: 400}[user.KindOf(err)])
		}
	}))
	t.Cleanup(func() { x.EndStreams(); server.CloseClientConnections(); server.Close() })
	return x, server
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
	x, server := feedServer(t, s)
	users := newUsers(1)
	commitMany(t, s, users, 120) // more than a page
	first := openStream(t, server.URL, "")
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
	for name, r := range map[string]*reader{"Last-Event-ID": openStream(t, server.URL, middle), "after": openStream(t, server.URL+"?after="+middle, "")} {
		if e, _ := r.next(); e.event.Sequence != sequence(61) {
			t.Errorf("resumed by %s at %+v", name, e)
		}
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
	x, server := feedServer(t, s)
	before := uuid.New()
	commit(t, s, before, 1)
	stream := openStream(t, server.URL, "")
	if e, _ := stream.next(); e.event.Subject != before {
		t.Fatalf("%+v", e)
	}
	late := uuid.New()
	tx, err := s.DB().DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(insertEvent, uuid.New(), late, 1, `{"user":{}}`, int16(late[15]%16)); err != nil {
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
		case <-time.After(patience):
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
	_, server := feedServer(t, s)
	commit(t, s, uuid.New(), 1)
	if _, err := s.DB().DB.Exec("UPDATE feed_floor SET xid = (SELECT max(xid::text::bigint)+1 FROM events)::text::xid8"); err != nil {
		t.Fatal(err)
	}
	if r := openStream(t, server.URL, admin.EncodeCursor(user.Place{XID: 5, Seq: 1})); r.answer.StatusCode != http.StatusGone {
		t.Errorf("status %d", r.answer.StatusCode)
	}
	if r := openStream(t, server.URL, "nonsense"); r.answer.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", r.answer.StatusCode)
	}
}

func TestStreamsAreBoundedAndEndCleanly(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	x, server := feedServer(t, s)
	var open []*reader
	for range maxStreams {
		r := openStream(t, server.URL, "")
		if r.answer.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %d", len(open), r.answer.StatusCode)
		}
		open = append(open, r)
	}
	if n := s.Stats().InUse; n > streamReaders {
		t.Errorf("%d connections are in use", n)
	}
	if r := openStream(t, server.URL, ""); r.answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: %d", r.answer.StatusCode)
	}
	_ = open[0].answer.Body.Close()
	eventually(t, patience, "the place of one who left is free", func() bool { return value(t, x.metrics.streams) == maxStreams-1 })
	x.EndStreams()
	for _, r := range open[1:] {
		if _, ok := r.next(); ok {
			t.Error("an event out of nowhere")
		}
	}
	eventually(t, patience, "all have ended", func() bool { return value(t, x.metrics.streams) == 0 })
	if r := openStream(t, server.URL, ""); r.answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream began while stopping: %d", r.answer.StatusCode)
	}
}

// The request's deadline ends the stream, and not the connection under it.
func TestStreamEndsBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	service := admin.New(s, nil, admin.Retention{}, admin.Options{})
	x, _ := start(t, Options{Store: s, Changes: service.Changes, Cursor: admin.EncodeCursor})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), endEarly+2*time.Second)
		defer cancel()
		if err := x.ServeStream(w, r.WithContext(ctx), ""); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	r := openStream(t, server.URL, "")
	if _, ok := r.next(); ok {
		t.Error("an event out of nowhere")
	}
}

// A client that does not read must hold no connection of the pool.
func TestSlowClientHoldsNoConnection(t *testing.T) {
	t.Parallel()
	s := openURL(t, pgtest.Database(t), 2)
	_, server := feedServer(t, s)
	for range 4 {
		commitMany(t, s, newUsers(500), 10) // more than sockets buffer
	}
	var clients []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, conn)
	}
	time.Sleep(500 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var one int
	if err := s.DB().DB.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		t.Errorf("with %d clients that do not read: %v", len(clients), err)
	}
}

func sequence(v int) string { return fmt.Sprintf("%020d", v) }

// What ends a stream before it has begun is the stop, and no fault.
func TestAStreamThatHasYetToBeginIsToldOfTheStop(t *testing.T) {
	t.Parallel()
	asked, ended := make(chan struct{}), make(chan error, 1)
	x, _ := start(t, Options{Store: openStore(t), Cursor: admin.EncodeCursor, Changes: func(ctx context.Context, _ string, _ int) (user.ChangesPage, error) {
		close(asked)
		<-ctx.Done()
		return user.ChangesPage{}, ctx.Err()
	}})
	go func() {
		ended <- x.ServeStream(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), "")
	}()
	<-asked
	x.EndStreams()
	if err := <-ended; !errors.Is(err, errStopping) {
		t.Error(err)
	}
}
