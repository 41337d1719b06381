package outbox

import (
	"bufio"
	"context"
	"net/http"
	"sync"
	"time"

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
	if err := x.orStopping(nil); err != nil {
		return err
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
		return x.orStopping(err)
	}
	s := &stream{outbox: x, control: http.NewResponseController(w), out: bufio.NewWriterSize(w, 16<<10), read: time.Now(), patience: firstLook}
	if err := s.begin(w); err == nil {
		s.run(ctx, page, wake)
	}
	return nil
}

// orStopping is why a stream cannot begin: the stop, before all else.
func (x *Outbox) orStopping(err error) error {
	select {
	case <-x.streams.end:
		return errStopping
	default:
		return err
	}
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
