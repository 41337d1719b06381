package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Run  runCmd  `cmd:"" default:"withargs" help:"Measure; this is the default."`
	Noop noopCmd `cmd:"" hidden:"" help:"Answer every request with the answer read from stdin."`
}

type runCmd struct {
	Users       int           `help:"Users in the table." default:"100000" env:"USERS"`
	Only        []string      `help:"Measure these operations or parts alone." placeholder:"NAME"`
	Concurrency []int         `help:"Connections." default:"1,16,500"`
	Slot        time.Duration `help:"Time of one measurement." default:"1250ms"`
	Rounds      int           `help:"Measurements of each." default:"2"`
	JSON        string        `help:"Where the figures go." default:"../dist/bench.json" placeholder:"FILE"`
	Binary      string        `help:"The service's binary; empty builds it." placeholder:"FILE"`
	Profile     string        `help:"Have the service write a CPU profile." placeholder:"FILE"`
	Limit       time.Duration `help:"End after this time, whatever is left." default:"10m"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := kong.Parse(&cli{}, kong.Name("bench"), kong.Description("Measures the service beside the physical limit."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Run measures all parts, prints the tables and writes the JSON.
func (c runCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	r := newReport(c)
	b, err := setUp(ctx, c)
	if err != nil {
		return err
	}
	defer b.close()
	for _, part := range []struct {
		name    string
		measure func(context.Context, *bench, *report) error
	}{{"memory", measureIdle}, {"flat", measureFlat}, {"", measureOperations}, {"memory", measureLists}, {"overload", measureOverload}, {"tracing", measureTracing}} {
		if part.name != "" && !r.wanted(part.name) {
			continue
		}
		if err := part.measure(ctx, b, r); err != nil { // what has been measured is still worth telling
			r.fail("ended early: %v", err)
			break
		}
	}
	for _, name := range c.Only {
		if r.failed == 0 && !slices.Contains(r.parts, name) { // a failure may have ended the run before the part
			r.fail("there is no %q to measure: choose from %s", name, strings.Join(r.parts, ", "))
		}
	}
	r.print(os.Stdout)
	if err := r.write(c.JSON); err != nil || r.failed == 0 {
		return err
	}
	return fmt.Errorf("%d parts were not measured: see the notes", r.failed)
}

// progress tells what is going on, with the time, so that a long run is seen to move.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}
