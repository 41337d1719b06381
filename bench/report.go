package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// report is all that a run found.
type report struct {
	At         time.Time `json:"at"`
	CPUs       int       `json:"cpus"`
	Go         string    `json:"go"`
	Users      int       `json:"users"`
	Operations []figure  `json:"operations"`
	Others     []other   `json:"others"`
	Failures   []string  `json:"failures,omitempty"`
}

// figure is what was measured of an operation at a concurrency. A listing has nothing beside it.
type figure struct {
	Operation   string   `json:"operation"`
	Connections int      `json:"connections"`
	PerSecond   float64  `json:"perSecond"`
	P50         float64  `json:"p50ms"`
	P99         float64  `json:"p99ms"`
	Errors      float64  `json:"errors"`
	CPU         float64  `json:"serviceCPUMicroseconds"` // per request
	Noop        float64  `json:"noopPerSecond,omitempty"`
	SQL         float64  `json:"sqlPerSecond,omitempty"`
	Limit       float64  `json:"limitPerSecond,omitempty"`
	Ratio       float64  `json:"ratio,omitempty"`
	Goal        float64  `json:"goal,omitempty"`
	Statements  []string `json:"statements,omitempty"`
}

// other is a figure that is not an operation's rate.
type other struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Goal  string  `json:"goal"`
}

func figureOf(operation string, connections int, o outcome) figure {
	return figure{Operation: operation, Connections: connections, PerSecond: o.perSecond(), Errors: o.failures(),
		P50: o.quantile(.5), P99: o.quantile(.99), CPU: o.cpu * 1e6 / max(1, o.successes())}
}

func (r *report) add(name string, value float64, unit, goal string) {
	r.Others = append(r.Others, other{name, value, unit, goal})
	progress("%s: %.2f %s (goal: %s)", name, value, unit, goal)
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%d users, %d cores, %s\n\n", r.Users, r.CPUs, r.Go)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "operation\tconnections\t/s\tp50 ms\tp99 ms\terrors\tCPU µs\tnoop /s\tsql /s\tlimit /s\tratio\tgoal\t")
	for _, f := range r.Operations {
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t", f.Operation, f.Connections, f.PerSecond,
			f.P50, f.P99, f.Errors, f.CPU)
		if f.Ratio > 0 {
			fmt.Fprintf(table, "%.0f\t%.0f\t%.0f\t%.2f\t", f.Noop, f.SQL, f.Limit, f.Ratio)
		}
		if f.Connections > 1 && f.Goal > 0 { // a single client has no goal
			fmt.Fprintf(table, "%.2f\t", f.Goal)
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	fmt.Fprintln(out)
	for _, o := range r.Others {
		fmt.Fprintf(out, "%s: %.2f %s (goal: %s)\n", o.Name, o.Value, o.Unit, o.Goal)
	}
	for _, failure := range r.Failures {
		fmt.Fprintln(out, "failed:", failure)
	}
}

func (r *report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // figures are no secret
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // figures are no secret
}
