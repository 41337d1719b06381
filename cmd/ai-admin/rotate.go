package main

import (
	"context"
	"fmt"
	"time"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/app"
)

type rotateCmd struct {
	Mounts string `help:"Folder of the mounted volumes; default: ${default}." default:"/etc/ai-admin" placeholder:"DIR"`
}

// Help is the text that rotate --help ends with.
func (rotateCmd) Help() string {
	return `Seals every stored credential that is not under the key named by vault/PRIMARY with that
key, the old function's values included. The service may keep running; if this command is
interrupted, the next run continues. It waits up to a minute for a user that another
session has locked, and keeps no user locked meanwhile.

To rotate: add the new key to the vault volume, let every copy of the service take it up,
name it in PRIMARY, let every copy take that up, and run this. Remove the old key once a
further run names the new one and finds nothing left to seal.`
}

const progressEvery = time.Second

func (c rotateCmd) Run(ctx context.Context, s streams) error {
	service, closeStore, err := app.OpenAdmin(c.Mounts, s.err)
	if err != nil {
		return err
	}
	defer closeStore()
	last := time.Now()
	done, err := service.Rotate(ctx, func(r admin.Rotation) {
		if time.Since(last) >= progressEvery {
			last = time.Now()
			fmt.Fprintf(s.err, "%d of %d resealed%s\n", r.Resealed, r.Total, waiting(r.Held))
		}
	})
	if err != nil && done.Total == 0 { // it came to nothing
		return err
	}
	if err == nil && done.Total == 0 {
		values := "values are"
		if done.Already == 1 {
			values = "value is"
		}
		_, err = fmt.Fprintf(s.out, "nothing to reseal: %d %s under the primary key %s already\n", done.Already, values, done.KeyID)
		return err
	}
	fmt.Fprintf(s.out, "under the primary key %s: %d of %d values resealed, %d written anew or deleted meanwhile, %d refused\n",
		done.KeyID, done.Resealed, done.Total, max(0, done.Total-done.Resealed-done.Refused), done.Refused)
	return err
}

func waiting(held int64) string {
	if held == 0 {
		return ""
	}
	return fmt.Sprintf(", %d users are held by another session", held)
}
