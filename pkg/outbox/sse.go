package outbox

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"time"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

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
