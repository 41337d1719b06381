package eventapi

import (
	"aiadmin/pkg/body"
	"aiadmin/pkg/user"
)

// Bounds of a body, in bytes.
const (
	maxEvent = 1 << 20
	maxBatch = 8 << 20
)

// rooms are where bodies of single events and of batches are. A batch waits for room
// before it is read, so that those waiting need no memory: at work, it takes a dozen times its size.
func rooms() (events, batches *body.Room) {
	return body.NewRoom(body.Limits{Most: maxEvent, Free: 32 << 10, Room: 8 * maxEvent}),
		body.NewRoom(body.Limits{Most: maxBatch, Least: maxBatch / 64, Room: maxBatch})
}

// tooLarge refuses for good: sent again, it would be as large.
func tooLarge(limit int64) error {
	return user.Errorf(user.TooLarge, "the body is over %d bytes", limit)
}
