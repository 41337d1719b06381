package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// crowd holds all lanes of a gatherer until let go, so that what comes meanwhile waits.
func crowd(t *testing.T, g *gatherer, alone func(context.Context, user.Command) (user.Outcome, error)) (letGo func()) {
	t.Helper()
	release, held := make(chan struct{}), make(chan struct{})
	g.begin(func(ctx context.Context, c user.Command) (user.Outcome, error) {
		if c.Cause != "lane" {
			return alone(ctx, c)
		}
		held <- struct{}{}
		<-release
		return user.Outcome{}, nil
	}, g.together)
	var running sync.WaitGroup
	for range lanes {
		running.Go(func() { _, _ = g.apply(t.Context(), user.Command{Cause: "lane"}) })
		<-held
	}
	return func() { close(release); running.Wait() }
}

// wait returns when so many commands wait.
func (g *gatherer) wait(n int) {
	for g.lanes.Waiting() != n {
		time.Sleep(time.Millisecond)
	}
}

// applied is what n waiting commands came to, by their cause.
func applied(t *testing.T, g *gatherer, letGo func(), n int) map[string]error {
	t.Helper()
	var mu sync.Mutex
	results := map[string]error{}
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			cause := fmt.Sprint(i)
			outcome, err := g.apply(t.Context(), user.Command{Cause: cause})
			if err == nil && outcome.Event.Cause != cause {
				err = fmt.Errorf("the answer of %s", outcome.Event.Cause)
			}
			mu.Lock()
			results[cause] = err
			mu.Unlock()
		})
	}
	g.wait(n)
	letGo()
	running.Wait()
	return results
}

func itself(_ context.Context, c user.Command) (user.Outcome, error) {
	return user.Outcome{Event: &user.Event{Cause: c.Cause}}, nil
}

func TestWaitingCommandsGoTogether(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	var groups atomic.Int64
	g := &gatherer{log: slog.New(slog.DiscardHandler), together: func(_ context.Context, commands []user.Command) ([]user.Result, error) {
		groups.Add(1)
		results := make([]user.Result, len(commands))
		for i, c := range commands {
			if c.Cause == "3" {
				results[i].Err = refused
				continue
			}
			results[i].Outcome, _ = itself(t.Context(), c)
		}
		return results, nil
	}}
	letGo := crowd(t, g, func(context.Context, user.Command) (user.Outcome, error) {
		return user.Outcome{}, errors.New("by itself")
	})
	for cause, err := range applied(t, g, letGo, store.SmallBulk) {
		if want := map[bool]error{true: refused}[cause == "3"]; !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", cause, err, want)
		}
	}
	if groups.Load() != 1 {
		t.Errorf("%d groups", groups.Load())
	}
}

// TestAGroupThatFails tells apart what may be tried again from what may have happened.
func TestAGroupThatFails(t *testing.T) {
	t.Parallel()
	away := user.Errorf(user.Unavailable, "the connection broke at the end")
	for name, test := range map[string]struct {
		together func() error
		want     error
	}{
		"one stands in the way": {func() error { return errors.New("SQLSTATE 54000") }, nil},
		"a panic":               {func() error { panic("planted") }, nil},
		"the database is away":  {func() error { return away }, away},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &gatherer{log: slog.New(slog.DiscardHandler), together: func(context.Context, []user.Command) ([]user.Result, error) { return nil, test.together() }}
			letGo := crowd(t, g, itself)
			for cause, err := range applied(t, g, letGo, 10) {
				if !errors.Is(err, test.want) {
					t.Errorf("%s: %v, want %v", cause, err, test.want)
				}
			}
		})
	}
}

// TestAPanicOfOneIsItsOwn: each is answered, and the process lives.
func TestAPanicOfOneIsItsOwn(t *testing.T) {
	t.Parallel()
	g := &gatherer{log: slog.New(slog.DiscardHandler), together: func(context.Context, []user.Command) ([]user.Result, error) { return nil, errors.New("apart, then") }}
	letGo := crowd(t, g, func(ctx context.Context, c user.Command) (user.Outcome, error) {
		if c.Cause == "5" {
			panic("planted")
		}
		return itself(ctx, c)
	})
	for cause, err := range applied(t, g, letGo, 10) {
		if (cause == "5") != (err != nil && strings.Contains(err.Error(), "planted")) {
			t.Errorf("%s: %v", cause, err)
		}
	}
}

// TestWhoGivesUpWaitingChangesNothing: the request has been answered that it was not done.
func TestWhoGivesUpWaitingChangesNothing(t *testing.T) {
	t.Parallel()
	var carriedOut sync.Map
	g := &gatherer{log: slog.New(slog.DiscardHandler), together: func(_ context.Context, commands []user.Command) ([]user.Result, error) {
		for _, c := range commands {
			carriedOut.Store(c.Cause, true)
		}
		return make([]user.Result, len(commands)), nil
	}}
	letGo := crowd(t, g, itself)
	ctx, cancel := context.WithCancel(t.Context())
	given, others := make(chan error, 1), sync.WaitGroup{}
	go func() {
		_, err := g.apply(ctx, user.Command{Cause: "given up"})
		given <- err
	}()
	for range fewest {
		others.Go(func() { _, _ = g.apply(t.Context(), user.Command{Cause: "wanted"}) })
	}
	g.wait(1 + fewest)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	letGo()
	others.Wait()
	if _, done := carriedOut.Load("given up"); done {
		t.Error("it was carried out all the same")
	}
	if _, done := carriedOut.Load("wanted"); !done {
		t.Error("the others were not carried out")
	}
}
