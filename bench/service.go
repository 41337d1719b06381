package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// service is a process that is measured.
type service struct {
	address string
	cmd     *exec.Cmd
}

// startService starts the product as the image does. Its log lines go to /dev/null: what
// a container runtime does with them is not the service's.
func (b *bench) startService(ctx context.Context, mounts string, environment ...string) (*service, error) {
	port := freePort()
	args := []string{"serve", "--mounts", mounts, "--port", strconv.Itoa(port), "--drain-delay", "10ms"}
	if b.options.Profile != "" {
		args = append(args, "--profile-to", b.options.Profile)
	}
	cmd := exec.Command(b.options.Binary, args...)
	cmd.Stderr, cmd.Env = os.Stderr, append(os.Environ(), environment...)
	s, err := start(cmd, port)
	if err != nil {
		return nil, err
	}
	return s, s.await(ctx, "/readyz")
}

// start starts a server on a port.
func start(cmd *exec.Cmd, port int) (*service, error) {
	return &service{net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), cmd}, cmd.Start()
}

// await returns when a path answers 200.
func (s *service) await(ctx context.Context, path string) error {
	for range 600 {
		if answer, err := http.Get("http://" + s.address + path); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.stop()
	return errors.New(s.cmd.Path + " did not become ready")
}

// stop ends the process and waits for it.
func (s *service) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

func freePort() int {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err) // there is no loopback
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it listens on TCP
}
