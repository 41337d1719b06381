package main

import "context"

// auditCmd groups the commands about the audit log; each asks a running service.
type auditCmd struct {
	List    auditListCmd    `cmd:"" help:"Show the audit log, newest first." set:"where=actor=console, action=key.created, userId=…, from=…, to=…" example:"ai-admin audit list action=token.refused --limit 20"`
	History auditHistoryCmd `cmd:"" help:"Show who changed what about any user, newest first." set:"where=actor=console, field=status, from=…, to=…" example:"ai-admin audit history field=role actor=console"`
	Export  auditExportCmd  `cmd:"" help:"Write the audit log into a file." set:"where=actor=console, action=key.created, userId=…, from=…, to=…" example:"ai-admin audit export from=2026-11-01T00:00:00Z --out november.ndjson"`
}

// Help is the text that audit --help ends with.
func (auditCmd) Help() string {
	return "Example:\n\n    ai-admin audit list action=credential.revealed from=2026-11-01T00:00:00Z\n\n" + profilesHelp
}

type auditListCmd struct{ listing }

// Run shows the audit log.
func (c *auditListCmd) Run(ctx context.Context, s *service) error {
	return c.list(ctx, s, "/ai/admin/audit", "audit",
		[]string{"at", "actor", "action", "userId", "provider", "keyId", "sourceIP", "outcome", "detail"})
}

type auditHistoryCmd struct{ listing }

// Run shows the history of all users.
func (c *auditHistoryCmd) Run(ctx context.Context, s *service) error {
	return c.list(ctx, s, "/ai/admin/history", "history", []string{"at", "actor", "userId", "version", "type", "changed"})
}

type auditExportCmd struct {
	exporting `set:"outputs=ndjson alone"`
}

// Run exports the audit log.
func (c *auditExportCmd) Run(ctx context.Context, s *service) error {
	if c.Output == "json" || c.Output == "csv" || formatOf(c.Out) == "csv" {
		return usage("the audit log is exported as ndjson alone")
	}
	return c.export(ctx, s, "/ai/admin/audit", "ndjson", "entry", "entries")
}
