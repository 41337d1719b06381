package gather

import (
	"context"
	"sync"
)

// Shared makes callers who ask a question that is already being asked wait; when that is over, it is asked
// once for all of them. It is not a cache: no answer is older than the question. Its methods may be called
// concurrently; the zero value is ready for use.
type Shared[V any] struct {
	mu    sync.Mutex
	asked map[string]*asked[V] // by question, while somebody asks it
}

// asked is a question that is under way, and those who came meanwhile; nil: nobody did.
type asked[V any] struct{ next *answer[V] }

type answer[V any] struct {
	value   V
	err     error
	done    chan struct{}
	waiting int // who has not given up
	ask     func() (V, error)
	cancel  context.CancelFunc
}

// Ask asks a question, or waits for the answer to those who ask it next; alone says that nobody
// else has the value. What several wait for is asked as the first of them would, until the last of
// them has given up.
func (s *Shared[V]) Ask(ctx context.Context, question string, ask func(context.Context) (V, error)) (value V, alone bool, err error) {
	waiting := s.enter(ctx, question, ask)
	if waiting == nil {
		defer s.leave(question)
		value, err = ask(ctx)
		return value, true, err
	}
	select {
	case <-waiting.done:
		return waiting.value, false, waiting.err
	case <-ctx.Done():
		s.giveUp(question, waiting)
		return value, false, ctx.Err()
	}
}

// enter is nil for who is to ask by itself.
func (s *Shared[V]) enter(ctx context.Context, question string, ask func(context.Context) (V, error)) *answer[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.asked[question]
	if now == nil {
		if s.asked == nil {
			s.asked = map[string]*asked[V]{}
		}
		s.asked[question] = &asked[V]{}
		return nil
	}
	if now.next == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		now.next = &answer[V]{done: make(chan struct{}), ask: func() (V, error) { return ask(ctx) }, cancel: cancel}
	}
	now.next.waiting++
	return now.next
}

func (s *Shared[V]) giveUp(question string, a *answer[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.waiting--; a.waiting > 0 {
		return
	}
	a.cancel()
	if now := s.asked[question]; now != nil && now.next == a { // who comes now must not wait for it
		now.next = nil
	}
}

// leave has those who wait go next.
func (s *Shared[V]) leave(question string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.asked[question]
	next := now.next
	if now.next = nil; next == nil {
		delete(s.asked, question)
		return
	}
	go s.answer(question, next)
}

func (s *Shared[V]) answer(question string, a *answer[V]) {
	defer a.cancel()
	a.err = Guarded(func() (err error) {
		a.value, err = a.ask()
		return err
	})
	s.leave(question)
	close(a.done)
}
