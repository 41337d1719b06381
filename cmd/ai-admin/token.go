package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
	"aiadmin/pkg/secret"
)

// tokenCmd makes a bearer token. The token itself goes to stdout alone and is kept
// nowhere: the service knows it by its hash.
type tokenCmd struct {
	Name      string         `required:"" placeholder:"NAME" help:"Whose token it is, as logs and history will show it."`
	Scope     scopes         `required:"" placeholder:"SCOPE" help:"What it may do; repeatable: ${scopes} (admin is all)."`
	ExpiresIn *time.Duration `placeholder:"DURATION" xor:"expiry" help:"How long it is accepted, such as 720h; default: until its entry is removed."`
	ExpiresAt *time.Time     `placeholder:"TIME" xor:"expiry" help:"When it stops being accepted, such as 2027-01-31T00:00:00Z."`
	Append    string         `placeholder:"FILE" help:"Add the entry to this tokens.json, which is created if missing."`
}

// scopes are the names of what a token may do.
type scopes []string

// Validate is called by kong where the flag is given.
func (s scopes) Validate() error {
	_, err := s.parse()
	return err
}

func (s scopes) parse() ([]auth.Scope, error) {
	parsed := make([]auth.Scope, len(s))
	for i, name := range s {
		scope, err := auth.ParseScope(name)
		if err != nil {
			return nil, err
		}
		parsed[i] = scope
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("must be one of %s", auth.ScopeNames())
	}
	return parsed, nil
}

// Help is shown by --help below the flags.
func (tokenCmd) Help() string {
	return `Prints the token, this once, and the entry that auth/tokens.json needs for it. With
--append the entry goes into the file instead, and the token is all that is printed.

Examples:

    ai-admin token --name console --scope users:read --scope users:write
    ai-admin token --name ops --scope admin --append tokens.json
    ai-admin token --name contractor --scope users:read --expires-in 720h
    TOKEN=$(ai-admin token --name hr --scope events:send --append tokens.json)

The entries of tokens.json are a JSON list; put it where the service reads it:

    kubectl create secret generic ai-admin-auth --from-file=tokens.json \
        --dry-run=client -o yaml | kubectl apply -f -

A running service takes up a changed file within two seconds (Kubernetes needs up to a
minute to bring it there), and refuses the tokens whose entries are gone.`
}

// Run makes the token. A name, scope or expiry that cannot be is wrong usage, exit code 2.
func (c tokenCmd) Run(s streams) error {
	plain, entry, err := c.newToken()
	if err != nil {
		return usage("%w", err)
	}
	if c.Append != "" {
		if err := appendToken(c.Append, entry); err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, plain.Reveal())
		return err
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n%s\n", plain.Reveal(), line)
	return err
}

// newToken makes the token and its entry.
func (c tokenCmd) newToken() (plain secret.Text, entry auth.Token, err error) {
	if err := auth.CheckTokenName(c.Name); err != nil {
		return plain, entry, fmt.Errorf("--name: %w", err)
	}
	granted, err := c.Scope.parse()
	if err != nil {
		return plain, entry, fmt.Errorf("--scope: %w", err)
	}
	if plain, entry, err = auth.NewToken(c.Name, granted...); err != nil {
		return plain, entry, err
	}
	entry.ExpiresAt, err = c.expiry(time.Now())
	return plain, entry, err
}

// expiry is when the token ends; the zero time is never.
func (c tokenCmd) expiry(now time.Time) (time.Time, error) {
	switch {
	case c.ExpiresIn != nil && *c.ExpiresIn < time.Second:
		return time.Time{}, fmt.Errorf("--expires-in=%v: must be a duration from now on, such as 720h", c.ExpiresIn)
	case c.ExpiresIn != nil:
		return now.Add(*c.ExpiresIn).UTC().Truncate(time.Second), nil
	case c.ExpiresAt != nil && !c.ExpiresAt.After(now):
		return time.Time{}, fmt.Errorf("--expires-at=%s: must be a time to come", c.ExpiresAt.Format(time.RFC3339))
	case c.ExpiresAt != nil:
		return *c.ExpiresAt, nil
	}
	return time.Time{}, nil
}

// appendToken adds an entry to a tokens.json. The file is replaced as a whole, so that
// a service that reads it meanwhile sees all or nothing; one that is broken, or has a
// token of that name, is left alone.
func appendToken(file string, entry auth.Token) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target // a rename would replace the link
	}
	unlock, err := lockFolder(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer unlock()
	tokens, err := readTokens(file)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(append(tokens, entry), "", "  ")
	if err != nil {
		return err
	}
	if _, err := config.ParseTokens(map[string]string{config.TokensFile: string(text)}); err != nil {
		return fmt.Errorf("%s stays as it was, the new entry does not fit in: %w", file, err)
	}
	return writeFile(file, func(to io.Writer) error {
		_, err := to.Write(append(text, '\n'))
		return err
	})
}

// lockFolder keeps two runs from each writing a file without the other's entry.
func lockFolder(folder string) (unlock func(), err error) {
	handle, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(handle.Fd()), syscall.LOCK_EX); err != nil {
		_ = handle.Close()
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return func() { _ = handle.Close() }, nil
}

func readTokens(file string) ([]auth.Token, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: must be a plain file, no directory and no device", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	tokens, err := config.ParseTokens(map[string]string{config.TokensFile: strings.TrimSpace(string(text))})
	if err != nil {
		return nil, fmt.Errorf("%s stays as it was: %w", file, err)
	}
	return tokens, nil
}
