package packaging_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// scaffold is the main that func writes beside a function for its host builder. Its
// assignments hold our instance to func-go's interfaces.
const scaffold = `package main

import (
	"fmt"
	"os"

	function "aiadmin"
	"knative.dev/func-go/http"
)

var (
	_ http.Handler           = function.New()
	_ http.Starter           = function.New()
	_ http.Stopper           = function.New()
	_ http.ReadinessReporter = function.New()
	_ http.LivenessReporter  = function.New()
)

func main() {
	if err := http.Start(function.New()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

const funcGo = "knative.dev/func-go@v0.21.3"

// TestUnderFuncsOwnServer builds what func's host builder builds, and drives every route
// through func's server.
func TestUnderFuncsOwnServer(t *testing.T) {
	t.Parallel()
	program, address := buildScaffold(t), "127.0.0.1:"+freePort(t)
	p := start(t, []string{
		"LISTEN_ADDRESS=" + address,
		"mounts=" + mounts(t, pgtest.Database(t), "metricsPort: 0\n"),
	}, program)
	c := client{t, "http://" + address}
	eventually(t, p, func() bool {
		answer, _, err := c.send("GET", "/health/readiness", "")
		return err == nil && answer.StatusCode == http.StatusOK
	})
	c.want("GET", "/health/liveness", "", http.StatusOK)
	everyRoute(c)
	p.stop(t, 10*time.Second)
}

func buildScaffold(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: not building func's scaffolding")
	}
	if out, err := try(t.Context(), root(t), nil, "go", "mod", "download", funcGo); err != nil {
		t.Skipf("SKIP: %s cannot be had here: %s", funcGo, out)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} { // the versions that the product is tested with
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(scaffold), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "go", "mod", "edit", "-module=scaffold", "-require=aiadmin@v0.0.0", "-replace=aiadmin="+root(t), "-require="+funcGo)
	run(t, dir, []string{"CGO_ENABLED=0"}, "go", "build", "-mod=mod", "-buildvcs=false", "-o", "f", ".")
	return filepath.Join(dir, "f")
}
