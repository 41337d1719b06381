package app

import (
	"context"

	"aiadmin/pkg/access"
	"aiadmin/pkg/accessapi"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
	"aiadmin/pkg/httpapi"
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

// pingChecks asks a check that finds nobody: the database answers, and has the tables and columns.
func (a *App) pingChecks(ctx context.Context) error {
	_, err := a.store.Look(ctx, []access.Question{{KeyHash: new(access.Hash)}})
	return err
}
