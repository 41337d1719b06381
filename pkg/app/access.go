package app

import (
	"context"
	"time"

	"aiadmin/pkg/access"
	"aiadmin/pkg/accessapi"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/store"
)

// access serves the check that gateways make.
func (a *App) access() *accessapi.Handler {
	return accessapi.New(accessapi.Options{Checker: a.admin, Log: a.log, Observe: a.metrics.checked,
		Settings: func() accessapi.Settings {
			settings := a.mounts.Config.Value().Access
			return accessapi.Settings{TokenOptional: settings.GatewayToken == config.TokenOptional, MaxAge: settings.MaxAge}
		},
		Authenticate: func(ctx context.Context, authorization string) (auth.Caller, error) {
			return httpapi.Identify(ctx, a.auth.Authenticate, authorization)
		}})
}

// accessRoutes are those of a process that serves checks, probes and metrics alone.
func (a *App) accessRoutes(options Options) httpapi.Options {
	return httpapi.Options{Log: a.log, Ready: a.Ready, Observe: a.metrics.served, Timeout: options.RequestTimeout, Version: a.version, Access: a.access()}
}

// awaitTables waits until the database answers a check. A process that serves checks alone changes no
// schema, and its role need not be able to: the administration or ai-admin migrate does.
func (a *App) awaitTables(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.pingChecks(ctx)
		a.migrated.Store(err == nil)
		if err == nil {
			break
		}
		a.log.Error("checks cannot be answered yet", "error", store.Loggable(err))
		select {
		case <-ctx.Done():
		case <-time.After(migrateRetry):
		}
	}
	close(a.looked)
}

// pingChecks asks a check that finds nobody: the database answers, and has the tables and columns.
func (a *App) pingChecks(ctx context.Context) error {
	_, err := a.store.Look(ctx, []access.Question{{KeyHash: new(access.Hash)}})
	return err
}
