package gather

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestNoAnswerIsOlderThanItsQuestion races questions with what they ask for: who asks after a
// number was reached is told that number, or a later one.
func TestNoAnswerIsOlderThanItsQuestion(t *testing.T) {
	t.Parallel()
	var now, asked atomic.Int64
	var s Shared[int64]
	var running sync.WaitGroup
	const askers, questions = 16, 500
	for range askers {
		running.Go(func() {
			for range questions {
				least := now.Add(1)
				got, _, err := s.Ask(t.Context(), "now", func(context.Context) (int64, error) {
					asked.Add(1)
					defer runtime.Gosched()
					return now.Load(), nil
				})
				if err != nil || got < least {
					t.Errorf("told %d, %v after %d", got, err, least)
				}
			}
		})
	}
	running.Wait()
	if n := asked.Load(); n == askers*questions {
		t.Error("nothing was shared")
	}
	if len(s.asked) != 0 {
		t.Errorf("%d questions are kept", len(s.asked))
	}
}

// sharing holds a question up and lets more of its kind wait for the next answer.
func sharing(t *testing.T, s *Shared[string], contexts []context.Context, ask func(context.Context) (string, error)) (answers []string, errs []error) {
	t.Helper()
	hold := make(chan struct{})
	begun := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		if _, alone, err := s.Ask(t.Context(), "q", func(context.Context) (string, error) { close(begun); <-hold; return "first", nil }); !alone || err != nil {
			t.Errorf("the first one: alone %t, %v", alone, err)
		}
	})
	<-begun
	answers, errs = make([]string, len(contexts)), make([]error, len(contexts))
	for i, ctx := range contexts {
		running.Go(func() {
			var alone bool
			if answers[i], alone, errs[i] = s.Ask(ctx, "q", ask); alone {
				t.Error("one of several is told that it is alone")
			}
		})
	}
	untilWaiting(s, len(contexts))
	close(hold)
	running.Wait()
	return answers, errs
}

// untilWaiting returns once so many wait for the next answer.
func untilWaiting(s *Shared[string], n int) {
	for waiting := 0; waiting < n; runtime.Gosched() {
		s.mu.Lock()
		if next := s.asked["q"].next; next != nil {
			waiting = next.waiting
		}
		s.mu.Unlock()
	}
}

func TestThoseWhoWaitShareOneAnswer(t *testing.T) {
	t.Parallel()
	var s Shared[string]
	var asked atomic.Int64
	contexts := []context.Context{t.Context(), t.Context(), t.Context()}
	answers, errs := sharing(t, &s, contexts, func(context.Context) (string, error) { asked.Add(1); return "next", nil })
	if asked.Load() != 1 || strings.Join(answers, " ") != "next next next" || errors.Join(errs...) != nil {
		t.Errorf("%d questions, answers %q, %v", asked.Load(), answers, errs)
	}
	if _, alone, err := s.Ask(t.Context(), "q", func(context.Context) (string, error) { return "", nil }); !alone || err != nil {
		t.Errorf("who comes later: alone %t, %v", alone, err)
	}
}

// TestWhoGivesUpLeavesTheOthers: only when the last of them has gone is the question given up.
func TestWhoGivesUpLeavesTheOthers(t *testing.T) {
	t.Parallel()
	var s Shared[string]
	gone, leave := context.WithCancel(t.Context())
	last, leaveLast := context.WithCancel(t.Context())
	_, errs := sharing(t, &s, []context.Context{gone, last}, func(ctx context.Context) (string, error) {
		leave()
		for i := 0; i < 1000 && ctx.Err() == nil; i++ {
			runtime.Gosched()
		}
		if ctx.Err() != nil {
			t.Error("one who went ended it for both")
		}
		leaveLast()
		<-ctx.Done()
		return "", ctx.Err()
	})
	for _, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up is told %v", err)
		}
	}
}

// TestWhoComesAfterAllGaveUpIsAnswered: what the others cancelled is not for those who come later.
func TestWhoComesAfterAllGaveUpIsAnswered(t *testing.T) {
	t.Parallel()
	var s Shared[string]
	gone, leave := context.WithCancel(t.Context())
	leave()
	begun, hold := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		_, _, _ = s.Ask(t.Context(), "q", func(context.Context) (string, error) { close(begun); <-hold; return "", nil })
	})
	<-begun
	if _, _, err := s.Ask(gone, "q", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up is told %v", err)
	}
	answer := make(chan error)
	go func() {
		_, _, err := s.Ask(t.Context(), "q", func(ctx context.Context) (string, error) { return "", ctx.Err() })
		answer <- err
	}()
	untilWaiting(&s, 1)
	close(hold)
	if err := <-answer; err != nil {
		t.Errorf("who came later is told %v", err)
	}
	running.Wait()
}

func TestAPanicIsAnErrorForAll(t *testing.T) {
	t.Parallel()
	var s Shared[string]
	_, errs := sharing(t, &s, []context.Context{t.Context(), t.Context()}, func(context.Context) (string, error) { panic("a fault") })
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "a fault") {
			t.Errorf("told %v", err)
		}
	}
	if len(s.asked) != 0 {
		t.Error("the question is kept")
	}
}

// TestNothingIsKeptOfAQuestion: questions are clients' texts, of which there is no end.
func TestNothingIsKeptOfAQuestion(t *testing.T) {
	t.Parallel()
	var s Shared[int]
	var running sync.WaitGroup
	for i := range 1000 {
		running.Go(func() {
			question := strings.Repeat("x", i%10) + strings.Repeat("y", 1000)
			_, _, _ = s.Ask(t.Context(), question, func(context.Context) (int, error) {
				if i%3 == 0 {
					return 0, errors.New("no answer")
				}
				return i, nil
			})
		})
	}
	running.Wait()
	for i := 0; ; i++ { // what several waited for ends in a goroutine of its own
		s.mu.Lock()
		kept := len(s.asked)
		s.mu.Unlock()
		if kept == 0 {
			return
		}
		if i == 1_000_000 {
			t.Fatalf("%d questions are kept", kept)
		}
		runtime.Gosched()
	}
}
