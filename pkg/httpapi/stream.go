package httpapi

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/user"
)

const (
	maxStreams    = 64
	streamReaders = 4  // connections of the pool that streams may take at once
	streamPage    = 50 // events
	heartbeat     = 15 * time.Second
	writeTimeout  = 30 * time.Second       // for a page: a slower client is cut off, and resumes
	streamPoll    = time.Second            // for events that nobody announced
	pageEvery     = 100 * time.Millisecond // at most, while changes pour in
	firstPoll     = 20 * time.Millisecond  // after a wake that showed nothing, then less and less often
	endEarly      = time.Second            // before the request's own deadline, so that the end is orderly
	askAgain      = time.Second            // between two looks at a stream's caller
)

var (
	errTooManyStreams = user.Errorf(user.Unavailable, "too many streams are open: try again shortly, or read pages")
	errStopping       = user.Errorf(user.Unavailable, "the service is stopping: try again shortly")
)

// streams are the open streams of the change feed. Their number is bounded, and so are the
// pages that they read at once.
type streams struct {
	open    atomic.Int64
	reading chan struct{}
	ending  chan struct{} // closed by EndStreams
	endOnce sync.Once

	mu      sync.Mutex
	changed chan struct{} // closed by the next wake
}

func newStreams() *streams {
	return &streams{reading: make(chan struct{}, streamReaders), ending: make(chan struct{}), changed: make(chan struct{})}
}

// Wake announces to the streams that events have been committed. It may be called for each.
func (a *API) Wake() {
	s := a.streams
	if s.open.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// wake returns a channel that the next wake closes. Ask for it before reading a page, or a
// wake between the two is lost.
func (s *streams) wake() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// EndStreams ends all streams and lets none begin. Call it when the service is asked to
// stop: clients resume with Last-Event-ID elsewhere.
func (a *API) EndStreams() { a.streams.endOnce.Do(func() { close(a.streams.ending) }) }

// OpenStreams counts the open streams.
func (a *API) OpenStreams() int { return int(a.streams.open.Load()) }

// orStopping is why a stream cannot begin: the stop, before all else.
func (s *streams) orStopping(err error) error {
	select {
	case <-s.ending:
		return errStopping
	default:
		return err
	}
}

// serveStream answers with the change feed after a cursor as server-sent events, in the
// format of the HTML standard's section 9.2: each event's id is a cursor, its data the
// CloudEvent in JSON. A Last-Event-ID takes precedence over the cursor. What fails before
// the stream begins is returned and nothing is written; an expired cursor is
// [user.CursorExpired]. Once begun, the stream ends, and the error is nil, when the client
// leaves or is too slow, its token is removed, the request's context ends, or the service
// is asked to stop.
func (a *API) serveStream(w http.ResponseWriter, r *http.Request, cursor string) error {
	if r.Method == http.MethodHead { // the answer to GET has no end to wait for
		if _, err := a.options.Admin.Changes(r.Context(), cursor, 1); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/event-stream")
		return nil
	}
	defer a.streams.open.Add(-1)
	if a.streams.open.Add(1) > maxStreams {
		return a.streams.orStopping(errTooManyStreams)
	}
	ctx, cancel := a.streamContext(r)
	defer cancel(nil)
	last := r.Header.Get("Last-Event-ID")
	wake := a.streams.wake()
	page, err := a.streamPage(ctx, cmp.Or(last, cursor))
	if last != "" && user.KindOf(err) == user.Invalid {
		err = headerProblem("Last-Event-ID", "is not the id of an event of this stream")
	}
	if err = a.streams.orStopping(err); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	s := &stream{api: a, control: http.NewResponseController(w), out: bufio.NewWriterSize(w, 16<<10), read: time.Now(), patience: firstPoll}
	if err := s.begin(w); err == nil {
		s.run(ctx, page, wake)
	}
	return nil
}

// streamContext ends with the request, a little before its deadline, when the service is
// asked to stop, and when the caller may no longer read: a token was removed or has
// expired. A caller who cannot be checked at the moment may go on.
func (a *API) streamContext(r *http.Request) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(r.Context())
	ends := make(<-chan time.Time)
	if deadline, ok := ctx.Deadline(); ok {
		ends = time.After(time.Until(deadline) - endEarly)
	}
	go func() {
		ticker := time.NewTicker(askAgain)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-a.streams.ending:
				cancel(errStopping)
			case <-ends:
				cancel(context.DeadlineExceeded)
			case <-ticker.C:
				if err := a.mayStillRead(r); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, cancel
}

// mayStillRead is why the caller of a stream may no longer read, if that is certain.
func (a *API) mayStillRead(r *http.Request) error {
	_, err := a.mayCall(r, auth.UsersRead)
	if kind := user.KindOf(err); kind == user.Unauthenticated || kind == user.Forbidden {
		return err
	}
	return nil
}

// streamPage reads a page. Streams that wait for their turn hold no connection.
func (a *API) streamPage(ctx context.Context, cursor string) (user.ChangesPage, error) {
	select {
	case a.streams.reading <- struct{}{}:
		defer func() { <-a.streams.reading }()
	case <-ctx.Done():
		return user.ChangesPage{}, ctx.Err()
	}
	return a.options.Admin.Changes(ctx, cursor, streamPage)
}

// stream writes to one client.
type stream struct {
	api      *API
	control  *http.ResponseController
	out      *bufio.Writer
	buffer   []byte
	beat     time.Time     // of the last write
	read     time.Time     // of the last page
	patience time.Duration // until the next page without a wake
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
		if !page.More || err != nil {
			s.await(ctx, wake)
		}
		if time.Since(s.beat) >= heartbeat && s.heartbeat() != nil {
			return
		}
		cursor := page.Next
		wake, s.read = s.api.streams.wake(), time.Now()
		page, err = s.api.streamPage(ctx, cursor)
		if err != nil {
			if user.KindOf(err) == user.CursorExpired {
				return // the client is slower than retention; it learns so when it resumes
			}
			page = user.ChangesPage{Next: cursor} // the database is away: the stream outlives that
		}
	}
}

// await waits until there may be events. An event is shown once every transaction older
// than its own has ended, which nobody announces: so it polls, too.
func (s *stream) await(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	s.patience = min(4*s.patience, streamPoll)
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
		s.patience = firstPoll
		timer.Reset(time.Until(s.read.Add(pageEvery)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}

func (s *stream) write(page user.ChangesPage) error {
	if len(page.Entries) == 0 {
		return nil
	}
	s.limit()
	for i := range page.Entries {
		e := &page.Entries[i]
		s.buffer = append(append(s.buffer[:0], "id: "...), s.api.options.Cursor(e.Place())...)
		s.buffer = append(s.buffer, "\ndata: "...)
		s.buffer = s.api.options.AppendEvent(s.buffer, e.Event)
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
