// Command ai-admin administers who may use an organization's AI: `ai-admin serve` is
// what the image runs, `ai-admin dev` needs nothing but this binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/store"
)

// version is stamped by the linker (-X main.version=…); see [app.Version].
var version string

// serving is the one command whose start counts. The table of all takes milliseconds to build.
type serving struct {
	Serve serveCmd `cmd:"" help:"Serve users over HTTP; this is what the image runs."`
}

// cli lists the commands; each one lives in the file of its name.
type cli struct {
	serving
	Dev        devCmd        `cmd:"" help:"Serve with a private PostgreSQL: nothing mounted, nothing to set up."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database to this version's schema."`
	Rotate     rotateCmd     `cmd:"" help:"Seal every stored credential with the primary vault key."`
	Resend     resendCmd     `cmd:"" help:"Send parked events again: those that the sink refused for good."`
	Token      tokenCmd      `cmd:"" help:"Make a bearer token and its entry in tokens.json."`
	Key        keyCmd        `cmd:"" help:"Find out whose API key a secret is."`
	Users      usersCmd      `cmd:"" help:"Work with the users of a running service: list, get, suspend, activate, delete, export, import."`
	Keys       keysCmd       `cmd:"" help:"Work with the API keys of a running service: list, find, create, rotate, disable, enable, revoke."`
	Audit      auditCmd      `cmd:"" help:"Read the audit log of a running service."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
}

// streams are the process's outputs, handed to every command so that tests can read them.
type streams struct{ out, err io.Writer }

// isTerminal reports whether a person reads what is written.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // a file's number is small
}

// stdin returns standard input until ctx ends. A read of os.Stdin itself would not end at Ctrl-C, which is caught.
func stdin(ctx context.Context) io.Reader {
	read, write := io.Pipe()
	context.AfterFunc(ctx, func() { _ = write.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.Copy(write, os.Stdin)
		_ = write.CloseWithError(err)
	}()
	return read
}

type versionCmd struct{}

func (versionCmd) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, "ai-admin", app.Version(version))
	return err
}

func main() {
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ending = append(ending, syscall.SIGHUP) // a terminal that closes ends a command as Ctrl-C does
	}
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}

// run parses args, runs the command they name and returns the process's exit code:
// 0, 1 for a failure, 2 for wrong usage or wrong mounts.
func run(ctx context.Context, args []string, s streams) int {
	code := -1
	var table any = &cli{}
	if len(args) > 0 && args[0] == "serve" {
		table = &serving{}
	}
	parser, err := kong.New(table, kong.Name("ai-admin"),
		kong.Description("Decides who may use an organization's AI, and keeps their keys."),
		kong.Writers(s.out, s.err), kong.Exit(func(c int) { code = c }),
		kong.PostBuild(addExamples), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"scopes": auth.ScopeNames(), "outputs": "table (default), json, ndjson or csv"}, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s))
	if err != nil {
		panic(err) // the command table above is wrong: no input can cause it
	}
	command, err := parser.Parse(spelled(args))
	if code >= 0 { // --help printed and asked to exit
		if len(args) == 0 {
			return 2 // a call without a command
		}
		return code
	}
	if err != nil {
		fmt.Fprintln(s.err, "ai-admin:", err)
		return 2
	}
	return exitCode(s, command.Run())
}

// addExamples makes the --help of a command end with its examples in the command table, one a line.
func addExamples(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if command, ok := node.(*kong.Node); ok && command.Tag.Has("example") {
			command.Detail = "Example:\n\n    " + strings.ReplaceAll(command.Tag.Get("example"), "\n", "\n    ")
		}
		return next(nil)
	})
}

// spelled returns arguments as the parser knows them: people also ask for help and the version in other ways, and
// a call without a command shows what there is.
func spelled(args []string) []string {
	if len(args) == 0 {
		return []string{"--help"}
	}
	switch args[0] {
	case "help":
		return append(args[1:len(args):len(args)], "--help")
	case "--version", "-v":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// exitError carries the exit code that a command asks for.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// usage is the error for wrong usage.
func usage(format string, args ...any) error {
	return exitError{2, fmt.Errorf(format, args...)}
}

// tornCode is the exit code for a response that broke off.
const tornCode = 3

// torn is the error for a response that broke off.
func torn(format string, args ...any) error {
	return exitError{tornCode, fmt.Errorf(format, args...)}
}

// exitCode prints an error and returns the exit code for it.
func exitCode(s streams, err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[app.MountError](err); ok {
		fmt.Fprintln(s.err, err) // a line for each problem
		return 2
	}
	fmt.Fprintln(s.err, "ai-admin:", err)
	if sentence := store.Refusal(err); sentence != "" {
		fmt.Fprintln(s.err, "PostgreSQL says:", sentence)
	}
	if coded, ok := errors.AsType[exitError](err); ok {
		return coded.code
	}
	return 1
}
