package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/sync/errgroup"

	"aiadmin/pkg/app"
	"aiadmin/pkg/console"
	"aiadmin/pkg/postgres"
	"aiadmin/pkg/secret"
)

type devCmd struct {
	Port int    `help:"Port to serve on; 0 is any free one." default:"8080" env:"PORT"`
	Host string `help:"Address to serve on; 0.0.0.0 lets other machines in." default:"127.0.0.1"`
	Dir  string `help:"Folder that keeps the database, the mounts and the token; default: ${default}." default:".dev" placeholder:"DIR"`
	Demo int    `help:"Create N plausible users; those of an earlier run count. Default: none." placeholder:"N"`
	Log  string `help:"Form of the log: text for people, json for programs; auto is text on a terminal." enum:"auto,text,json" default:"auto"`
}

// Help is the text that dev --help ends with.
func (devCmd) Help() string {
	return `Needs nothing mounted and nothing running: starts a private PostgreSQL in .dev/ (installs
it first on Debian, as root or with sudo), lays out the volumes for you to edit, makes
a vault key and an admin token, serves, and prints how to reach it. Data stays between
runs; remove .dev/ to start afresh. Ctrl-C stops the service and the database.
The service's log goes to standard error, everything else to standard output.`
}

// Validate is called by kong.
func (c devCmd) Validate() error { return checkPort(c.Port) }

const maxDemo = 1_000_000

func (c devCmd) Run(ctx context.Context, s streams) (err error) {
	if c.Demo < 0 || c.Demo > maxDemo {
		return usage("--demo: must be from 0 to %d", maxDemo)
	}
	folder, err := openDevFolder(c.Dir)
	if err != nil {
		return err
	}
	defer folder.lock.Release()
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	if err := portIsFree(address); err != nil {
		return err
	}
	database, err := startDatabase(ctx, folder, s)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, database.Close(context.WithoutCancel(ctx))) }()
	token, err := folder.layOut(database, c.metricsPort())
	if err != nil {
		return err
	}
	return c.serve(ctx, s, address, folder, database, secret.New(token))
}

// serve runs the service until ctx or the database ends.
func (c devCmd) serve(ctx context.Context, s streams, address string, folder *devFolder, database *postgres.Cluster, token secret.Text) error {
	once := &console.Once{Code: secret.New(rand.Text()), Token: token}
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx) // the service's own end has to end the others too
	group.Go(func() error {
		defer cancel()
		return app.Serve(ctx, app.ServeOptions{
			Options: app.Options{Mounts: folder.path("mounts"), Log: s.err, LogHandler: c.logHandler, Version: version, SignInOnce: once,
				Environment: app.Environment{Sink: os.Getenv("K_SINK"), Overrides: os.Getenv("K_CE_OVERRIDES")}},
			Address: address, DrainDelay: time.Millisecond, // no router has to notice
			Listening: func(public, metrics net.Addr) {
				group.Go(func() error {
					return c.announce(ctx, s, devService{newService(localURL(public), token.Reveal()), localURL(metrics), folder.dir, once.Code.Reveal()})
				})
			},
		})
	})
	group.Go(func() error {
		select {
		case <-database.Done():
			return fmt.Errorf("PostgreSQL has ended: see %s", database.LogFile())
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

// startDatabase starts the cluster, and makes the service's role and database in it.
func startDatabase(ctx context.Context, folder *devFolder, s streams) (*postgres.Cluster, error) {
	cluster, err := postgres.Start(ctx, postgres.Options{Dir: folder.path("postgres"), Durable: true, Progress: s.out})
	if err != nil {
		return nil, err
	}
	if err := ensureDatabase(ctx, cluster); err != nil {
		return nil, errors.Join(err, cluster.Close(context.WithoutCancel(ctx)))
	}
	return cluster, nil
}

// metricsPort returns the port for metrics of a new folder, the same at every start: 9090 beside 8080. It is 0, for any
// free one, where that is taken or the service's own is any.
func (c devCmd) metricsPort() int {
	const beside = 1010
	if c.Port == 0 || portIsFree(net.JoinHostPort(c.Host, strconv.Itoa(c.Port+beside))) != nil {
		return 0
	}
	return c.Port + beside
}

// portIsFree fails, before anything is started, where the service could not listen later.
func portIsFree(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot serve on %s: %w; choose another port with --port (make run ARGS=\"--port 8081\")", address, err)
	}
	return listener.Close()
}

// stopped hides what an interrupt made fail: Ctrl-C during the start is no failure.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// localURL is how this machine reaches a listener, also one on all addresses.
func localURL(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return "http://" + addr.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// logHandler writes short lines for a person, or JSON for a program.
func (c devCmd) logHandler(w io.Writer, options *slog.HandlerOptions) slog.Handler {
	person := isTerminal(w)
	if c.Log == "json" || c.Log == "auto" && !person {
		return slog.NewJSONHandler(w, options)
	}
	return tint.NewTextHandler(w, &tint.Options{Level: options.Level, TimeFormat: time.TimeOnly, NoColor: !person})
}

// devService is a running development service as its user reaches it.
type devService struct {
	*service
	metrics, dir, once string
}

// announce waits until the service is ready, fills in the demo users and prints how to
// call it.
func (c devCmd) announce(ctx context.Context, s streams, d devService) error {
	defer d.client.CloseIdleConnections()
	if err := d.waitReady(ctx); err != nil {
		return stopped(ctx, err)
	}
	if c.Demo > 0 {
		if err := d.fillDemo(ctx, s, c.Demo); err != nil {
			return stopped(ctx, err)
		}
	}
	_, err := fmt.Fprintf(s.out, `
ai-admin is ready at %[1]s
%[6]s  token     %[2]s  (admin; kept in %[3]s)
  metrics   %[4]s/metrics
  data      %[5]s

Try:
  curl -sS -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' -d '{"tag":"ada-'$(date +%%s)'","name":"Ada Lovelace","models":["gpt-5*"]}' %[1]s/ai/admin/users
  curl -sS -H 'Authorization: Bearer %[2]s' '%[1]s/ai/admin/users?q=ada&sort=tag&limit=5'
  curl -sS -H 'Authorization: Bearer %[2]s' '%[1]s/ai/admin/changes?limit=5'

Ctrl-C stops the service and its database.
`, d.url, d.token, filepath.Join(d.dir, "token"), d.metrics, d.dir, d.signInLine(ctx))
	return err
}

// signInLine tells the link that signs in once, or how to turn the console on.
func (d devService) signInLine(ctx context.Context) string {
	answer, err := d.send(ctx, http.MethodGet, console.Path+"signin", nil)
	if err != nil {
		return "  console   off: set console: {enabled: true} in " + filepath.Join(d.dir, "mounts", "config", "config.yaml") + "\n"
	}
	_ = answer.Body.Close()
	return "  console   " + d.url + console.Path + "signin?once=" + d.once + "  (signs in once; open it in a browser)\n"
}

// waitReady asks until the service answers that it is ready.
func (d devService) waitReady(ctx context.Context) error {
	for {
		if answer, err := d.send(ctx, http.MethodGet, "/readyz", nil); err == nil {
			return answer.Body.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
