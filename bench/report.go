package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// report is all that a run found.
type report struct {
	At         time.Time           `json:"at"`
	CPUs       int                 `json:"cpus"`
	Go         string              `json:"go"`
	Users      int                 `json:"users"`
	Operations []figure            `json:"operations"`
	Listings   []latency           `json:"listings"`
	Others     []other             `json:"others"`
	Notes      []string            `json:"notes,omitempty"`
	Statements map[string][]string `json:"statements"`

	only   []string // the parts to be measured, none for all
	parts  []string // all that there are
	failed int      // measurements that could not be made
}

// other is a figure that is not an operation's rate.
type other struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Goal  string  `json:"goal,omitempty"`
	Met   bool    `json:"met"`
}

func newReport(c runCmd) *report {
	return &report{At: time.Now().UTC(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Users: c.Users, only: c.Only, Statements: map[string][]string{}}
}

// wanted says whether a part is to be measured.
func (r *report) wanted(part string) bool {
	if !slices.Contains(r.parts, part) {
		r.parts = append(r.parts, part)
	}
	return len(r.only) == 0 || slices.Contains(r.only, part)
}

func (r *report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// fail notes what could not be measured. The run ends with an error.
func (r *report) fail(format string, args ...any) {
	r.failed++
	r.note(format, args...)
}

func (r *report) add(name string, value float64, unit, goal string, met bool) {
	r.Others = append(r.Others, other{name, value, unit, goal, met})
	progress("%s: %.2f %s (goal: %s)", name, value, unit, goal)
}

func (r *report) print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%d users, %d cores, %s\n\n", r.Users, r.CPUs, r.Go)
	if len(r.Operations) > 0 {
		fmt.Fprintln(table, "operation\tconnections\treq/s\tp50 ms\tp99 ms\terrors\tCPU µs\tnoop/s\tsql/s\tlimit/s\tratio\tgoal\t")
	}
	for _, f := range r.Operations {
		goal := "-" // one client has none
		if f.Connections > 1 {
			goal = fmt.Sprintf("%.2f", f.Goal)
		}
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.2f\t%.2f\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t\n", f.Operation, f.Connections, f.PerSecond,
			f.P50, f.P99, f.Errors, f.CPU, f.Noop, f.SQL, f.Limit, f.Ratio, goal)
	}
	_ = table.Flush()
	fmt.Fprintln(out)
	if len(r.Listings) > 0 {
		fmt.Fprintln(table, "one client's listing\tp50 ms\tp99 ms\terrors\t")
	}
	for _, l := range r.Listings {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%d\t\n", l.Listing, l.P50, l.P99, l.Errors)
	}
	_ = table.Flush()
	fmt.Fprintln(out)
	for _, o := range r.Others {
		fmt.Fprintf(out, "%s: %.2f %s (goal: %s)\n", o.Name, o.Value, o.Unit, o.Goal)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(out, "note:", note)
	}
}

func (r *report) write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // figures are no secret
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // figures are no secret
}
