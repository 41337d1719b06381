package admin

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// gatherer carries out together the commands that come while others are under way: one
// transaction for many takes a third of the database's time, and one wait for its disk. A
// lone command waits for nothing.
//
// At most lanes commands or groups are under way. While one is free, a command is carried
// out by itself, in its own context; otherwise it waits, and goes along with the others
// that do. Each is judged on its own, as a batch's are. When one stands in the way of the
// others, all that were with it are carried out by themselves.
type gatherer struct {
	alone    func(context.Context, user.Command) (user.Outcome, error)
	together func(context.Context, []user.Command) ([]user.Result, error)
	mu       sync.Mutex
	waiting  []*job
	running  int // lanes
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
	fewest    = 4                // of a group: its transaction has six round trips, and a command's one or two
	groupTime = 30 * time.Second // for what is to take milliseconds
)

func (g *gatherer) apply(ctx context.Context, command user.Command) (user.Outcome, error) {
	g.mu.Lock()
	if g.running < lanes {
		g.running++
		g.mu.Unlock()
		defer g.release()
		return g.alone(ctx, command)
	}
	j := &job{ctx: ctx, command: command, done: make(chan struct{})}
	g.waiting = append(g.waiting, j)
	g.mu.Unlock()
	select {
	case <-j.done:
		return j.result.Outcome, j.result.Err
	case <-ctx.Done():
		return user.Outcome{}, ctx.Err()
	}
}

// release gives a lane up to those who wait.
func (g *gatherer) release() {
	if jobs := g.next(); jobs != nil {
		go g.lane(jobs)
	}
}

// lane carries out what waits until nothing does.
func (g *gatherer) lane(jobs []*job) {
	for ; jobs != nil; jobs = g.next() {
		if !g.group(jobs) {
			g.apart(jobs)
		}
	}
}

// next takes those that have waited longest, or ends the lane.
func (g *gatherer) next() []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.running--
		return nil
	}
	n := min(len(g.waiting), store.SmallBulk)
	jobs := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return jobs
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
	err := guarded(func() (err error) {
		results, err = g.together(ctx, commands)
		return err
	})
	if store.Undone(err) {
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

// apart carries out each by itself, at once, as if there had been lanes for all.
func (g *gatherer) apart(jobs []*job) {
	var running sync.WaitGroup
	for _, j := range jobs {
		running.Go(func() {
			defer close(j.done)
			j.result.Err = guarded(func() (err error) {
				j.result.Outcome, err = g.alone(j.ctx, j.command)
				return err
			})
		})
	}
	running.Wait()
}

// guarded makes an error of a panic, which outside of a request's goroutine would end the process.
func guarded(f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	return f()
}
