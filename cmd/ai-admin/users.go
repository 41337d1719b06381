package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"aiadmin/pkg/user"
)

// usersCmd groups the commands about users; each asks a running service.
type usersCmd struct {
	List     usersListCmd   `cmd:"" help:"List users." set:"where=role=admin, q=ada, metadata.team=research, sort=tag." example:"ai-admin users list status=suspended sort=-createdAt --limit 10\nai-admin users list provider=openai --all -o csv"`
	Get      usersGetCmd    `cmd:"" help:"Show one user." example:"ai-admin users get ada\nai-admin users get email:ada@example.com -o json"`
	Suspend  usersStatusCmd `cmd:"" help:"Suspend a user: they can use nothing until activated again." status:"suspended" example:"ai-admin users suspend ada"`
	Activate usersStatusCmd `cmd:"" help:"Make a suspended user active." status:"active" example:"ai-admin users activate ada"`
	Delete   usersDeleteCmd `cmd:"" help:"Delete a user for good." example:"ai-admin users delete ada\nai-admin users delete 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e --yes"`
	Export   usersExportCmd `cmd:"" help:"Write all users, or those that conditions find, into a file." set:"where=role=admin, q=ada, sort=tag." example:"ai-admin users export --out users.csv\nai-admin users export status=active --format csv --metadata team > active.csv"`
	Import   importCmd      `cmd:"" help:"Create, update or delete the users of a file." set:"outputs=table (default) or ndjson"`
}

// Help is the text that users --help ends with.
func (usersCmd) Help() string {
	return "Example:\n\n    ai-admin users list role=admin --url http://localhost:8080 --token-file .dev/token\n\n" + profilesHelp
}

// userColumns are what a table shows of users.
var userColumns = []string{"id", "tag", "name", "email", "role", "status", "version", "updatedAt"}

type usersListCmd struct{ listing }

// Run lists users.
func (c *usersListCmd) Run(ctx context.Context, s *service) error {
	if !slices.ContainsFunc(c.Where, func(condition string) bool { return strings.HasPrefix(condition, "count=") }) {
		c.Where = append(c.Where, "count=none") // a table shows no total
	}
	return c.list(ctx, s, "/ai/admin/users", "users", userColumns)
}

// ofUser is a command about one user.
type ofUser struct {
	connection
	User string `arg:"" placeholder:"ID|TAG" help:"The user's id or tag, or email:, userName: or externalId: and a value."`
}

// path returns the path of the user.
func (c *ofUser) path() string {
	name := c.User
	if _, isID := user.ParseID(name); !isID && !strings.Contains(name, ":") {
		name = "tag:" + name
	}
	return "/ai/admin/users/" + url.PathEscape(name)
}

type usersGetCmd struct{ ofUser }

// Run shows one user.
func (c *usersGetCmd) Run(ctx context.Context, s *service) error {
	return s.showOne(ctx, http.MethodGet, c.path(), "", userColumns)
}

type usersStatusCmd struct{ ofUser }

// Run gives a user the status that the command is for.
func (c *usersStatusCmd) Run(ctx context.Context, s *service, command *kong.Context) error {
	return s.showOne(ctx, http.MethodPatch, c.path(), statusOf(command), userColumns)
}

// statusOf returns the change that a command is for: the table of commands names its status.
func statusOf(command *kong.Context) string {
	return `{"status":"` + command.Selected().Tag.Get("status") + `"}`
}

type usersDeleteCmd struct {
	ofUser
	Yes bool `short:"y" help:"Do not ask."`
}

// Run deletes a user.
func (c *usersDeleteCmd) Run(ctx context.Context, s *service) error {
	found, err := s.call(ctx, http.MethodGet, c.path(), "", "id")
	if err != nil {
		return err
	}
	who := cells(found, []string{"id", "tag", "name"}, printable)
	if !c.Yes {
		if err := confirm(ctx, s.streams, fmt.Sprintf("Delete %s (%s, %s) for good?", who[1], who[2], who[0])); err != nil {
			return err
		}
	}
	if _, err := s.call(ctx, http.MethodDelete, "/ai/admin/users/"+url.PathEscape(who[0]), "", ""); err != nil {
		return err
	}
	if s.output != "table" {
		return s.showObject(found, userColumns)
	}
	_, err = fmt.Fprintf(s.streams.out, "deleted %s\n", who[0])
	return err
}

// confirm reads y or yes from standard input, which may be a pipe. Empty input is wrong usage.
func confirm(ctx context.Context, s streams, question string) error {
	fmt.Fprint(s.err, question, " [y/N] ")
	answer, err := bufio.NewReader(stdin(ctx)).ReadString('\n')
	if answer == "" {
		fmt.Fprintln(s.err)
	}
	switch {
	case errors.Is(err, io.EOF) && answer == "":
		return usage("there is nobody to ask: say --yes")
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("nothing was done: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}
