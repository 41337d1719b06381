package gather

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Queue makes jobs that arrive while others are under way wait, and carries them out together: what each costs
// by itself (a round trip, a transaction) is shared by many. A lone job waits for nothing. Its methods may be
// called concurrently; do not change its fields after the first call.
type Queue[J any] struct {
	Workers int            // batches that are carried out at once
	Most    int            // jobs of one batch
	Batch   func(jobs []J) // carries jobs out, in the order in which they came; it must not panic, see [Guarded]

	mu      sync.Mutex
	working int
	waiting []J
}

// stuckAfter is how long a batch is carried out before it no longer counts as one of those at work:
// what it waits for (a value that another session holds) may be nothing to the others.
const stuckAfter = 250 * time.Millisecond

// Add hands a job over. It is in the next batch that begins, unless more jobs wait than one batch holds.
func (q *Queue[J]) Add(job J) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, job)
	q.start()
}

// start begins a batch with what waits, if a worker is free and it is enough.
func (q *Queue[J]) start() {
	if q.working < q.Workers && q.enough(q.working) {
		q.working++
		go q.work(q.next())
	}
}

// enough reports whether what waits is worth a batch. If no other batch is under way, any job is; beside one,
// half of a full batch is: fewer jobs share more if they wait for its end.
func (q *Queue[J]) enough(others int) bool {
	least := 1
	if others > 0 {
		least = max(1, q.Most/2)
	}
	return len(q.waiting) >= least
}

func (q *Queue[J]) work(jobs []J) {
	for len(jobs) > 0 {
		leave := sync.OnceFunc(q.stuck)
		timer := time.AfterFunc(stuckAfter, leave)
		q.Batch(jobs)
		if timer.Stop() {
			jobs = q.following()
			continue
		}
		leave() // another worker took this one's place
		return
	}
}

// stuck gives a worker's place to another.
func (q *Queue[J]) stuck() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working--
	q.start()
}

// following takes the next batch, or frees the worker's place.
func (q *Queue[J]) following() []J {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.enough(q.working - 1) {
		q.working--
		return nil
	}
	return q.next()
}

// next takes those that have waited longest. Nothing of them stays behind: they bring secrets.
func (q *Queue[J]) next() []J {
	n := min(len(q.waiting), q.Most)
	jobs := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return jobs
}

// Job is a job of a [Queue] whose caller waits for what comes of it.
type Job[A, R any] struct {
	Context context.Context // the caller's, for its trace, and to see whether it has given up
	Asked   A

	result R
	err    error
	done   chan struct{}
}

// NewJob makes a job that is not done.
func NewJob[A, R any](ctx context.Context, asked A) *Job[A, R] {
	return &Job[A, R]{Context: ctx, Asked: asked, done: make(chan struct{})}
}

// Answer tells the caller what came of the job. It is called once.
func (j *Job[A, R]) Answer(result R, err error) {
	j.result, j.err = result, err
	close(j.done)
}

// Wait returns the answer, or the context's error if that ends first; the job still goes on.
func (j *Job[A, R]) Wait() (R, error) {
	select {
	case <-j.done:
		return j.result, j.err
	case <-j.Context.Done():
		var none R
		return none, j.Context.Err()
	}
}

// Guarded runs f, and turns a panic into an error that holds the stack.
func Guarded(f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	return f()
}
