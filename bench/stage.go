package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/procfs"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/postgres"
	"aiadmin/pkg/server"
	"aiadmin/pkg/store"
)

// bench is the database, the running service, and what has been found so far.
type bench struct {
	report
	options options
	folder  string
	cluster *postgres.Cluster
	db      *pgx.Conn
	logRead int64  // bytes of PostgreSQL's log
	token   string // an administrator's
	tokens  []byte // tokens.json with its entry
	service *process
	// How many users have been created and deleted, and how many values used that occur once.
	created, deleted, used atomic.Int64
	loaded                 int64 // how many users there were to delete
}

const database = "postgres"

// clusterSettings are those of a small production server. The log is what capture reads.
var clusterSettings = map[string]string{"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min",
	"random_page_cost": "1.1", "effective_cache_size": "2GB", "logging_collector": "on", "log_destination": "csvlog",
	"log_checkpoints": "off", "log_autovacuum_min_duration": "-1", "log_rotation_size": "0"}

func (b *bench) setUp(ctx context.Context) (err error) {
	token, entry, err := auth.NewToken("bench", auth.Admin)
	if err != nil {
		return err
	}
	b.token = token.Reveal()
	if b.tokens, err = json.Marshal([]any{entry}); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp("", "ai-admin-bench-"); err != nil {
		return err
	}
	progress("starting PostgreSQL with fsync=on")
	o := postgres.Options{Durable: true, Settings: clusterSettings, Progress: os.Stderr}
	if b.cluster, err = postgres.Start(ctx, o); err != nil {
		return err
	}
	if err = store.Migrate(ctx, b.cluster.URL(database)); err != nil {
		return err
	}
	if b.db, err = pgx.Connect(ctx, b.cluster.URL(database)); err != nil {
		return err
	}
	if err = b.seed(ctx); err != nil {
		return err
	}
	b.service, err = b.startService(ctx, variant{profile: b.options.Profile})
	return err
}

func (b *bench) close() {
	b.service.stop()
	if b.cluster != nil {
		_ = b.cluster.Close(context.Background())
	}
	_ = os.RemoveAll(b.folder)
}

// variant is what distinguishes one copy of the service from another.
type variant struct {
	parameters  string // of the database's URL
	settings    string // lines of config.yaml
	environment string // one variable
	profile     string // where to write a CPU profile
}

// startService starts the product as the image does, with mounts of its own. Its log lines go to
// /dev/null: what a container runtime does with them is not the service's.
func (b *bench) startService(ctx context.Context, v variant) (*process, error) {
	mounts, err := os.MkdirTemp(b.folder, "mounts-")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(mounts, fstest.MapFS{
		"postgres/PG_URL":    {Data: []byte(b.cluster.URL(database) + v.parameters)},
		"vault/k1":           {Data: []byte(strings.Repeat("5a", 32))},
		"vault/PRIMARY":      {Data: []byte("k1")},
		"auth/tokens.json":   {Data: b.tokens},
		"config/config.yaml": {Data: []byte("metricsPort: 0\n" + v.settings)},
	}); err != nil {
		return nil, err
	}
	cmd := exec.Command(b.options.Binary, "serve", "--mounts", mounts, "--drain-delay", "10ms", "--profile-to", v.profile)
	cmd.Env = append(os.Environ(), v.environment)
	return start(ctx, cmd, "/readyz")
}

// process is a server that is measured: a copy of the service, or noop.
type process struct {
	address string
	cmd     *exec.Cmd
}

// start runs a server on a free port, and returns when a path of it answers 200.
func start(ctx context.Context, cmd *exec.Cmd, path string) (*process, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_ = l.Close()
	p := &process{l.Addr().String(), cmd}
	cmd.Args = append(cmd.Args, "--port", p.address[strings.LastIndexByte(p.address, ':')+1:])
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if answer, err := http.Get("http://" + p.address + path); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s did not become ready: %w", cmd.Path, ctx.Err())
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p != nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	}
}

// cpu returns the processor time that the process has used, in seconds.
func (p *process) cpu() float64 {
	if p == nil {
		return 0
	}
	proc, _ := procfs.NewProc(p.cmd.Process.Pid)
	stat, _ := proc.Stat()
	return stat.CPUTime()
}

// memory returns the resident memory in MiB: now, and the peak so far.
func (p *process) memory() (now, peak float64) {
	proc, _ := procfs.NewProc(p.cmd.Process.Pid)
	status, _ := proc.NewStatus()
	return float64(status.VmRSS) / (1 << 20), float64(status.VmHWM) / (1 << 20)
}

// answer is an answer of the service, to be given again.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// startNoop starts the server that gives an answer and does nothing else.
func startNoop(ctx context.Context, a answer) (*process, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", "--noop")
	cmd.Stdin = bytes.NewReader(text)
	return start(ctx, cmd, "/up")
}

// serveNoop serves the answer on stdin with the service's own HTTP server, until ctx ends.
func (o options) serveNoop(ctx context.Context) error {
	var a answer
	if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+o.Port)
	if err != nil {
		return err
	}
	return server.New(server.Options{Handler: a, Log: slog.New(slog.DiscardHandler), DrainDelay: 1}).Run(ctx, listener)
}

// ServeHTTP reads what was sent and gives the answer.
func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/up" {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}
