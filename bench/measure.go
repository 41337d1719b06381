package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// trial is an operation ready to be measured.
type trial struct {
	operation
	noop   *service
	script script
	bulk   bulk // of a batch, in the script's place
}

// figure is what was measured of an operation at a concurrency.
type figure struct {
	Operation   string  `json:"operation"`
	Connections int     `json:"connections"`
	PerSecond   float64 `json:"perSecond"`
	P50         float64 `json:"p50ms"`
	P99         float64 `json:"p99ms"`
	Errors      int64   `json:"errors"`
	CPU         float64 `json:"serviceCPUMicroseconds"` // of the service, per request
	Noop        float64 `json:"noopPerSecond"`
	NoopCPU     float64 `json:"noopCPUMicroseconds"`
	SQL         float64 `json:"sqlPerSecond"`
	Limit       float64 `json:"limitPerSecond"`
	Ratio       float64 `json:"ratio"`
	Goal        float64 `json:"goal,omitempty"`
	Statements  int     `json:"statements"`
}

func measureOperations(ctx context.Context, b *bench, r *report) error {
	if err := b.observeBackground(ctx); err != nil {
		return err
	}
	operations, err := b.operations(ctx)
	if err != nil {
		return err
	}
	for _, o := range operations {
		if !r.wanted(o.name) {
			continue
		}
		if err := b.measureOperation(ctx, o, r); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			r.fail("%s was not measured: %v", o.name, err)
			progress("%s: %v", o.name, err)
		}
	}
	return ctx.Err()
}

func (b *bench) measureOperation(ctx context.Context, o operation, r *report) error {
	a, statements, n, m, err := b.captured(ctx, o)
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return fmt.Errorf("no statement of it in PostgreSQL's log")
	}
	t := trial{operation: o}
	if o.subjects > 1 {
		t.bulk = bulk{bulkStatements(statements), n, m}
	} else {
		t.script = scriptOf(statements, n, m, o.sameDigest)
	}
	r.Statements[o.name] = textsOf(statements)
	if t.noop, err = startNoop(ctx, a); err != nil {
		return err
	}
	defer t.noop.stop()
	for _, connections := range b.options.Concurrency {
		f, err := b.measure(ctx, t, connections)
		if err != nil {
			return err
		}
		f.Statements = len(statements)
		r.Operations = append(r.Operations, f)
		progress("%-14s c=%-4d %7.0f/s  p50 %.2f ms  p99 %.2f ms  noop %.0f  sql %.0f  limit %.0f  ratio %.2f  %.0f µs  errors %d",
			f.Operation, f.Connections, f.PerSecond, f.P50, f.P99, f.Noop, f.SQL, f.Limit, f.Ratio, f.CPU, f.Errors)
	}
	return nil
}

func textsOf(statements []statement) []string {
	var texts []string
	for _, s := range statements {
		texts = append(texts, strings.Join(strings.Fields(s.text), " "))
	}
	return texts
}

// measure takes turns between noop, service and sql. Of several rounds the median counts.
func (b *bench) measure(ctx context.Context, t trial, connections int) (figure, error) {
	if connections < 4 { // or a slow disk would make minutes of it
		t.most /= 10
	}
	var noops, noopCPU, sqls, rates, p50, p99, cpu []float64
	f := figure{Operation: t.name, Connections: connections, Goal: t.goal}
	for range b.options.Rounds {
		o, used, err := b.drive(ctx, t.operation, t.noop, connections)
		if err != nil {
			return f, err
		}
		noops, noopCPU = append(noops, o.perSecond()), append(noopCPU, used)
		if o, used, err = b.drive(ctx, t.operation, b.service, connections); err != nil {
			return f, err
		}
		if o.errors > 0 {
			progress("%s: %d errors, the first: %s", t.name, o.errors, o.first)
		}
		rates, cpu = append(rates, o.perSecond()), append(cpu, used)
		p50, p99 = append(p50, o.quantile(.5)), append(p99, o.quantile(.99))
		f.Errors += o.errors
		tps, err := b.sql(ctx, t, connections)
		if err != nil {
			return f, err
		}
		sqls = append(sqls, tps)
	}
	f.PerSecond, f.P50, f.P99, f.CPU = median(rates), median(p50), median(p99), median(cpu)
	f.Noop, f.NoopCPU, f.SQL = median(noops), median(noopCPU), median(sqls)
	f.Limit = 1 / (1/f.Noop + 1/f.SQL)
	if t.subjects > 1 { // a batch is held against its writing alone
		f.Limit = f.SQL
	}
	f.Ratio = f.PerSecond / f.Limit
	if f.Ratio > implausible && t.subjects <= 1 {
		return f, fmt.Errorf("the service does %.0f/s and its limit is %.0f/s: the yardstick measures something else", f.PerSecond, f.Limit)
	}
	return f, nil
}

// implausible is a ratio that no batching of requests explains.
const implausible = 20

func median(values []float64) float64 {
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

// batchesAtOnce is how many batches a server takes in within a short time.
const batchesAtOnce = 100

// drive loads a server with an operation, and returns also the processor time that it
// used per request, in microseconds.
func (b *bench) drive(ctx context.Context, o operation, s *service, connections int) (outcome, float64, error) {
	var first int64
	var err error
	if o.about == goingUser && s == b.service {
		if first, err = b.victims(ctx, o.most); err != nil {
			return outcome{}, 0, err
		}
	}
	l := load{address: s.address, connections: connections, request: b.request(o), others: b.others(o), subjects: o.subjects,
		numbers: b.aimed(o, first), warm: 300 * time.Millisecond, time: b.options.Slot, status: o.status}
	if o.subjects > 1 && connections > batchesAtOnce { // they have to be read first, all of them
		l.warm, l.time = 4*time.Second, 3*l.time
	}
	if o.most > 0 && s == b.service {
		l.most, l.warm = o.most, 0
	}
	begin := s.cpu()
	end := begin
	l.measured = func(starts bool) {
		if starts {
			begin = s.cpu()
		} else {
			end = s.cpu()
		}
	}
	result, err := l.run(ctx)
	return result, float64((end - begin).Microseconds()) / float64(max(1, result.requests)), err
}

// sql measures the operation's statements alone.
func (b *bench) sql(ctx context.Context, t trial, connections int) (float64, error) {
	if t.subjects > 1 {
		return b.bulkSQL(ctx, t, connections)
	}
	return b.pgbench(ctx, t.operation, t.script, connections)
}
