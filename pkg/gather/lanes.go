package gather

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Lanes bounds what is under way at once. Its methods may be called concurrently, its
// fields are not to be changed once they are.
type Lanes[J any] struct {
	Count int            // lanes
	Most  int            // jobs of one group
	Group func(jobs []J) // carries out those that waited

	mu            sync.Mutex
	alone, groups int // lanes taken
	waiting       []J
	timed         bool // overdue is about to look
}

// patience is how long jobs wait for a group that is under way before they take a lane of
// their own beside it. It is long for a healthy database, and short for a client.
const patience = 10 * time.Millisecond

// Stuck is how long something is carried out before it no longer counts as under way: what
// it waits for (a row that somebody holds) may be nothing to the others.
const Stuck = 250 * time.Millisecond

// Enter takes a lane for a job, for its caller to carry out and then leave; or has it wait,
// and leave is nil: then Group will be given it. A job that is [Stuck] leaves by itself.
func (l *Lanes[J]) Enter(job J) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups == 0 && l.alone < l.Count {
		l.alone++
		once := sync.OnceFunc(l.leave)
		timer := time.AfterFunc(Stuck, once)
		return func() { timer.Stop(); once() }
	}
	l.waiting = append(l.waiting, job)
	l.open(len(l.waiting) >= l.full())
	l.watch()
	return nil
}

func (l *Lanes[J]) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone--
	l.open(false)
}

// Waiting is how many jobs wait at present.
func (l *Lanes[J]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// full is how many jobs go without waiting for a group that is under way: there is little
// left that they could share.
func (l *Lanes[J]) full() int { return max(1, l.Most/2) }

// open has those that wait go, if there is a lane for them: while another group is under
// way, only if they must.
func (l *Lanes[J]) open(must bool) {
	if len(l.waiting) > 0 && l.alone+l.groups < l.Count && (must || l.groups == 0) {
		l.groups++
		go l.lane(l.next())
	}
}

func (l *Lanes[J]) lane(jobs []J) {
	for jobs != nil {
		l.Group(jobs)
		jobs = l.ended()
	}
}

// ended takes the next group along, or frees the lane.
func (l *Lanes[J]) ended() []J {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.waiting); n > 0 && (l.groups == 1 || n >= l.full()) {
		return l.next()
	}
	l.groups--
	return nil
}

// next takes those that have waited longest. Nothing of them stays behind: they bring secrets.
func (l *Lanes[J]) next() []J {
	n := min(len(l.waiting), l.Most)
	jobs := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return jobs
}

func (l *Lanes[J]) watch() {
	if !l.timed && len(l.waiting) > 0 {
		l.timed = true
		time.AfterFunc(patience, l.overdue)
	}
}

// overdue opens a lane for those that still wait, and looks again later if there is none.
func (l *Lanes[J]) overdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timed = false
	l.open(true)
	l.watch()
}

// Guarded runs f, and makes an error of its panic with the stack in it.
func Guarded(f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	return f()
}
