package gather

import "context"

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

// Wait returns the answer, or the context's error if that ends before; the job goes on then.
func (j *Job[A, R]) Wait() (R, error) {
	select {
	case <-j.done:
		return j.result, j.err
	case <-j.Context.Done():
		var none R
		return none, j.Context.Err()
	}
}
