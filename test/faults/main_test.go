// Package faults kills what the service is made of while it works, and proves that nothing
// is lost, doubled or reordered: real processes of ai-admin, a real PostgreSQL cluster that
// is stopped without warning, and a sink with every fault. It holds tests alone.
//
// Workers change users all the time, by HTTP and by events, singly and in batches. A
// worker that got no answer to a change that can be repeated (a create with its key, an
// event) repeats it until it has one; to another, it notes that it may have happened.
// Afterwards a checker reads the change feed, the histories and the sink's log:
//
//   - every acknowledged change is in the history once, with the version acknowledged,
//   - what is in the history was asked for, and is there once,
//   - every entry of the history reached the sink, and was the same whenever it was sent,
//   - in order per user: no event came before the one before it, whatever came twice,
//   - and nothing else reached the sink.
//
// `go test` takes half a minute; AI_ADMIN_SOAK=10m (make soak) goes on for that long, with
// faults drawn at random.
package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"aiadmin/test/pgtest"
)

// binary is the service.
var binary string

// oldProgram is the service of the revision from before, see oldBinary.
var (
	oldOnce    sync.Once
	oldProgram string
	oldErr     error
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ai-admin-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "ai-admin")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "aiadmin/cmd/ai-admin").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the service: %v\n%s", err, out)
		return 1
	}
	return pgtest.M{M: m}.Run()
}
