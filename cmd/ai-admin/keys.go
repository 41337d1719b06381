package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// keysCmd groups the commands about API keys; each asks a running service.
type keysCmd struct {
	List    keysListCmd   `cmd:"" help:"List a user's keys." example:"ai-admin keys list ada"`
	Find    keysFindCmd   `cmd:"" help:"Find keys of all users: by hint, by when they expire or were used." set:"where=hint=aik_…x7Kq, status=active, expiresBefore=2027-01-01T00:00:00Z, lastUsedBefore=…" example:"ai-admin keys find lastUsedBefore=2026-06-01T00:00:00Z --all -o csv"`
	Create  keysCreateCmd `cmd:"" help:"Give a user a key, and print its secret, this once." example:"ai-admin keys create ada --name laptop --models 'gpt-5*' --expires-at 2027-01-31T00:00:00Z"`
	Rotate  keysRotateCmd `cmd:"" help:"Give a key a new secret, and print it, this once." example:"ai-admin keys rotate ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e --overlap 1h"`
	Disable keysStatusCmd `cmd:"" help:"Make a key stop working until it is enabled." status:"disabled" example:"ai-admin keys disable ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e"`
	Enable  keysStatusCmd `cmd:"" help:"Make a disabled key work again." status:"active" example:"ai-admin keys enable ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e"`
	Revoke  keysRevokeCmd `cmd:"" help:"Take a key, or all, away from a user for good." example:"ai-admin keys revoke ada 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e\nai-admin keys revoke ada --all --yes"`
}

// Help is the text that keys --help ends with.
func (keysCmd) Help() string {
	return "Example:\n\n    ai-admin keys create ada --name laptop\n\n" + profilesHelp
}

var keyColumns = []string{"id", "userId", "name", "hint", "status", "expiresAt", "lastUsedAt", "createdBy"}

type keysListCmd struct{ ofUser }

// Run lists a user's keys.
func (c *keysListCmd) Run(ctx context.Context, s *service) error {
	keys, _, err := s.page(ctx, c.path()+"/keys", "keys")
	if err != nil {
		return err
	}
	return s.show(keys, keyColumns)
}

type keysFindCmd struct{ listing }

// Run finds keys.
func (c *keysFindCmd) Run(ctx context.Context, s *service) error {
	return c.list(ctx, s, "/ai/admin/keys", "keys", keyColumns)
}

type keysCreateCmd struct {
	ofUser
	Name      string     `required:"" placeholder:"NAME" help:"What the key is for; unique within the user."`
	Models    []string   `placeholder:"MODEL" help:"Narrow what the user may use; repeatable."`
	ExpiresAt *time.Time `placeholder:"TIME" help:"When it stops working, such as 2027-01-31T00:00:00Z; default: never."`
}

// Run creates a key.
func (c *keysCreateCmd) Run(ctx context.Context, s *service) error {
	body := map[string]any{"name": c.Name}
	if c.Models != nil {
		body["models"] = c.Models
	}
	if c.ExpiresAt != nil {
		body["expiresAt"] = user.FormatTime(*c.ExpiresAt)
	}
	return s.showSecret(ctx, c.path()+"/keys", body)
}

// showSecret sends what makes a secret, and shows it. Sent again after a torn answer, it would be another: the
// Idempotency-Key is for the transport's own repetitions.
func (s *service) showSecret(ctx context.Context, path string, body map[string]any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := s.call(ctx, http.MethodPost, path, string(content), "secret", "Idempotency-Key", user.NewID().String())
	if err != nil {
		return err
	}
	if s.output != "table" {
		return s.showObject(answer, append(keyColumns[:len(keyColumns):len(keyColumns)], "secret"))
	}
	made := cells(answer, []string{"secret", "id", "name", "previousValidUntil"}, printable)
	fmt.Fprintf(s.streams.err, "key %s (%s); the secret is shown this once:\n", made[1], made[2])
	if made[3] != "" {
		fmt.Fprintf(s.streams.err, "the former secret works until %s\n", made[3])
	}
	_, err = fmt.Fprintln(s.streams.out, made[0])
	return err
}

// ofKey is a command about one key.
type ofKey struct {
	ofUser
	Key uuid.UUID `arg:"" placeholder:"KEY" help:"The key's id."`
}

// path returns the path of the key.
func (c *ofKey) path() string { return c.ofUser.path() + "/keys/" + c.Key.String() }

type keysRotateCmd struct {
	ofKey
	Overlap   *time.Duration `placeholder:"DURATION" help:"How long the former secret goes on working, up to 720h; default 24h."`
	ExpiresAt *time.Time     `placeholder:"TIME" help:"When the key stops working, such as 2027-01-31T00:00:00Z."`
}

// Run rotates a key.
func (c *keysRotateCmd) Run(ctx context.Context, s *service) error {
	body := map[string]any{}
	if c.Overlap != nil {
		body["overlap"] = c.Overlap.String()
	}
	if c.ExpiresAt != nil {
		body["expiresAt"] = user.FormatTime(*c.ExpiresAt)
	}
	return s.showSecret(ctx, c.path()+"/rotate", body)
}

type keysStatusCmd struct{ ofKey }

// Run gives a key the status that the command is for.
func (c *keysStatusCmd) Run(ctx context.Context, s *service, command *kong.Context) error {
	return s.showOne(ctx, http.MethodPatch, c.path(), statusOf(command), keyColumns)
}

type keysRevokeCmd struct {
	ofUser
	Key uuid.UUID `arg:"" optional:"" placeholder:"KEY" help:"The key's id."`
	All bool      `help:"All keys of the user."`
	Yes bool      `short:"y" help:"Do not ask."`
}

// Run revokes keys.
func (c *keysRevokeCmd) Run(ctx context.Context, s *service) error {
	if (c.Key == uuid.Nil) != c.All {
		return usage("say which: the key's id, or --all")
	}
	path, what, has := c.path()+"/keys", "all keys of "+c.User, "revoked"
	if !c.All {
		path, what, has = path+"/"+c.Key.String(), "key "+c.Key.String()+" of "+c.User, ""
	}
	if !c.Yes {
		if err := confirm(ctx, s.streams, "Revoke "+printable(what)+" for good?"); err != nil {
			return err
		}
	}
	answer, err := s.call(ctx, http.MethodDelete, path, "", has)
	if err != nil {
		return err
	}
	if !c.All {
		answer = jsontext.Value(`{"revoked":1}`)
	}
	if s.output != "table" {
		return s.showObject(answer, []string{"revoked"})
	}
	_, err = fmt.Fprintf(s.streams.out, "revoked %s (%s)\n", what, cells(answer, []string{"revoked"}, printable)[0])
	return err
}
