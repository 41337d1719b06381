package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"
)

// measureOperation compares an operation with its limit.
func (b *bench) measureOperation(ctx context.Context, o operation) error {
	c, err := b.capture(ctx, o)
	if err != nil {
		return err
	}
	noop, err := startNoop(ctx, c.answer)
	if err != nil {
		return err
	}
	defer noop.stop()
	for _, connections := range b.options.Concurrency {
		f, err := b.compare(ctx, o, c, noop, connections)
		if err != nil {
			return err
		}
		b.Operations = append(b.Operations, f)
		progress("%-15s c=%-4d %7.0f/s  noop %.0f  sql %.0f  ratio %.2f", o.name, connections, f.PerSecond,
			f.Noop, f.SQL, f.Ratio)
	}
	return nil
}

const (
	sqlClients   = 12 // as many as the service has
	batchClients = 2  // it has no more batches under way
	implausible  = 20 // no sharing of statements explains such a ratio
)

// compare takes turns between noop, service and sql.
func (b *bench) compare(ctx context.Context, o operation, c captured, noop *process, connections int) (f figure, err error) {
	service := b.load(o, b.service, connections, c.requests...)
	sql := service
	sql.connect, sql.process, sql.strict = b.replayers(o, c.statements), nil, true
	sql.clients = min(connections, sqlClients)
	if o.users > 1 {
		sql.clients = min(connections, batchClients)
	}
	harmless := o
	harmless.about = anyUser // noop deletes nobody
	all, err := inTurns(ctx, b.options.Rounds, b.load(harmless, noop, connections, c.requests...), service, sql)
	if err != nil {
		return f, err
	}
	f = figureOf(o.name, connections, all[1])
	f.Goal, f.Noop, f.SQL = o.goal, all[0].perSecond(), all[2].perSecond()
	f.Limit = 1 / (1/f.Noop + 1/f.SQL)
	f.Ratio = f.PerSecond / f.Limit
	for _, s := range c.statements[0] {
		f.Statements = append(f.Statements, s.text)
	}
	if f.Ratio > implausible {
		err = fmt.Errorf("%.0f/s with a limit of %.0f/s: the yardstick measures something else", f.PerSecond, f.Limit)
	}
	return f, err
}

// load is an operation's load of a server.
func (b *bench) load(o operation, to *process, connections int, requests ...template) load {
	l := load{connect: callers(to.address, o.status, requests), clients: connections, process: to,
		numbers: func() (n, m int64) { return b.next(o) }, warm: 300 * time.Millisecond, time: b.options.Slot}
	if o.users > 1 { // a batch takes long
		l.time *= 3
	}
	if o.users > 1 && connections > 100 { // all of them have to be read first
		l.warm = 4 * time.Second
	}
	if o.about == goingUser { // more than can be deleted in the time
		l.prepare = func(ctx context.Context) error { return b.loadVictims(ctx, int64((l.warm+l.time).Seconds()*40_000)) }
	}
	return l
}

// listings are the documented filters and sorts, each as one client asks for it.
var listings = []string{"", "?sort=createdAt", "?sort=tag", "?sort=-tag", "?sort=name", "?sort=-name", "?sort=email", "?sort=-email", "?sort=-createdAt,name",
	"?role=admin", "?role=service", "?status=suspended", "?role=viewer&status=suspended", "?role=admin&sort=name", "?status=suspended&sort=-email",
	"?tag=u-100000000007", "?email=u.100000000007@example.com", "?externalId=none", "?id=00000000-0000-7000-8000-100000000007",
	"?model=model-7", "?model=gpt-5", "?provider=openai", "?metadata.team=legal", "?metadata.costCenter=7", "?metadata.team=legal&role=admin",
	"?q=ada", "?q=hamilton", "?q=hopper%201000", "?q=---", "?q=u", "?q=gr", "?q=zz",
	"?createdFrom=2020-01-01T00:00:00Z&createdTo=2100-01-01T00:00:00Z", "?page=200", "?page=200&sort=name", "?count=none"}

// measureListings has one client ask for each listing again and again, and compares the page behind the
// ten thousandth user with the first.
func (b *bench) measureListings(ctx context.Context) error {
	listing := func(request template) load {
		l := b.load(get, b.service, 1, request)
		l.time = 700 * time.Millisecond
		return l
	}
	var slowest figure
	for _, query := range listings {
		result, err := listing(b.request(operation{line: "GET " + usersPath + query})).run(ctx)
		if err != nil {
			return err
		}
		f := figureOf("list"+query, 1, result)
		b.Operations = append(b.Operations, f)
		progress("%-60s p50 %.2f ms  p99 %.2f ms", f.Operation, f.P50, f.P99)
		if f.P99 > slowest.P99 {
			slowest = f
		}
	}
	b.add("slowest listing's p99, "+slowest.Operation, slowest.P99, "ms", "at most 20")
	deep, err := b.deepPages(ctx, get)
	if err != nil {
		return err
	}
	pages, err := inTurns(ctx, 5, listing(b.request(operation{line: "GET " + usersPath})), listing(deep[0]))
	if err == nil {
		b.add("page at depth 10,000 beside the first", pages[1].quantile(.5)/pages[0].quantile(.5), "times", "at most 1.2")
	}
	return err
}

// measureMemory looks at a service as config/base deploys it, whose pods may take 128 MiB: when it has
// just started, and while 500 connections list 500 users each.
func (b *bench) measureMemory(ctx context.Context) error {
	limited, err := b.startService(ctx, variant{environment: "GOMEMLIMIT=112MiB"})
	if err != nil {
		return err
	}
	defer limited.stop()
	time.Sleep(2 * time.Second)
	idle, _ := limited.memory()
	request := b.request(operation{line: "GET " + usersPath + "?limit=500"})
	result, err := b.load(get, limited, 500, request).run(ctx)
	_, peak := limited.memory()
	b.add("memory idle", idle, "MiB", "under 40")
	b.add("memory peak, 500 × lists of 500, GOMEMLIMIT=112MiB", peak, "MiB", "under 128")
	b.add("errors, 500 × lists of 500", result.failures(), "", "0")
	return err
}

// pressed is a load of reads by clients that heed Retry-After.
func (b *bench) pressed(to *process, connections int, slot time.Duration) load {
	l := b.load(get, to, connections, b.request(get))
	l.warm, l.time = 1500*time.Millisecond, slot // the first rush is over by then
	return l
}

// measureOverload compares the throughput of ten times the concurrency with the best, and looks at how
// those are answered that cannot wait.
func (b *bench) measureOverload(ctx context.Context) error {
	a, _, _, err := b.once(ctx, b.service, get, b.request(get))
	if err != nil {
		return err
	}
	noop, err := startNoop(ctx, a)
	if err != nil {
		return err
	}
	defer noop.stop()
	const surge = 6400 * time.Millisecond // those refused come again twice, and the queue is long once more
	under, err := inTurns(ctx, 2, b.pressed(noop, 500, surge), b.pressed(noop, 5000, surge),
		b.pressed(b.service, 500, surge), b.pressed(b.service, 5000, surge))
	if err != nil {
		return err
	}
	beyond, err := inTurns(ctx, 1, b.pressed(b.service, 6000, surge), b.pressed(b.service, 16, time.Second))
	if err != nil {
		return err
	}
	_, peak := b.service.memory()
	kept, failed := under[3].perSecond()/under[2].perSecond(), under[2].errors+under[3].errors+beyond[0].errors
	b.add("overload: the same of noop, which refuses nobody", under[1].perSecond()/under[0].perSecond(), "", "-")
	b.add("overload: throughput of 5,000 connections to that of 500", kept, "", "at least 0.80")
	b.add("overload: refused with 503 and Retry-After at 6,000 connections", float64(beyond[0].refusals), "requests", "some")
	b.add("overload: other errors", float64(failed), "", "0")
	b.add("overload: memory peak", peak, "MiB", "bounded")
	b.add("overload: p99 of 16 connections right after", beyond[1].quantile(.99), "ms", "under 50")
	return nil
}

// measureTracing compares the throughput of a service that traces a tenth of its requests with that of one that
// traces none. Spans go to a collector that counts their bytes and does nothing else.
func (b *bench) measureTracing(ctx context.Context) error {
	var received atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		n, _ := io.Copy(io.Discard, request.Body)
		received.Add(n)
	}))
	defer collector.Close()
	settings := fmt.Sprintf("tracing: {endpoint: %q, sampleRatio: 0.1}\n", collector.URL)
	tracing, err := b.startService(ctx, variant{settings: settings})
	if err != nil {
		return err
	}
	defer tracing.stop()
	with, without := b.pressed(tracing, 500, 2*time.Second), b.pressed(b.service, 500, 2*time.Second)
	with.strict, without.strict = true, true
	rates, err := inTurns(ctx, 6, with, without)
	if err != nil {
		return err
	}
	if received.Load() == 0 {
		return errors.New("no span was sent")
	}
	b.add("tracing: throughput at 500 connections with a tenth of the requests traced, to that without",
		rates[0].perSecond()/rates[1].perSecond(), "", "at least 0.95")
	return nil
}
