package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"aiadmin/pkg/access"
	"aiadmin/pkg/app"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// keyCmd is about API keys, with direct access to the database.
type keyCmd struct {
	Find keyFindCmd `cmd:"" help:"Read a secret from standard input and print whose it is."`
}

// keyFindCmd answers whose a secret is that was found somewhere.
type keyFindCmd struct {
	Mounts string `help:"Folder of the mounted volumes; default: ${default}." default:"/etc/ai-admin" placeholder:"DIR"`
}

// Help is the text that key find --help ends with.
func (keyFindCmd) Help() string {
	return `The secret comes on standard input, so that no process list and no shell history shows it.
The exit code is 1 if no key has it.

Examples:

    ai-admin key find < leaked.txt
    pbpaste | kubectl exec -i POD -c user-container -- /ko-app/ai-admin key find`
}

var errNobodys = exitError{1, errors.New("no key has this secret: none ever had, or the key was revoked or rotated since")}

// Run finds the key.
func (c keyFindCmd) Run(ctx context.Context, s streams) error {
	return c.find(ctx, stdin(ctx), s.out)
}

// mostInput bounds what is read: a secret has 53 bytes.
const mostInput = 4096

func (c keyFindCmd) find(ctx context.Context, from io.Reader, to io.Writer) error {
	line, err := bufio.NewReader(io.LimitReader(from, mostInput)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	secret, ok := access.ParseSecret(strings.TrimSpace(line))
	if !ok {
		return exitError{1, errors.New("this is not the secret of a key: those are aik_ and 49 characters after it")}
	}
	db, err := app.OpenStore(c.Mounts)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return printOwner(ctx, db, secret, to)
}

func printOwner(ctx context.Context, db *store.Store, secret access.Secret, to io.Writer) error {
	key, err := db.KeyOwner(ctx, secret.Hash())
	if user.KindOf(err) == user.NotFound {
		return errNobodys
	}
	if err != nil {
		return err
	}
	owner, err := db.Get(ctx, user.Ref{ID: key.UserID})
	if user.KindOf(err) == user.NotFound { // deleted meanwhile
		return errNobodys
	}
	if err != nil {
		return err
	}
	state := string(key.Status)
	switch {
	case key.Expired(time.Now()):
		state += ", expired at " + user.FormatTime(*key.ExpiresAt)
	case key.Hint != secret.Hint():
		state += ", rotated; this secret is the former one"
	}
	_, err = fmt.Fprintf(to, "user %s (%s, %s)\nkey  %s (%s, %s)\n", owner.ID, owner.Tag, owner.Status, key.ID, key.Name, state)
	return err
}
