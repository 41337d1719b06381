package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"

	"aiadmin/pkg/server"
)

// answer is an answer of the service, to be given again.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// noopCmd serves one answer with the service's own HTTP server.
type noopCmd struct {
	Port int `required:""`
}

// Run serves the answer on stdin until ctx ends.
func (c noopCmd) Run(ctx context.Context) error {
	var a answer
	if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return err
	}
	s := server.New(server.Options{Handler: a, Log: slog.New(slog.DiscardHandler), DrainDelay: 1})
	return s.Run(ctx, listener)
}

// ServeHTTP reads what was sent and gives the answer.
func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/up" {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	header := w.Header()
	for name, values := range a.Header {
		header[name] = values
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

// startNoop starts the yardstick of an answer.
func startNoop(ctx context.Context, a answer) (*service, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	port := freePort()
	cmd := exec.Command(self, "noop", "--port", strconv.Itoa(port))
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s, err := start(cmd, port)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(input).Encode(a); err != nil {
		return nil, err
	}
	return s, s.await(ctx, "/up")
}
