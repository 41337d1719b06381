// Package body reads the bodies of requests into bounded memory. A few hundred requests at
// once, each with a body of the size that is allowed, would otherwise exhaust a small container.
package body

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"

	"aiadmin/pkg/user"
)

// Limits of a [Budget], in bytes. All bodies together hold at most Total + Reserved × Most.
type Limits struct {
	Most     int64 // of one body
	Total    int64 // of all bodies that are held at once
	Reserved int64 // how many bodies may be finished beyond Total
}

// OneChange are the limits of requests that each change one user: most are below 1 KiB.
var OneChange = Limits{Most: 1 << 20, Total: 8 << 20, Reserved: 2}

// Budget is the memory that bodies share. A body takes its share as it arrives, never in
// advance: one that trickles holds little, and keeps nobody out. When the budget is spent,
// the few that have one of the reserved places read on to their end while the others wait
// for such a place, so that many half-read bodies cannot block each other forever. The
// methods of a Budget may be called concurrently.
type Budget struct {
	most           int64
	free, reserved *semaphore.Weighted
	enter          Gate
}

// Gate waits for a place among the requests that are worked on, which leave gives back.
type Gate func(context.Context) (leave func(), err error)

// NewBudget makes a budget of which nothing is spent. A request whose body has arrived enters the gate; before that
// it takes nobody's place, however slowly it is sent. A nil gate is always open.
func NewBudget(limits Limits, enter Gate) *Budget {
	if enter == nil {
		enter = func(context.Context) (func(), error) { return func() {}, nil }
	}
	return &Budget{limits.Most, semaphore.NewWeighted(limits.Total), semaphore.NewWeighted(limits.Reserved), enter}
}

const (
	firstShare = 1 << 10          // bytes; more is taken once they have arrived
	patience   = 30 * time.Second // for a reserved place, and then for the rest of the body
)

// Read reads a body to its end and enters the gate. Memory and place are taken until done is called, which
// must be once the request's work is done; on an error there is nothing to give back. The
// connection's read deadline, which bounds the time, is removed once the body has arrived.
// Errors are [user.TooLarge], [user.Timeout], [user.Unavailable] and [user.Malformed], the gate's and
// the context's.
func (b *Budget) Read(w http.ResponseWriter, r *http.Request) (body []byte, done func(), err error) {
	s := &share{budget: b, control: http.NewResponseController(w)}
	if r.ContentLength > b.most {
		if r.Header.Get("Expect") == "" { // else the client asked first, and need not send any of it
			s.discard(r)
		}
		return nil, nil, TooLarge(b.most)
	}
	body, err = s.read(w, r)
	if err != nil {
		s.giveBack()
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			s.discard(r)
		}
		return nil, nil, b.fault(r, err)
	}
	_ = s.control.SetReadDeadline(time.Time{}) // it would end the request when it passes; test writers have none
	leave, err := b.enter(r.Context())
	if err != nil {
		s.giveBack()
		return nil, nil, err
	}
	return body, func() { leave(); s.giveBack() }, nil
}

// share is what one body has of the budget.
type share struct {
	budget   *Budget
	control  *http.ResponseController
	held     int64
	reserved bool
}

func (s *share) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, s.budget.most)
	whole := s.budget.most + 1 // one byte more than the body, so that its end is seen
	if r.ContentLength >= 0 {
		whole = r.ContentLength + 1
	}
	var body []byte
	for {
		if len(body) == cap(body) {
			size := min(max(2*int64(cap(body)), firstShare), whole)
			if err := s.grow(r.Context(), size-int64(cap(body))); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := limited.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		}
	}
}

// Of a body that is too large, so much more is read and thrown away as long as it comes: many clients look for an
// answer only once they have sent everything, and would see a broken connection instead.
const (
	discardMost = 32 << 20
	discardPart = 256 << 10
	discardWait = time.Second // for the next part
	discardTime = 5 * time.Second
)

func (s *share) discard(r *http.Request) {
	end := time.Now().Add(discardTime)
	for n := 0; n < discardMost && r.Context().Err() == nil && time.Now().Before(end); n += discardPart {
		_ = s.control.SetReadDeadline(time.Now().Add(discardWait))
		if _, err := io.CopyN(io.Discard, r.Body, discardPart); err != nil {
			return
		}
	}
}

// grow takes more of the budget or, where it is spent, a reserved place.
func (s *share) grow(ctx context.Context, bytes int64) error {
	switch {
	case s.reserved:
		return nil
	case s.budget.free.TryAcquire(bytes):
		s.held += bytes
		return nil
	}
	if s.reserved = s.budget.reserved.TryAcquire(1); s.reserved {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.budget.reserved.Acquire(waiting, 1); err != nil {
		return cmp.Or(ctx.Err(), errSpent)
	}
	s.reserved = true
	_ = s.control.SetReadDeadline(time.Now().Add(patience)) // the wait was no fault of the client's
	return nil
}

func (s *share) giveBack() {
	s.budget.free.Release(s.held)
	s.held = 0
	if s.reserved {
		s.budget.reserved.Release(1)
		s.reserved = false
	}
}

var errSpent error = user.Errorf(user.Unavailable, "too many large bodies are being read: try again shortly")

// TooLarge refuses a body over so many bytes, for good: sent again, it would be as large.
func TooLarge(most int64) error {
	return user.Errorf(user.TooLarge, "the body is over %d bytes", most)
}

func (b *Budget) fault(r *http.Request, err error) error {
	_, over := errors.AsType[*http.MaxBytesError](err)
	_, known := errors.AsType[*user.Error](err)
	switch {
	case over:
		return TooLarge(b.most)
	case known:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded): // which has net/http cancel the context, so that it is looked at first
		return user.Errorf(user.Timeout, "the body did not arrive in time: send it whole within 30 s").Wrap(err)
	case r.Context().Err() != nil:
		return r.Context().Err()
	default:
		return user.Errorf(user.Malformed, "the body could not be read to its end").Wrap(err)
	}
}
