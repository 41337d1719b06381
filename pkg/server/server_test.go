package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aiadmin/pkg/server"
)

// running is a server with one handler that waits until it is told to answer.
type running struct {
	*server.Server
	url     string
	stop    context.CancelFunc
	ended   chan error
	entered chan struct{}
	release chan struct{}
}

func start(t *testing.T, options server.Options) *running {
	t.Helper()
	r := &running{ended: make(chan error, 1), entered: make(chan struct{}, 10), release: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		r.entered <- struct{}{}
		<-r.release
		_, _ = io.WriteString(w, "done")
	})
	mux.HandleFunc("/quick", func(w http.ResponseWriter, q *http.Request) { _, _ = io.WriteString(w, q.Proto) })
	places := make(chan struct{}, 4)
	mux.HandleFunc("/read", func(_ http.ResponseWriter, q *http.Request) {
		places <- struct{}{}
		_, _ = io.Copy(io.Discard, q.Body)
		<-places
	})
	options.Handler, options.Log = mux, slog.New(slog.DiscardHandler)
	r.Server = server.New(options)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx, listener) }()
	return r
}

// clients are an HTTP/1.1 and an h2c client.
func clients(t *testing.T) map[string]*http.Client {
	one := &http.Transport{}
	two := &http.Transport{Protocols: new(http.Protocols)}
	two.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(one.CloseIdleConnections)
	t.Cleanup(two.CloseIdleConnections)
	return map[string]*http.Client{"HTTP/1.1": {Transport: one}, "HTTP/2.0": {Transport: two}}
}

func get(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestStopFailsNoRequest(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for proto, client := range clients(t) {
		s := start(t, server.Options{DrainDelay: 10 * time.Millisecond})
		if body, err := get(t, client, s.url+"/quick"); err != nil || body != proto {
			t.Fatalf("%s: %q %v", proto, body, err)
		}
		slow := make(chan string, 1)
		go func() {
			body, err := get(t, client, s.url+"/slow")
			if err != nil {
				body = err.Error()
			}
			slow <- body
		}()
		<-s.entered
		s.stop()
		for !s.Draining() {
			time.Sleep(time.Millisecond)
		}
		// Routers need a moment to notice: what comes while others finish is served.
		if body, err := get(t, client, s.url+"/quick"); err != nil || body != proto {
			t.Errorf("%s while draining: %q %v", proto, body, err)
		}
		close(s.release)
		if body := <-slow; body != "done" {
			t.Errorf("%s in flight: %q", proto, body)
		}
		if err := <-s.ended; err != nil {
			t.Errorf("%s: %v", proto, err)
		}
		if _, err := net.Dial("tcp", s.url[len("http://"):]); err == nil {
			t.Errorf("%s: still listening after the end", proto)
		}
		client.CloseIdleConnections()
	}
}

// TestBodiesThatWaitHoldUpNobody sends bodies that are read a few at a time: on a connection
// that they share, those that wait must leave the others room to arrive.
func TestBodiesThatWaitHoldUpNobody(t *testing.T) {
	t.Parallel()
	r := start(t, server.Options{DrainDelay: time.Millisecond})
	for name, client := range clients(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/read", bytes.NewReader(make([]byte, 256<<10)))
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := client.Do(q)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				_ = answer.Body.Close()
			})
		}
		all.Wait()
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

func TestGraceIsBounded(t *testing.T) {
	s := start(t, server.Options{DrainDelay: time.Millisecond, Grace: 30 * time.Millisecond})
	cut := make(chan error, 1)
	go func() {
		_, err := get(t, clients(t)["HTTP/1.1"], s.url+"/slow")
		cut <- err
	}()
	<-s.entered
	s.stop()
	if err := <-s.ended; err == nil {
		t.Error("a stop that cut off a request must say so")
	}
	close(s.release)
	<-cut
}
