package outbox

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

// streams are the open streams of the change feed: their number is bounded, and so are
// the pages that they read at once.
type streams struct {
	places  chan struct{}
	reading chan struct{}
	end     chan struct{}
	once    *sync.Once
}

const (
	maxStreams    = 64
	streamReaders = 4 // connections of the pool that streams may take at once
	streamPage    = 50
	heartbeat     = 15 * time.Second
	writeTimeout  = 30 * time.Second       // for a page: a slower client is cut off, and resumes
	pageEvery     = 100 * time.Millisecond // at most, while changes pour in
	firstLook     = 20 * time.Millisecond  // after a wake that showed nothing, then less and less often
	endEarly      = time.Second            // before the request's own deadline, so that the end is orderly
)

func newStreams() streams {
	return streams{make(chan struct{}, maxStreams), make(chan struct{}, streamReaders), make(chan struct{}), &sync.Once{}}
}

// EndStreams ends all streams and lets no new one begin: for the moment when the service
// is told to stop. Clients resume with Last-Event-ID elsewhere.
func (x *Outbox) EndStreams() { x.streams.once.Do(func() { close(x.streams.end) }) }

var (
	errTooMany  = user.Errorf(user.Unavailable, "too many streams are open: try again shortly, or read pages")
	errStopping = user.Errorf(user.Unavailable, "the service is stopping: try again shortly")
)

// ServeStream answers with the change feed behind a cursor as server-sent events, in the
// format of the HTML standard's section 9.2: each event's id is a cursor, its data the
// CloudEvent in JSON. A Last-Event-ID goes before the cursor. What fails before the stream
// begins is returned and nothing is written; an expired cursor is [user.CursorExpired].
// Once begun, the stream ends, and the error is nil, when the client leaves or is too
// slow, the request's context ends, or [Outbox.EndStreams] is called.
func (x *Outbox) ServeStream(w http.ResponseWriter, r *http.Request, cursor string) error {
	select {
	case <-x.streams.end:
		return errStopping
	default:
	}
	select {
	case x.streams.places <- struct{}{}:
		defer func() { <-x.streams.places }()
	default:
		return errTooMany
	}
	x.metrics.streams.Inc()
	defer x.metrics.streams.Dec()
	ctx, cancel := x.streamContext(r.Context())
	defer cancel()
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		cursor = id
	}
	wake := x.changed.wait()
	page, err := x.page(ctx, cursor)
	if err != nil {
		return err
	}
	s := &stream{outbox: x, control: http.NewResponseController(w), out: bufio.NewWriterSize(w, 16<<10), read: time.Now(), patience: firstLook}
	if err := s.begin(w); err == nil {
		s.run(ctx, page, wake)
	}
	return nil
}

// streamContext ends with the request, a little before its deadline, and by EndStreams.
func (x *Outbox) streamContext(ctx context.Context) (context.Context, context.CancelFunc) {
	cancelDeadline := func() {}
	if deadline, ok := ctx.Deadline(); ok {
		ctx, cancelDeadline = context.WithDeadline(ctx, deadline.Add(-endEarly))
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-x.streams.end:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); cancelDeadline() }
}

// page reads on without holding a connection longer than the query takes.
func (x *Outbox) page(ctx context.Context, cursor string) (user.ChangesPage, error) {
	select {
	case x.streams.reading <- struct{}{}:
		defer func() { <-x.streams.reading }()
	case <-ctx.Done():
		return user.ChangesPage{}, ctx.Err()
	}
	return x.options.Changes(ctx, cursor, streamPage)
}

// stream writes to one client.
type stream struct {
	outbox   *Outbox
	control  *http.ResponseController
	out      *bufio.Writer
	buffer   []byte
	beat     time.Time     // of the last write
	read     time.Time     // of the last page
	patience time.Duration // until the next look with no wake
}

func (s *stream) begin(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // proxies that would hold events back
	w.WriteHeader(http.StatusOK)
	return s.flush()
}

// run writes pages for as long as the stream lasts.
func (s *stream) run(ctx context.Context, page user.ChangesPage, wake <-chan struct{}) {
	defer s.limit() // for the end of the answer
	for err := error(nil); ctx.Err() == nil; {
		if err == nil && s.write(page) != nil {
			return
		}
		if len(page.Entries) < streamPage || err != nil {
			s.await(ctx, wake)
		}
		if time.Since(s.beat) >= heartbeat && s.heartbeat() != nil {
			return
		}
		cursor := page.Next
		wake, s.read = s.outbox.changed.wait(), time.Now()
		page, err = s.outbox.page(ctx, cursor)
		if err != nil {
			if user.KindOf(err) == user.CursorExpired {
				return // the client is slower than retention; it learns so when it resumes
			}
			page = user.ChangesPage{Next: cursor} // the database is away: the stream outlives that
		}
	}
}

// await waits until there may be events. An event is shown once every transaction older
// than its own has ended, which nobody tells of: so it looks again by itself.
func (s *stream) await(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	s.patience = min(4*s.patience, pollEvery)
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
		s.patience = firstLook
		pause(ctx, time.Until(s.read.Add(pageEvery)))
	}
}

func (s *stream) write(page user.ChangesPage) error {
	if len(page.Entries) == 0 {
		return nil
	}
	s.limit()
	for i := range page.Entries {
		e := &page.Entries[i]
		s.buffer = append(append(s.buffer[:0], "id: "...), s.outbox.options.Cursor(e.Place())...)
		s.buffer = append(s.buffer, "\ndata: "...)
		s.buffer = cloudevent.AppendJSON(s.buffer, e.Event, s.outbox.options.Source)
		s.buffer = append(s.buffer, "\n\n"...)
		if _, err := s.out.Write(s.buffer); err != nil {
			return err
		}
	}
	return s.flush()
}

// heartbeat is a comment, which clients skip: it keeps proxies from closing the
// connection, and finds out that the client is gone.
func (s *stream) heartbeat() error {
	s.limit()
	if _, err := s.out.WriteString(": still here\n\n"); err != nil {
		return err
	}
	return s.flush()
}

// limit bounds the next writes.
func (s *stream) limit() {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not all writers of tests have one
}

func (s *stream) flush() error {
	s.beat = time.Now()
	if err := s.out.Flush(); err != nil {
		return err
	}
	if err := s.control.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
