package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Server serves one handler on one listener.
type Server struct {
	http     *http.Server
	options  Options
	draining atomic.Bool
	inFlight atomic.Int64
}

// Options of a Server.
type Options struct {
	Handler http.Handler
	Log     *slog.Logger
	// DrainDelay is how long to go on accepting once a stop is requested: routers need a moment to
	// notice. 0 is one second.
	DrainDelay time.Duration
	// Grace bounds the wait for requests in flight; 0 is 300 s.
	Grace time.Duration
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 120 * time.Second
	maxHeader     = 64 << 10
	drainPoll     = 10 * time.Millisecond
)

// A connection's window has space for all its streams (RFC 9113, section 5.2), so that a body
// nobody reads yet does not block the other streams. Go allows just under 4 MiB per connection, and
// clients assume 64 KiB per stream until told otherwise. A client with more concurrent requests
// opens another connection.
const (
	maxStreams   = 64
	streamWindow = 64<<10 - 1
)

// New makes a Server.
func New(options Options) *Server {
	if options.DrainDelay == 0 {
		options.DrainDelay = time.Second
	}
	if options.Grace == 0 {
		options.Grace = 300 * time.Second
	}
	s := &Server{options: options}
	s.http = &http.Server{Handler: s.counted(options.Handler), Protocols: new(http.Protocols),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered as all else is, with the headers of each answer
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerStream: streamWindow,
			MaxReceiveBufferPerConnection: maxStreams * streamWindow},
		ErrorLog: slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug)}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// counted counts the requests in flight.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		next.ServeHTTP(w, r)
	})
}

// Draining reports whether the server has been asked to stop.
func (s *Server) Draining() bool { return s.draining.Load() }

// Run serves until ctx ends and then drains. It returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.options.Log.Info("stopping: no longer ready, finishing requests in flight", "inFlight", s.inFlight.Load())
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Grace)
	defer cancel()
	s.awaitIdle(end)
	if err := s.http.Shutdown(end); err != nil {
		s.options.Log.Warn("requests outlived the grace period and were cut off", "inFlight", s.inFlight.Load())
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// mostDrain bounds how long new requests are accepted once a stop is requested: under steady load
// there is never a moment with none in flight.
const mostDrain = 10 * time.Second

// awaitIdle waits until the drain delay is over and no request is in flight, at most until
// mostDrain has passed.
func (s *Server) awaitIdle(end context.Context) {
	ready := time.After(s.options.DrainDelay)
	select {
	case <-ready:
	case <-end.Done():
		return
	}
	enough := time.After(mostDrain)
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for s.inFlight.Load() > 0 {
		select {
		case <-ticker.C:
		case <-enough:
			return
		case <-end.Done():
			return
		}
	}
}
