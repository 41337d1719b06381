package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// usersCmd groups the commands about users; each asks a running service.
type usersCmd struct {
	List     usersListCmd   `cmd:"" help:"List users."`
	Get      usersGetCmd    `cmd:"" help:"Show one user."`
	Suspend  suspendCmd     `cmd:"" help:"Suspend a user: from now on it may use nothing."`
	Activate activateCmd    `cmd:"" help:"Make a suspended user active."`
	Delete   usersDeleteCmd `cmd:"" help:"Delete a user for good."`
	Export   exportCmd      `cmd:"" help:"Write all users, or those that conditions find, into a file."`
	Import   importCmd      `cmd:"" help:"Create, update or delete the users of a file."`
}

// Help is the text that users --help ends with.
func (usersCmd) Help() string {
	return "Example:\n\n    ai-admin users list role=admin --url http://localhost:8080 --token-file .dev/token\n\n" + profilesHelp
}

// userColumns are what a table shows of users.
var userColumns = []string{"id", "tag", "name", "email", "role", "status", "version", "updatedAt"}

type usersListCmd struct {
	connection
	Where []string `arg:"" optional:"" help:"Conditions, as in the API: role=admin, q=ada, metadata.team=research, sort=tag."`
	Limit int      `default:"50" help:"How many to show at most."`
	All   bool     `help:"Show all."`
}

// Help is the text that users list --help ends with.
func (usersListCmd) Help() string {
	return "Example:\n\n    ai-admin users list status=suspended sort=-createdAt --limit 10\n    ai-admin users list provider=openai --all -o csv"
}

// Run lists users.
func (c *usersListCmd) Run(ctx context.Context, s streams) error {
	values, err := conditions(c.Where)
	if err != nil {
		return err
	}
	values.Set("count", "none")
	return listPages(ctx, s, &c.connection, "/ai/admin/users", "users", values, c.Limit, c.All, userColumns)
}

// listPages shows a list that has pages.
func listPages(ctx context.Context, s streams, c *connection, path, list string, values map[string][]string, limit int, all bool, columns []string) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	if limit < 1 {
		return usage("--limit=%d: must be at least 1", limit)
	}
	if all {
		limit = 0
	}
	elements, more, err := service.pages(ctx, path, list, values, limit)
	if err != nil {
		return err
	}
	if err := service.show(elements, columns...); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(s.err, "There are more: --limit or --all shows them.\n")
	}
	return nil
}

type usersGetCmd struct {
	connection
	User string `arg:"" placeholder:"ID|TAG" help:"The user's id or tag, or email:, userName: or externalId: and a value."`
}

// Help is the text that users get --help ends with.
func (usersGetCmd) Help() string {
	return "Example:\n\n    ai-admin users get ada\n    ai-admin users get email:ada@example.com -o json"
}

// Run shows one user.
func (c *usersGetCmd) Run(ctx context.Context, s streams) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	return service.showOne(ctx, http.MethodGet, pathOf(c.User), "", userColumns)
}

// showOne sends a request and shows the object that answers it.
func (s *service) showOne(ctx context.Context, method, path, body string, columns []string) error {
	answer, err := s.call(ctx, method, path, body, "id")
	if err != nil {
		return err
	}
	return s.showObject(answer, columns)
}

// showObject shows one object; as JSON, it is not in a list.
func (s *service) showObject(object jsontext.Value, columns []string) error {
	if s.output == "json" {
		columns = nil
	}
	return s.show([]jsontext.Value{object}, columns...)
}

type suspendCmd struct{ usersGetCmd }

// Help is the text that users suspend --help ends with.
func (suspendCmd) Help() string { return "Example:\n\n    ai-admin users suspend ada" }

// Run suspends a user.
func (c *suspendCmd) Run(ctx context.Context, s streams) error {
	return c.setStatus(ctx, s, "suspended")
}

type activateCmd struct{ usersGetCmd }

// Help is the text that users activate --help ends with.
func (activateCmd) Help() string { return "Example:\n\n    ai-admin users activate ada" }

// Run activates a user.
func (c *activateCmd) Run(ctx context.Context, s streams) error { return c.setStatus(ctx, s, "active") }

func (c *usersGetCmd) setStatus(ctx context.Context, s streams, status string) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	return service.showOne(ctx, http.MethodPatch, pathOf(c.User), `{"status":"`+status+`"}`, userColumns)
}

type usersDeleteCmd struct {
	usersGetCmd
	Yes bool `short:"y" help:"Do not ask."`
}

// Help is the text that users delete --help ends with.
func (usersDeleteCmd) Help() string {
	return "Example:\n\n    ai-admin users delete ada\n    ai-admin users delete 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e --yes"
}

// Run deletes a user.
func (c *usersDeleteCmd) Run(ctx context.Context, s streams) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	found, err := service.call(ctx, http.MethodGet, pathOf(c.User), "", "id")
	if err != nil {
		return err
	}
	who := cells(found, []string{"id", "tag", "name"}, printable)
	if !c.Yes {
		if err := confirm(s, fmt.Sprintf("Delete %s (%s, %s) for good?", who[1], who[2], who[0])); err != nil {
			return err
		}
	}
	if _, err := service.call(ctx, http.MethodDelete, pathOf(who[0]), "", ""); err != nil {
		return err
	}
	if service.output != "table" {
		return service.showObject(found, userColumns)
	}
	_, err = fmt.Fprintf(s.out, "deleted %s\n", who[0])
	return err
}

// confirm reads y or yes from standard input, which may be a pipe. Empty input is a wrong call.
func confirm(s streams, question string) error {
	fmt.Fprint(s.err, question, " [y/N] ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	switch {
	case errors.Is(err, io.EOF) && answer == "":
		fmt.Fprintln(s.err)
		return usage("there is nobody to ask: say --yes")
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("ai-admin: nothing was done")
	}
	return nil
}
