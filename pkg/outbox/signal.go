package outbox

import "sync"

// signal wakes all who wait. Wakes that come before anybody waits, or together, are one.
type signal struct {
	mu    sync.Mutex
	fired chan struct{} // nil while nobody waits
}

// wait returns a channel that the next wake closes. Ask for it before looking for what the
// wake would tell of, or a wake between the two is lost.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fired == nil {
		s.fired = make(chan struct{})
	}
	return s.fired
}

func (s *signal) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fired != nil {
		close(s.fired)
		s.fired = nil
	}
}
