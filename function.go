// Package function is the module's root as `func` wants it: an instance that func's own
// server calls (knative.dev/func-go). It is a thin adapter over pkg/app, which
// cmd/ai-admin serves as well.
package function

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"aiadmin/pkg/app"
)

// Function is one instance. Its server may call Handle, Ready and Alive while Start still
// runs.
type Function struct {
	running  atomic.Pointer[app.App]
	metrics  *http.Server
	shutdown sync.Once // registers what func's server does when it shuts down
}

// New makes an instance that is not ready until Start has returned.
func New() *Function { return new(Function) }

// Start reads the mounts and begins to serve. settings is the environment and func's
// file `cfg`; of it K_SINK, K_CE_OVERRIDES, K_SERVICE and K_REVISION are read, and
// `mounts`, the folder of the mounts where it is not /etc/ai-admin. Wrong mounts are an
// error with a line for each problem.
func (f *Function) Start(ctx context.Context, settings map[string]string) error {
	a, err := app.New(app.Options{
		Mounts: settings["mounts"],
		Log:    os.Stdout,
		Environment: app.Environment{
			Sink: settings["K_SINK"], Overrides: settings["K_CE_OVERRIDES"],
			Service: settings["K_SERVICE"], Revision: settings["K_REVISION"],
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(a.MetricsPort()))
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen for metrics: %w", err), a.Stop())
	}
	f.metrics = &http.Server{Handler: a.Metrics(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = f.metrics.Serve(listener) }() // ends by Stop's Close
	a.Start(context.WithoutCancel(ctx))           // requests in flight still need what it starts
	f.running.Store(a)
	return nil
}

// Stop ends what Start began; func's server has finished its requests by then. It returns
// when all has ended or ctx has.
func (f *Function) Stop(ctx context.Context) error {
	a := f.running.Load()
	if a == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(f.metrics.Close(), a.Stop()) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Handle serves one request. func's server would end it after 30 s; the app sets the
// connection's deadlines to its own limit of 300 s for each request.
func (f *Function) Handle(w http.ResponseWriter, r *http.Request) {
	a := f.running.Load()
	if a == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	f.shutdown.Do(func() { endStreamsWith(r.Context(), a) })
	a.Handler().ServeHTTP(w, r)
}

// endStreamsWith has the request's server end open streams when it shuts down. func's
// server shuts down before it calls Stop, and would wait for them for as long as it may.
func endStreamsWith(ctx context.Context, a *app.App) {
	if server, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
		server.RegisterOnShutdown(a.EndStreams)
	}
}

// Ready says whether requests that need the database would be served. It has no error:
// func's server would make a 500 of it, and a probe wants a 503.
func (f *Function) Ready(ctx context.Context) (bool, error) {
	a := f.running.Load()
	if a == nil {
		return false, nil
	}
	_, err := a.Ready(ctx)
	return err == nil, nil
}

// Alive is true: a process that answers lives. The database being away is no reason to
// restart it.
func (f *Function) Alive(context.Context) (bool, error) { return true, nil }
