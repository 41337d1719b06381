package admin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// gatherer carries out together the commands that come while others are under way: one
// transaction for many takes a third of the database's time, and one wait for its disk. Few
// commands at a time wait for nothing.
//
// Alone, a command runs in its own context. In a group, each is judged on its own, as a
// batch's are; when one stands in the way of the others, all that were with it are carried
// out by themselves. See package gather.
type gatherer struct {
	log      *slog.Logger
	alone    func(context.Context, user.Command) (user.Outcome, error)
	together func(context.Context, []user.Command) ([]user.Result, error)
	lanes    gather.Lanes[*job]
}

func (g *gatherer) begin(alone func(context.Context, user.Command) (user.Outcome, error),
	together func(context.Context, []user.Command) ([]user.Result, error),
) {
	g.alone, g.together = alone, together
	g.lanes.Count, g.lanes.Most, g.lanes.Group = lanes, store.SmallBulk, g.carryOut
}

// job is a command that waits; result is there once done is closed.
type job struct {
	ctx     context.Context
	command user.Command
	result  user.Result
	done    chan struct{}
}

const (
	lanes     = 4
	fewest    = 4                // of a group: fewer are faster side by side
	groupTime = 30 * time.Second // for what is to take milliseconds
)

func (g *gatherer) apply(ctx context.Context, command user.Command) (user.Outcome, error) {
	j := &job{ctx: ctx, command: command, done: make(chan struct{})}
	if leave := g.lanes.Enter(j); leave != nil {
		defer leave()
		return g.alone(ctx, command)
	}
	select {
	case <-j.done:
		return j.result.Outcome, j.result.Err
	case <-ctx.Done():
		return user.Outcome{}, ctx.Err()
	}
}

// carryOut carries out what waited.
func (g *gatherer) carryOut(jobs []*job) {
	if !g.group(jobs) {
		g.apart(jobs)
	}
}

// group carries out those that are still wanted in one transaction. It returns false when
// they are too few, or when nothing came of it that each by itself could not better.
func (g *gatherer) group(jobs []*job) bool {
	var wanted []*job
	var commands []user.Command
	for _, j := range jobs {
		if j.ctx.Err() == nil {
			wanted, commands = append(wanted, j), append(commands, j.command)
		}
	}
	if len(wanted) < fewest {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), groupTime)
	defer cancel()
	var results []user.Result
	err := gather.Guarded(func() (err error) {
		results, err = g.together(ctx, commands)
		return err
	})
	if store.Undone(err) {
		g.log.Warn("changes that went together are made one by one", "changes", len(wanted), "error", err)
		return false
	}
	for i, j := range wanted {
		if err != nil {
			j.result.Err = err
		} else {
			j.result = results[i]
		}
		close(j.done)
	}
	return true
}

// apart carries out each by itself, at once, as if there had been lanes for all, and returns
// when all but those that are stuck are done.
func (g *gatherer) apart(jobs []*job) {
	var running sync.WaitGroup
	for _, j := range jobs {
		running.Go(func() {
			defer close(j.done)
			j.result.Err = gather.Guarded(func() (err error) {
				j.result.Outcome, err = g.alone(j.ctx, j.command)
				return err
			})
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(gather.Stuck):
	}
}
