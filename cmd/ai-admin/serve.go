package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"time"

	"aiadmin/pkg/app"
)

type serveCmd struct {
	Mounts         string        `help:"Folder of the mounted volumes postgres, vault, auth and config; default: ${default}." default:"/etc/ai-admin" placeholder:"DIR"`
	Port           int           `help:"Port to serve on." default:"8080" env:"PORT"`
	Host           string        `help:"Address to serve on, metrics included; default: all." placeholder:"ADDRESS"`
	RequestTimeout time.Duration `help:"Longest time that a request may take." default:"300s"`
	DrainDelay     time.Duration `help:"How long to go on accepting requests after SIGTERM." default:"1s"`
	AccessOnly     bool          `help:"Serve the check that gateways make, probes and metrics, and nothing else."`
	ProfileTo      string        `hidden:"" help:"Write a CPU profile of the whole run to this file." placeholder:"FILE"`
}

// Validate is called by kong.
func (c serveCmd) Validate() error {
	switch {
	case c.RequestTimeout <= 0:
		return fmt.Errorf("--request-timeout=%v: must be more than 0s", c.RequestTimeout)
	case c.DrainDelay < 0:
		return fmt.Errorf("--drain-delay=%v: must not be negative", c.DrainDelay)
	}
	return checkPort(c.Port)
}

// checkPort refuses a port that cannot be one. That another service may have it is found out later.
func checkPort(port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("--port=%d: must be from 0 (any free port) to 65535", port)
	}
	return nil
}

// Help is the text that serve --help ends with.
func (serveCmd) Help() string {
	return `Serves until SIGTERM, then finishes the requests in flight and exits with 0.
Missing or malformed mounts end it with exit code 2 and one line per problem.
From the environment it reads PORT, what Go itself reads (GOGC, GOMEMLIMIT, SSL_CERT_DIR,
HTTPS_PROXY and the like), and what Knative sets: K_SINK (where events go), K_CE_OVERRIDES,
K_SERVICE and K_REVISION.`
}

func (c serveCmd) Run(ctx context.Context, s streams) (err error) {
	// The service itself needs a few MiB: collecting whenever they have doubled took a tenth
	// of its time. GOMEMLIMIT, which the manifests set, bounds what this costs.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	stop, err := profiled(c.ProfileTo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return app.Serve(ctx, app.ServeOptions{
		Options: app.Options{Mounts: c.Mounts, Log: s.out, AccessOnly: c.AccessOnly, Version: version, RequestTimeout: c.RequestTimeout, Environment: app.Environment{
			Sink: os.Getenv("K_SINK"), Overrides: os.Getenv("K_CE_OVERRIDES"),
			Service: os.Getenv("K_SERVICE"), Revision: os.Getenv("K_REVISION")}},
		Address: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), DrainDelay: c.DrainDelay,
	})
}

// profiled writes a CPU profile from now until stop is called; an empty file name is no
// profile. It is a hidden flag and not a route: a route could be reached by others.
func profiled(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	out, err := os.Create(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return out.Close()
	}, nil
}
