package main

import (
	"context"
	"fmt"

	"aiadmin/pkg/app"
)

type migrateCmd struct {
	Mounts string `help:"Folder of the mounted volumes; default: ${default}." default:"/etc/ai-admin" placeholder:"DIR"`
}

// Help is the text that migrate --help ends with.
func (migrateCmd) Help() string {
	return `Brings the database to this version's schema and ends; for a Job that runs before a
rollout, with database.migrateOnStart: false. Any number of copies may run at once.`
}

func (c migrateCmd) Run(ctx context.Context, s streams) error {
	db, err := app.OpenStore(c.Mounts)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	applied, err := db.Migrate(ctx, func(users int) { fmt.Fprintf(s.err, "comparison and search forms: %d users\n", users) })
	if err != nil {
		return err
	}
	for _, name := range applied {
		fmt.Fprintln(s.out, "applied", name)
	}
	conflicts, err := db.FormConflicts(ctx)
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		fmt.Fprintf(s.out, "conflict: %s of user %s is another user's too: change or delete one of them\n", c.Field, c.UserID)
	}
	_, err = fmt.Fprintf(s.out, "%d migrations applied, the database is up to date\n", len(applied))
	return err
}
