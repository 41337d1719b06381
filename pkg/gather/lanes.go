package gather

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Lanes bounds what is under way at once. Its methods may be called concurrently, its
// fields are not to be changed once they are.
type Lanes[J any] struct {
	Count int            // lanes
	Most  int            // jobs of one group
	Group func(jobs []J) // carries out those that waited

	mu      sync.Mutex
	taken   int
	waiting []J
}

// Enter takes a lane for a job, for its caller to carry out and then [Lanes.Leave]; or has
// it wait, and returns false: then Group will be given it.
func (l *Lanes[J]) Enter(job J) (entered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken < l.Count {
		l.taken++
		return true
	}
	l.waiting = append(l.waiting, job)
	return false
}

// Leave gives a lane up to those who wait. It returns at once.
func (l *Lanes[J]) Leave() {
	if jobs := l.next(); jobs != nil {
		go func() {
			for ; jobs != nil; jobs = l.next() {
				l.Group(jobs)
			}
		}()
	}
}

// Waiting is how many jobs wait at present.
func (l *Lanes[J]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// next takes those that have waited longest, or frees the lane.
func (l *Lanes[J]) next() []J {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.taken--
		return nil
	}
	n := min(len(l.waiting), l.Most)
	jobs := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return jobs
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
