// Package body reads the bodies of requests, in time and into bounded memory: a few hundred
// requests at once, each of the size that is allowed, would otherwise be the end of a small container.
package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"

	"aiadmin/pkg/user"
)

// Limits of a [Room], in bytes.
type Limits struct {
	Most  int64 // of one body
	Free  int64 // that each may take for nothing: what is no larger waits for nobody
	Least int64 // that a larger one is counted as
	Room  int64 // for all larger ones together; at least Most
}

// OneChange are the limits of requests that each change one user: most are far below Free.
var OneChange = Limits{Most: 1 << 20, Free: 32 << 10, Room: 8 << 20}

// Room is where bodies are while they are worked on. Its methods may be called concurrently.
type Room struct {
	limits Limits
	taken  *semaphore.Weighted
}

// NewRoom makes an empty one.
func NewRoom(limits Limits) *Room { return &Room{limits, semaphore.NewWeighted(limits.Room)} }

// patience is how long a body may take to arrive that takes up room meanwhile.
const patience = 30 * time.Second

// Read waits for room and reads a body. Its room is taken until leave is called, which must
// be once it is of no more use; on an error there is none to give back. Errors are [user.TooLarge],
// [user.Timeout] and [user.Malformed], and the context's.
func (room *Room) Read(w http.ResponseWriter, r *http.Request) (body []byte, leave func(), err error) {
	if r.ContentLength > room.limits.Most {
		return nil, nil, TooLarge(room.limits.Most)
	}
	var read bytes.Buffer
	limited := http.MaxBytesReader(w, r.Body, room.limits.Most)
	if small, err := room.readSmall(r, &read, limited); small || err != nil {
		return read.Bytes(), func() {}, room.fault(r, err)
	}
	size := room.sizeOf(r.ContentLength)
	if err := room.taken.Acquire(r.Context(), size); err != nil {
		return nil, nil, err
	}
	if err := readInTime(w, r, &read, limited); err != nil {
		room.taken.Release(size)
		return nil, nil, room.fault(r, err)
	}
	return read.Bytes(), func() { room.taken.Release(size) }, nil
}

// readSmall reads a body that needs no room, or of one whose length is unknown as much.
func (room *Room) readSmall(r *http.Request, to *bytes.Buffer, from io.Reader) (all bool, err error) {
	if r.ContentLength >= room.limits.Free {
		return false, nil
	}
	n, err := to.ReadFrom(io.LimitReader(from, room.limits.Free))
	return n < room.limits.Free, err
}

// sizeOf is what a body of that length is counted as: the largest when it is unknown.
func (room *Room) sizeOf(length int64) int64 {
	if length < 0 {
		return room.limits.Most
	}
	return max(length, room.limits.Least)
}

// readInTime reads the rest of a body. The deadline must not outlive the reading: net/http
// watches the connection on, and would end the request when it passes.
func readInTime(w http.ResponseWriter, r *http.Request, to *bytes.Buffer, rest io.Reader) error {
	end, _ := r.Context().Deadline() // zero, which is never, without one
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(patience)) // not all writers of tests have one
	defer func() { _ = control.SetReadDeadline(end) }()
	to.Grow(int(max(0, r.ContentLength-int64(to.Len()))) + bytes.MinRead)
	_, err := to.ReadFrom(rest)
	return err
}

// TooLarge refuses a body over so many bytes, for good: sent again, it would be as large.
func TooLarge(most int64) error {
	return user.Errorf(user.TooLarge, "the body is over %d bytes", most)
}

func (room *Room) fault(r *http.Request, err error) error {
	_, over := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return nil
	case over:
		return TooLarge(room.limits.Most)
	case r.Context().Err() != nil:
		return r.Context().Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return user.Errorf(user.Timeout, "the body did not arrive in time").Because(err)
	default:
		return user.Errorf(user.Malformed, "the body could not be read to its end").Because(err)
	}
}
