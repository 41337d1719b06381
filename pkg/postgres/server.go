package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrRunning means that Start was called on a server that runs already.
var ErrRunning = errors.New("the server is running already")

// errAgain marks a failed start that a retry may fix.
var errAgain = errors.New("try again")

// Start starts the server again after Stop, StopImmediate or a crash, on the same port, and returns
// when it answers. Recovery from a crash can take long. Only ctx bounds it; a server that is not
// ready by then is stopped.
func (c *Cluster) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil && !ended(c.server) {
		return ErrRunning
	}
	for attempt := 1; ; attempt++ {
		port := c.port
		if port == 0 {
			port = freePort()
		}
		server, err := c.launch(ctx, port)
		if err == nil {
			c.server, c.port = server, port
			return nil
		}
		if !errors.Is(err, errAgain) || attempt == 50 {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Done is closed when the server that runs now has ended, for whatever reason.
func (c *Cluster) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	return c.server.done
}

// Stop shuts the server down: connections are ended, transactions rolled back, data is flushed. If
// ctx ends first, the server is stopped at once.
func (c *Cluster) Stop(ctx context.Context) error { return c.stop(ctx, syscall.SIGINT) }

// StopImmediate ends the server without flushing, as a crash would; the next start
// recovers from the log.
func (c *Cluster) StopImmediate(ctx context.Context) error { return c.stop(ctx, syscall.SIGQUIT) }

func (c *Cluster) stop(ctx context.Context, how syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	if err := c.server.signal(how); err != nil {
		return err
	}
	select {
	case <-c.server.done:
		return nil
	case <-ctx.Done():
	}
	err := c.server.signal(syscall.SIGQUIT)
	<-c.server.done // within 5 s PostgreSQL itself kills children that ignore SIGQUIT
	return errors.Join(ctx.Err(), err)
}

// launch starts one server process and waits until it is ready.
func (c *Cluster) launch(ctx context.Context, port int) (*process, error) {
	log, err := os.OpenFile(c.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	before, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(c.binaries.path("postgres"), c.arguments(port)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	server, err := spawn(cmd, c.account)
	if err != nil {
		return nil, err
	}
	for !c.ready(server) {
		select {
		case <-ctx.Done():
			_ = server.signal(syscall.SIGQUIT)
			<-server.done
			return nil, ctx.Err()
		case <-server.done:
			return nil, c.diagnose(server.err, before.Size())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return server, nil
}

// ready reads the state that the server keeps in the eighth line of postmaster.pid.
func (c *Cluster) ready(server *process) bool {
	content, err := os.ReadFile(filepath.Join(c.data, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	return len(lines) > 7 && lines[0] == strconv.Itoa(server.pid) && strings.TrimSpace(lines[7]) == "ready"
}

// diagnose turns an early end into an error with the server's own words. Two causes pass:
// a port that someone took first, and processes of a killed server that are still ending.
func (c *Cluster) diagnose(cause error, from int64) error {
	content, _ := os.ReadFile(c.LogFile())
	said := tail(string(content[min(from, int64(len(content))):]), 5)
	err := fmt.Errorf("PostgreSQL did not start: %v: %s", cause, said)
	if strings.Contains(said, "Address already in use") || strings.Contains(said, "is still in use") {
		return errors.Join(errAgain, err)
	}
	return err
}

// arguments are the server's command line.
func (c *Cluster) arguments(port int) []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": "", // their paths are too short for a deep folder
		"max_connections":         "300",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"logging_collector":       "off",
	}
	if !c.options.Durable {
		// synchronous_commit stays on: without fsync it costs nothing, and off it would lose
		// acknowledged commits when a test kills the server.
		settings["fsync"], settings["full_page_writes"] = "off", "off"
		settings["wal_level"], settings["max_wal_senders"] = "minimal", "0"
		settings["max_wal_size"] = "4GB"
	}
	maps.Copy(settings, c.options.Settings)
	args := []string{"-D", c.data}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "--"+name+"="+settings[name])
	}
	return args
}

// freePort picks a port that nobody listens on, from below the range that kernels give
// to outgoing connections: a client that keeps trying a stopped server's port in that
// range can end up connected to itself, and then holds the port against the server.
func freePort() int {
	const from, to = 20000, 32000
	for range 100 {
		port := from + rand.IntN(to-from)
		if l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			_ = l.Close()
			return port
		}
	}
	return from // the server will say that it is taken
}

func ended(p *process) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
