package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// keysCmd groups the commands about API keys; each asks a running service.
type keysCmd struct {
	List    keysListCmd   `cmd:"" help:"List a user's keys."`
	Find    keysFindCmd   `cmd:"" help:"Find keys of all users: by hint, by when they expire or were used."`
	Create  keysCreateCmd `cmd:"" help:"Give a user a key, and print its secret, this once."`
	Rotate  keysRotateCmd `cmd:"" help:"Give a key a new secret, and print it, this once."`
	Disable keysStatusCmd `cmd:"" help:"Make a key stop working until it is enabled."`
	Enable  keysEnableCmd `cmd:"" help:"Make a disabled key work again."`
	Revoke  keysRevokeCmd `cmd:"" help:"Take a key, or all, away from a user for good."`
}

// Help is the text that keys --help ends with.
func (keysCmd) Help() string {
	return "Example:\n\n    ai-admin keys create ada --name laptop\n\n" + profilesHelp
}

var keyColumns = []string{"id", "userId", "name", "hint", "status", "expiresAt", "lastUsedAt", "createdBy"}

type keysListCmd struct{ usersGetCmd }

// Help is the text that keys list --help ends with.
func (keysListCmd) Help() string { return "Example:\n\n    ai-admin keys list ada" }

// Run lists a user's keys.
func (c *keysListCmd) Run(ctx context.Context, s streams) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	body, err := service.call(ctx, http.MethodGet, pathOf(c.User)+"/keys", "", "keys")
	if err != nil {
		return err
	}
	var answer struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return errNotOurs
	}
	return service.show(answer.Keys, keyColumns...)
}

type keysFindCmd struct {
	connection
	Where []string `arg:"" optional:"" help:"Conditions, as in the API: hint=aik_…x7Kq, status=active, expiresBefore=2027-01-01T00:00:00Z, lastUsedBefore=…"`
	Limit int      `default:"50" help:"How many to show at most."`
	All   bool     `help:"Show all."`
}

// Help is the text that keys find --help ends with.
func (keysFindCmd) Help() string {
	return "Example:\n\n    ai-admin keys find lastUsedBefore=2026-06-01T00:00:00Z --all -o csv"
}

// Run finds keys.
func (c *keysFindCmd) Run(ctx context.Context, s streams) error {
	values, err := conditions(c.Where)
	if err != nil {
		return err
	}
	return listPages(ctx, s, &c.connection, "/ai/admin/keys", "keys", values, c.Limit, c.All, keyColumns)
}

type keysCreateCmd struct {
	usersGetCmd
	Name      string    `required:"" placeholder:"NAME" help:"What the key is for; unique within the user."`
	Models    []string  `placeholder:"MODEL" help:"Narrow what the user may use; repeatable."`
	ExpiresAt time.Time `placeholder:"TIME" help:"When it stops working, such as 2027-01-31T00:00:00Z; default: never."`
}

// Help is the text that keys create --help ends with.
func (keysCreateCmd) Help() string {
	return "Example:\n\n    ai-admin keys create ada --name laptop --models 'gpt-5*' --expires-at 2027-01-31T00:00:00Z"
}

// Run creates a key.
func (c *keysCreateCmd) Run(ctx context.Context, s streams) error {
	body := map[string]any{"name": c.Name}
	if c.Models != nil {
		body["models"] = c.Models
	}
	if !c.ExpiresAt.IsZero() {
		body["expiresAt"] = user.FormatTime(c.ExpiresAt)
	}
	return c.secret(ctx, s, pathOf(c.User)+"/keys", body)
}

// secret sends what makes a secret, and shows it. Sent again after a torn answer, it would be another: the
// Idempotency-Key is for the transport's own repetitions.
func (c *usersGetCmd) secret(ctx context.Context, s streams, path string, body map[string]any) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := service.call(ctx, http.MethodPost, path, string(content), "secret", "Idempotency-Key", user.NewID().String())
	if err != nil {
		return err
	}
	if service.output != "table" {
		return service.showObject(answer, append(keyColumns[:len(keyColumns):len(keyColumns)], "secret"))
	}
	made := cells(answer, []string{"secret", "id", "name", "previousValidUntil"}, printable)
	fmt.Fprintf(s.err, "key %s (%s); the secret is shown this once:\n", made[1], made[2])
	if made[3] != "" {
		fmt.Fprintf(s.err, "the former secret works until %s\n", made[3])
	}
	_, err = fmt.Fprintln(s.out, made[0])
	return err
}

type ofKey struct {
	usersGetCmd
	Key string `arg:"" placeholder:"KEY" help:"The key's id."`
}

func (c *ofKey) path() string { return pathOf(c.User) + "/keys/" + url.PathEscape(c.Key) }

type keysRotateCmd struct {
	ofKey
	Overlap   *time.Duration `placeholder:"DURATION" help:"How long the former secret goes on working, up to 720h; default 24h."`
	ExpiresAt time.Time      `placeholder:"TIME" help:"When the key stops working, such as 2027-01-31T00:00:00Z."`
}

// Help is the text that keys rotate --help ends with.
func (keysRotateCmd) Help() string {
	return "Example:\n\n    ai-admin keys rotate ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e --overlap 1h"
}

// Run rotates a key.
func (c *keysRotateCmd) Run(ctx context.Context, s streams) error {
	body := map[string]any{}
	if c.Overlap != nil {
		body["overlap"] = c.Overlap.String()
	}
	if !c.ExpiresAt.IsZero() {
		body["expiresAt"] = user.FormatTime(c.ExpiresAt)
	}
	return c.secret(ctx, s, c.path()+"/rotate", body)
}

type keysStatusCmd struct{ ofKey }

// Help is the text that keys disable --help ends with.
func (keysStatusCmd) Help() string {
	return "Example:\n\n    ai-admin keys disable ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e"
}

// Run disables a key.
func (c *keysStatusCmd) Run(ctx context.Context, s streams) error { return c.set(ctx, s, "disabled") }

func (c *ofKey) set(ctx context.Context, s streams, status string) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	return service.showOne(ctx, http.MethodPatch, c.path(), `{"status":"`+status+`"}`, keyColumns)
}

type keysEnableCmd struct{ ofKey }

// Help is the text that keys enable --help ends with.
func (keysEnableCmd) Help() string {
	return "Example:\n\n    ai-admin keys enable ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e"
}

// Run enables a key.
func (c *keysEnableCmd) Run(ctx context.Context, s streams) error { return c.set(ctx, s, "active") }

type keysRevokeCmd struct {
	usersGetCmd
	Key string `arg:"" optional:"" placeholder:"KEY" help:"The key's id."`
	All bool   `help:"All keys of the user."`
	Yes bool   `short:"y" help:"Do not ask."`
}

// Help is the text that keys revoke --help ends with.
func (keysRevokeCmd) Help() string {
	return "Example:\n\n    ai-admin keys revoke ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e\n    ai-admin keys revoke ada --all --yes"
}

// Run revokes keys.
func (c *keysRevokeCmd) Run(ctx context.Context, s streams) error {
	if (c.Key == "") != c.All {
		return usage("say which: the key's id, or --all")
	}
	service, err := c.open(s)
	if err != nil {
		return err
	}
	path, what, has := pathOf(c.User)+"/keys", "all keys of "+c.User, "revoked"
	if !c.All {
		path, what, has = path+"/"+url.PathEscape(c.Key), "key "+c.Key+" of "+c.User, ""
	}
	if !c.Yes {
		if err := confirm(s, "Revoke "+printable(what)+" for good?"); err != nil {
			return err
		}
	}
	answer, err := service.call(ctx, http.MethodDelete, path, "", has)
	if err != nil {
		return err
	}
	if !c.All {
		answer = jsontext.Value(`{"revoked":1}`)
	}
	if service.output != "table" {
		return service.showObject(answer, []string{"revoked"})
	}
	_, err = fmt.Fprintf(s.out, "revoked %s (%s)\n", what, cells(answer, []string{"revoked"}, printable)[0])
	return err
}
