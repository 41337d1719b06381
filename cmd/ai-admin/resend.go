package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/google/uuid"

	"aiadmin/pkg/app"
	"aiadmin/pkg/relay"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// resendCmd lets events that the sink refused for good be sent again.
type resendCmd struct {
	All    bool   `xor:"whose" help:"The parked events of all users."`
	User   string `xor:"whose" placeholder:"ID" help:"The parked events of one user."`
	DryRun bool   `help:"List them, and change nothing."`
	Mounts string `help:"Folder of the mounted volumes; default: ${default}." default:"/etc/ai-admin" placeholder:"DIR"`
}

// Help is the text that resend --help ends with.
func (resendCmd) Help() string {
	return `An event that the sink refused for good (a 4xx other than 408, 425 and 429) as often as
outbox.maxAttempts says is parked: it is not tried again, and its user's later events wait
behind it. /readyz?verbose and the metric ai_admin_outbox_parked count them. Once the
cause is fixed, this command has them tried again as if for the first time, each user's in
order. The running service takes them up within seconds; it need not be restarted.

Examples:

    ai-admin resend --dry-run
    ai-admin resend --user 01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e
    ai-admin resend --all
    kubectl exec POD -c user-container -- /ko-app/ai-admin resend --dry-run`
}

// listed bounds what a dry run prints.
const listed = 1000

// Run lists or releases the parked events.
func (c resendCmd) Run(ctx context.Context, s streams) error {
	var of uuid.UUID
	switch id, ok := user.ParseID(c.User); {
	case c.User != "" && !ok:
		return usage("--user=%s: must be a user's id, a UUID", c.User)
	case c.User != "":
		of = id
	case !c.All && !c.DryRun:
		return usage("say whose events: --all or --user=ID (--dry-run lists them)")
	}
	db, err := app.OpenStore(c.Mounts)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if c.DryRun {
		return c.list(ctx, s, db, of)
	}
	n, err := relay.Resend(ctx, db, of, user.AuditEntry{Actor: "ai-admin resend"})
	if err != nil {
		return store.Loggable(err)
	}
	if n == 0 && of != uuid.Nil {
		return fmt.Errorf("no event of user %s is parked (resend --dry-run lists those that are)", of)
	}
	_, err = fmt.Fprintf(s.out, "parked events that will be sent again: %d\n", n)
	return err
}

func (c resendCmd) list(ctx context.Context, s streams, db *store.Store, of uuid.UUID) error {
	parked, err := relay.ListParked(ctx, db, of, listed+1)
	if err != nil {
		return store.Loggable(err)
	}
	more := ""
	if len(parked) > listed {
		parked, more = parked[:listed], " or more"
	}
	if len(parked) > 0 {
		table := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(table, "USER\tEVENT\tTYPE\tCHANGED AT\tPARKED AT\tFAULT\tTRIES")
		for _, p := range parked {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", p.UserID, p.ID, p.Type,
				user.FormatTime(p.At), user.FormatTime(p.ParkedAt), p.Fault, p.Tries)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(s.out, "parked events: %d%s; nothing was changed\n", len(parked), more)
	return err
}
