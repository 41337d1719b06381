package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"aiadmin/pkg/server"
)

// ServeOptions say where to serve an App.
type ServeOptions struct {
	Options
	Address    string // host:port to listen on; an empty host is all
	DrainDelay time.Duration
	// Listening is told the addresses once they are open; it may be nil.
	Listening func(public, metrics net.Addr)
}

// Serve runs the service until ctx ends, and stops it without failing a request.
func Serve(ctx context.Context, options ServeOptions) error {
	a, err := New(options.Options)
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", options.Address)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen: %w (is another service on this port? set PORT to another)", err), a.Stop())
	}
	host, _, _ := net.SplitHostPort(options.Address)
	private, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(a.MetricsPort())))
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen for metrics: %w (set metricsPort in config.yaml to another)", err), public.Close(), a.Stop())
	}
	if options.Listening != nil {
		options.Listening(public.Addr(), private.Addr())
	}
	return a.serve(ctx, public, private, options)
}

func (a *App) serve(ctx context.Context, public, private net.Listener, options ServeOptions) error {
	s := server.New(server.Options{Handler: a.Handler(), Log: a.log, DrainDelay: options.DrainDelay, Grace: options.RequestTimeout})
	a.DrainingWhen(s.Draining)
	a.Start(context.WithoutCancel(ctx)) // what runs beside requests goes on while they finish
	a.log.Info("serving", "address", public.Addr().String(), "metrics", private.Addr().String())

	metrics := &http.Server{Handler: a.Metrics(), ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, a.EndStreams)() // at the stop, and when either server has failed
	group.Go(func() error { return ignoreClosed(metrics.Serve(private)) })
	group.Go(func() error {
		defer func() { _ = metrics.Close() }()
		return s.Run(ctx, public)
	})
	err := errors.Join(group.Wait(), a.Stop())
	a.log.Info("stopped")
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
