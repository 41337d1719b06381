package outbox

import (
	"time"

	"github.com/google/uuid"
)

// pace says how many events may fly at once. When several users' events fail and nobody's
// is answered, it is the sink that is down, and only one event at a time is tried, with
// growing pauses; when it answers again, the number grows back with each answer.
type pace struct {
	limit   int
	failing map[uuid.UUID]struct{} // users whose event failed since the last answer
	probes  int                    // failed tries since it went down; 0: up, or not tried yet
	down    bool
	next    time.Time // of the next try while it is down
	longest time.Duration
}

const (
	suspicious = 8               // users failing in a row that make the sink down
	maxPause   = 5 * time.Second // between two tries while it is down: how late its return is seen
)

func newPace(longest time.Duration) *pace {
	return &pace{limit: maxFlying, failing: map[uuid.UUID]struct{}{}, longest: min(longest, maxPause)}
}

// allows says whether one more may fly.
func (p *pace) allows(flying int, now time.Time) bool {
	if p.down {
		return flying == 0 && !now.Before(p.next)
	}
	return flying < p.limit
}

// answered notes that the sink is up, and reports whether that is news.
func (p *pace) answered() (back bool) {
	clear(p.failing)
	if p.down {
		p.down, p.probes, p.limit = false, 0, 1
		return true
	}
	p.limit = min(p.limit*2, maxFlying)
	return false
}

// failed notes a failed try; probe says that it was begun while the sink was down. It
// reports whether the sink has just gone down.
func (p *pace) failed(user uuid.UUID, probe bool, wished time.Duration, now time.Time) (down bool) {
	if !p.down {
		p.failing[user] = struct{}{}
		if len(p.failing) < suspicious {
			return false
		}
		p.down, down = true, true
	} else if !probe {
		return false // was under way when the sink went down, and says nothing new
	}
	p.probes++
	p.next = now.Add(wait(p.probes, p.longest, wished))
	return down
}
