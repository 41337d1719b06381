// Command bench measures the service beside the physical limit, in one run:
//
//	make bench
//
// It starts a PostgreSQL of its own with fsync on, fills it by COPY, and starts the service. Each
// operation is then measured three times, in turns, so that a slow moment of the machine meets all three:
//
//   - the service;
//   - noop: the service's HTTP server in a process of its own, giving the very same answer from memory;
//   - sql: the very statements that PostgreSQL logged for one request, on as many connections as the service has.
//
// A service that adds nothing to the two reaches limit = 1 / (1/noop + 1/sql).
//
// This process is the load: a goroutine and a connection per client. It shares the machine with what it
// measures, so its cost is in all three alike. Nothing of this is in the product's binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Users       int           `help:"Users in the table, at least 1000." default:"100000" env:"USERS"`
	Only        []string      `help:"Measure these parts alone: ${names}." enum:"${parts}" placeholder:"NAME"`
	Concurrency []int         `help:"Connections." default:"1,16,500"`
	Slot        time.Duration `help:"Time of one measurement." default:"1250ms"`
	Rounds      int           `help:"Measurements of each, which are added up." default:"1"`
	JSON        string        `help:"Where the figures go." default:"../dist/bench.json" placeholder:"FILE"`
	Binary      string        `help:"The service's binary." default:"../bin/ai-admin" placeholder:"FILE"`
	Profile     string        `help:"Have the service write a CPU profile." placeholder:"FILE"`
	Limit       time.Duration `help:"End after this time, whatever is left." default:"10m"`
	Noop        bool          `hidden:"" help:"Instead, answer every request with the answer read from stdin."`
	Port        string        `hidden:"" help:"Where to."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("bench"), kong.Description("Measures the service beside the physical limit."),
		kong.Vars{"parts": strings.Join(partNames(), ","), "names": strings.Join(partNames(), ", ")})
	run := o.run
	if o.Noop {
		run = o.serveNoop
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// part is one thing to measure.
type part struct {
	name    string
	measure func(*bench, context.Context) error
}

// parts lists everything in the order of a run.
func parts() []part {
	all := []part{{"flat", (*bench).measureListings}}
	for _, o := range operations() {
		all = append(all, part{o.name, func(b *bench, ctx context.Context) error { return b.measureOperation(ctx, o) }})
	}
	return append(all, part{"memory", (*bench).measureMemory}, part{"overload", (*bench).measureOverload},
		part{"tracing", (*bench).measureTracing})
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// Validate refuses what cannot be measured.
func (o options) Validate() error {
	if o.Users < 1000 || o.Rounds < 1 {
		return errors.New("at least 1000 users and one round are needed")
	}
	return nil
}

// run measures the parts, prints the tables and writes the JSON. A part that fails fails the run, but does not end it.
func (o options) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	b := &bench{options: o, report: report{At: time.Now().UTC(), CPUs: runtime.NumCPU(), Go: runtime.Version()}}
	b.Users = o.Users
	defer b.close()
	if err := b.setUp(ctx); err != nil {
		return err
	}
	for _, p := range parts() {
		if ctx.Err() != nil || len(o.Only) > 0 && !slices.Contains(o.Only, p.name) {
			continue
		}
		if err := p.measure(b, ctx); err != nil {
			b.Failures = append(b.Failures, fmt.Sprintf("%s was not measured: %v", p.name, err))
			progress("%s: %v", p.name, err)
		}
	}
	b.print(os.Stdout)
	err := errors.Join(b.write(o.JSON), ctx.Err())
	if len(b.Failures) > 0 {
		err = errors.Join(err, fmt.Errorf("%d parts were not measured", len(b.Failures)))
	}
	return err
}

// progress reports what is going on, with the time.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}
