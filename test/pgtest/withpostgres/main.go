// Command withpostgres runs a command beside a throw-away PostgreSQL cluster:
//
//	go run ./test/pgtest/withpostgres [-cc] go test ./...
//
// The command finds the cluster's address in AI_ADMIN_TEST_PG. The exit code is the
// command's own. It is a program and not a line of shell, because the cluster has to end
// however the command ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"aiadmin/pkg/postgres"
)

// environment is pgtest.Environment, not imported: this program is built without cgo, and
// must not build the whole service a second time for that.
const environment = "AI_ADMIN_TEST_PG"

func main() {
	compiler := flag.Bool("cc", false, "make sure of a C compiler, which go test -race needs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(ctx, *compiler, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
	}
	os.Exit(code)
}

// run returns the command's exit code, or 1 when it could not be run.
func run(ctx context.Context, compiler bool, args []string) (code int, err error) {
	if len(args) == 0 {
		return 2, errors.New("no command given")
	}
	if compiler {
		if err := ensureCompiler(ctx); err != nil {
			return 1, err
		}
	}
	cluster, err := postgres.Start(ctx, postgres.Options{Progress: os.Stderr, Settings: map[string]string{
		"max_connections": "600", "shared_buffers": "1GB", "autovacuum_naptime": "10s"}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cluster.Close(context.WithoutCancel(ctx))) }()
	return command(ctx, cluster.URL("postgres"), args)
}

// patience is how long an interrupted command may take to end.
const patience = 30 * time.Second

// command runs args in a process group of its own and passes an interrupt on to all of it:
// go test starts the test binaries, and those start services.
func command(ctx context.Context, url string, args []string) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), environment+"="+url, "CGO_ENABLED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = patience
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
