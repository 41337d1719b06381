package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"
)

// measureIdle looks at the memory of a service that has just started.
func measureIdle(ctx context.Context, b *bench, r *report) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second):
	}
	now, _ := b.service.memory()
	r.add("memory idle", now, "MiB", "under 40", now < 40)
	return nil
}

// memoryLimit is the GOMEMLIMIT of config/base, whose pods may take 128 MiB.
const memoryLimit = "112MiB"

// measureLists looks at the memory of a service as it is deployed, while 500 connections list 500 users each.
func measureLists(ctx context.Context, b *bench, r *report) error {
	limited, err := b.startService(ctx, b.mounts(), "GOMEMLIMIT="+memoryLimit)
	if err != nil {
		return err
	}
	defer limited.stop()
	o := operation{name: "lists of 500", method: "GET", path: usersPath + "?limit=500", status: 200}
	result, _, err := b.drive(ctx, o, limited, 500)
	_, peak := limited.memory()
	r.add("memory peak, 500 × lists of 500, GOMEMLIMIT="+memoryLimit, peak, "MiB", "under 128", peak < 128)
	r.add("errors, 500 × lists of 500", float64(result.errors), "", "0", result.errors == 0)
	return err
}

// The service works on 500 requests at once; ten times as many is more than it lets wait.
const (
	places  = 500
	flood   = 10 * places
	over    = flood + 2*places
	surge   = 6400 * time.Millisecond // those refused come again twice, and the line is long once more
	turns   = 2
	relaxed = 16
	settled = 1500 * time.Millisecond // the first rush is over by then
)

// measureOverload compares the throughput of ten times the concurrency with the best, and
// looks at how those are answered that cannot wait.
func measureOverload(ctx context.Context, b *bench, r *report) error {
	o := operation{name: "overload", method: "GET", path: oneUser, status: 200}
	a, _, _, err := b.once(ctx, o)
	if err != nil {
		return err
	}
	noop, err := startNoop(ctx, a)
	if err != nil {
		return err
	}
	defer noop.stop()
	noopUnder, err := b.underPressure(ctx, o, noop)
	if err != nil {
		return err
	}
	b.service.resetPeak()
	under, err := b.underPressure(ctx, o, b.service)
	if err != nil {
		return err
	}
	beyond, err := b.pressed(ctx, o, b.service, over, surge)
	if err != nil {
		return err
	}
	_, peak := b.service.memory()
	after, err := b.pressed(ctx, o, b.service, relaxed, time.Second)
	if err != nil {
		return err
	}
	r.add("overload: the same of noop, which refuses nobody", noopUnder.ratio(), "", "-", true)
	r.add("overload: throughput of 5,000 connections to that of 500", under.ratio(), "", "at least 0.80", under.ratio() >= .8)
	r.add("overload: refused with 503 and Retry-After at 6,000 connections", float64(beyond.refusals), "requests", "some", beyond.refusals > 0)
	r.add("overload: other errors", float64(under.errors+beyond.errors), "", "0", under.errors+beyond.errors == 0)
	r.add("overload: memory peak", peak, "MiB", "bounded", peak < 300)
	r.add("overload: p99 of 16 connections right after", after.quantile(.99), "ms", "under 50", after.quantile(.99) < 50)
	return nil
}

// pressure is what a server gets done under a flood, and what at its best.
type pressure struct {
	best, flooded float64
	errors        int64
}

func (p pressure) ratio() float64 { return p.flooded / p.best }

// underPressure takes turns between both, since a machine's speed changes while it is measured.
func (b *bench) underPressure(ctx context.Context, o operation, s *service) (pressure, error) {
	var p pressure
	for range turns {
		best, err := b.pressed(ctx, o, s, places, surge)
		if err != nil {
			return p, err
		}
		flooded, err := b.pressed(ctx, o, s, flood, surge)
		if err != nil {
			return p, err
		}
		p.best, p.flooded, p.errors = p.best+best.perSecond(), p.flooded+flooded.perSecond(), p.errors+best.errors+flooded.errors
	}
	return p, nil
}

// pressed loads a server with clients that heed Retry-After.
func (b *bench) pressed(ctx context.Context, o operation, s *service, connections int, time time.Duration) (outcome, error) {
	l := load{address: s.address, connections: connections, request: b.request(o), numbers: b.aimed(o, 0),
		warm: settled, time: time, status: o.status, refused: waitAsTold}
	return l.run(ctx)
}

// waitAsTold is what a good client does after a 503: it waits, with some jitter.
func waitAsTold(retryAfter string) time.Duration {
	seconds, err := strconv.Atoi(retryAfter)
	if err != nil {
		return time.Hour // the load's end finds it: a 503 without Retry-After stalls the client
	}
	return time.Duration(seconds)*time.Second + time.Duration(rand.IntN(200))*time.Millisecond
}
