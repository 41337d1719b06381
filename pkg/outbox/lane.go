package outbox

import (
	"container/heap"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// row is an unsent event as read from the outbox.
type row struct {
	partition int16
	seq       int64
	previous  int64 // the seq of its user's previous event while that is unsent, or 0
	refusals  int   // tries that the sink refused
	retryAt   time.Time
	event     user.Event
}

// lane is a user's place in the relay.
type lane struct {
	user      uuid.UUID
	partition int16
	state     laneState
	queue     []row // the next to send first; empty while waiting or parked
	head      int64 // seq of the event being tried
	tail      int64 // highest seq that the lane knows of: what follows it is read later
	more      bool  // rows behind the tail were seen and left in the outbox
	failures  int   // failed tries of the head since it was first read
	refusals  int   // those among them that the sink refused for good, earlier processes' too
	down      bool  // the last failure was no refusal: worth a try when the sink is back
	due       time.Time
}

type laneState int

const (
	ready laneState = iota
	flying
	waiting
	parked // until that is recorded; then the lane is gone and the database knows
	gone   // its partition belongs to another process
)

// laneRows bounds what one user takes of the memory: if every event that is being sent hangs,
// and more of the same users wait, there is still room for others.
const laneRows = windowRows / 2 / maxFlying

// waitingLanes is a heap, the first due on top.
type waitingLanes []*lane

func (w waitingLanes) Len() int           { return len(w) }
func (w waitingLanes) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waitingLanes) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

// Push implements [heap.Interface].
func (w *waitingLanes) Push(x any) { *w = append(*w, x.(*lane)) }

// Pop implements [heap.Interface].
func (w *waitingLanes) Pop() any {
	last := len(*w) - 1
	l := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return l
}

// due removes and returns lanes whose wait is over, at most limit.
func (w *waitingLanes) due(now time.Time, limit int) []*lane {
	var out []*lane
	for len(*w) > 0 && len(out) < limit && !(*w)[0].due.After(now) {
		out = append(out, heap.Pop(w).(*lane))
	}
	return out
}

// hurry makes the lanes due that waited for a sink that was down.
func (w *waitingLanes) hurry(now time.Time) {
	for _, l := range *w {
		if l.down {
			l.due = now
		}
	}
	heap.Init(w)
}
