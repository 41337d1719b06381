package main

import (
	"context"
	"fmt"
)

// auditCmd groups the commands about the audit log; each asks a running service.
type auditCmd struct {
	List    auditListCmd    `cmd:"" help:"Show the audit log, newest first."`
	History auditHistoryCmd `cmd:"" help:"Show who changed what about any user, newest first."`
	Export  auditExportCmd  `cmd:"" help:"Write the audit log into a file."`
}

// Help is the text that audit --help ends with.
func (auditCmd) Help() string {
	return "Example:\n\n    ai-admin audit list action=credential.revealed from=2026-11-01T00:00:00Z\n\n" + profilesHelp
}

type auditListCmd struct {
	connection
	Where []string `arg:"" optional:"" help:"Conditions, as in the API: actor=console, action=key.created, userId=…, from=…, to=…"`
	Limit int      `default:"50" help:"How many to show at most."`
	All   bool     `help:"Show all."`
}

// Help is the text that audit list --help ends with.
func (auditListCmd) Help() string {
	return "Example:\n\n    ai-admin audit list action=token.refused --limit 20"
}

// Run shows the audit log.
func (c *auditListCmd) Run(ctx context.Context, s streams) error {
	values, err := conditions(c.Where)
	if err != nil {
		return err
	}
	return listPages(ctx, s, &c.connection, "/ai/admin/audit", "audit", values, c.Limit, c.All,
		[]string{"at", "actor", "action", "userId", "provider", "keyId", "sourceIP", "outcome", "detail"})
}

type auditHistoryCmd struct {
	connection
	Where []string `arg:"" optional:"" help:"Conditions, as in the API: actor=console, field=status, from=…, to=…"`
	Limit int      `default:"50" help:"How many to show at most."`
	All   bool     `help:"Show all."`
}

// Help is the text that audit history --help ends with.
func (auditHistoryCmd) Help() string {
	return "Example:\n\n    ai-admin audit history field=role actor=console"
}

// Run shows the history of all users.
func (c *auditHistoryCmd) Run(ctx context.Context, s streams) error {
	values, err := conditions(c.Where)
	if err != nil {
		return err
	}
	return listPages(ctx, s, &c.connection, "/ai/admin/history", "history", values, c.Limit, c.All,
		[]string{"at", "actor", "userId", "version", "type", "changed"})
}

type auditExportCmd struct {
	connection
	Where []string `arg:"" optional:"" help:"Conditions, as in the API: actor=console, action=key.created, userId=…, from=…, to=…"`
	Out   string   `placeholder:"FILE" help:"Where to write; default: standard output. The file appears once it is complete."`
}

// Help is the text that audit export --help ends with.
func (auditExportCmd) Help() string {
	return "Example:\n\n    ai-admin audit export from=2026-11-01T00:00:00Z --out november.ndjson"
}

// Run exports the audit log.
func (c *auditExportCmd) Run(ctx context.Context, s streams) error {
	service, err := c.open(s)
	if err != nil {
		return err
	}
	values, err := conditions(c.Where)
	if err != nil {
		return err
	}
	if c.Output == "json" || c.Output == "csv" || formatOf("", c.Out) != "ndjson" {
		return usage("the audit log is exported as ndjson alone")
	}
	n, err := service.download(ctx, "/ai/admin/audit?"+values.Encode(), "ndjson", c.Out)
	if err == nil {
		fmt.Fprintf(s.err, "%d entries\n", n)
	}
	return err
}
