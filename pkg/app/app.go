package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/config"
	"aiadmin/pkg/eventapi"
	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/mount"
	"aiadmin/pkg/outbox"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Options of an App.
type Options struct {
	Mounts string    // the folder of the volumes; empty is [DefaultMounts]
	Log    io.Writer // JSON log lines
	// Environment is what Knative sets.
	Environment Environment
	// RequestTimeout ends a request; 0 is 300 s.
	RequestTimeout time.Duration
}

// Environment holds the variables that Knative sets; the rest of the program reads none.
type Environment struct {
	Sink, Overrides   string // K_SINK, K_CE_OVERRIDES
	Service, Revision string // K_SERVICE, K_REVISION
}

// App is the service, wired.
type App struct {
	mounts   *Mounts
	store    *store.Store
	admin    *admin.Service
	auth     *auth.Authenticator
	outbox   *outbox.Outbox
	api      *httpapi.API
	metrics  *metrics
	log      *slog.Logger
	level    *slog.LevelVar
	started  config.Config // the settings that only a restart changes
	migrated atomic.Bool
	draining atomic.Pointer[func() bool]
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// New reads the mounts and wires the service. Wrong mounts are a [MountError].
func New(options Options) (*App, error) {
	if options.Mounts == "" {
		options.Mounts = DefaultMounts
	}
	mounts, err := OpenMounts(options.Mounts)
	if err != nil {
		return nil, err
	}
	settings := mounts.Config.Value()
	a := &App{mounts: mounts, level: new(slog.LevelVar), started: settings}
	a.level.Set(settings.LogLevel)
	a.log = slog.New(slog.NewJSONHandler(options.Log, &slog.HandlerOptions{Level: a.level}))
	if options.Environment.Revision != "" {
		a.log = a.log.With("service", options.Environment.Service, "revision", options.Environment.Revision)
	}
	if a.store, err = store.Open(store.Options{ConnString: mounts.Postgres.Value().ConnString().Reveal(),
		MaxConnections: settings.Database.MaxConnections}); err != nil {
		return nil, MountError{err}
	}
	a.auth, err = auth.New(auth.Options{Tokens: mounts.Auth.Value(), Issuers: issuers(settings.OIDC),
		Disabled: settings.Auth == config.AuthDisabled, Log: a.log})
	if err != nil {
		return nil, MountError{err}
	}
	a.metrics = newMetrics(a.store.Stats)
	a.admin = admin.New(a.store, mounts.Vault.Value(), kept(settings), admin.Options{Log: a.log, Refused: a.metrics.refused.Inc,
		Changed: func() { a.outbox.Wake() }})
	if a.outbox, err = outbox.New(a.outboxOptions(options, settings)); err != nil {
		return nil, MountError{err}
	}
	a.api = httpapi.New(a.routes(options, settings), corsRules(settings))
	a.follow()
	return a, nil
}

func (a *App) routes(options Options, settings config.Config) httpapi.Options {
	return httpapi.Options{Admin: a.admin, Authenticate: a.auth.Authenticate, Log: a.log, Ready: a.Ready,
		Verbose: a.verbose, Observe: a.metrics.served, Timeout: options.RequestTimeout,
		FissionCompat: settings.FissionCompat,
		Events: eventapi.New(eventapi.Options{Admin: a.admin, Source: settings.Source, Problem: httpapi.WriteProblem,
			ProblemJSON: httpapi.ProblemJSON, Actor: func(r *http.Request) string { return httpapi.Actor(r.Context()) }}),
		Schemas: http.HandlerFunc(a.schema),
		Stream:  a.outbox.ServeStream,
		AppendEvent: func(dst []byte, e user.Event) []byte {
			return cloudevent.AppendJSON(dst, e, settings.Source)
		},
	}
}

func (a *App) outboxOptions(options Options, settings config.Config) outbox.Options {
	return outbox.Options{Store: a.store, Sink: options.Environment.Sink, Overrides: options.Environment.Overrides,
		Source: settings.Source, MaxAttempts: settings.Outbox.MaxAttempts, MaxBackoff: settings.Outbox.MaxBackoff,
		Retention: func() outbox.Retention { return logRetention(a.mounts.Config.Value()) },
		Changes:   a.admin.Changes, Cursor: admin.EncodeCursor, Log: a.log, Metrics: a.metrics.registry}
}

func logRetention(c config.Config) outbox.Retention {
	claims := c.Retention.Claims
	if keys := c.Retention.IdempotencyKeys; claims == 0 || keys > 0 && keys < claims {
		claims = keys
	}
	return outbox.Retention{Claims: claims, History: c.Retention.History}
}

func kept(c config.Config) admin.Retention {
	return admin.Retention{Events: c.Retention.Claims, Requests: c.Retention.IdempotencyKeys}
}

func corsRules(c config.Config) httpapi.CORS { return httpapi.CORS(c.CORS) }

// follow takes changed volumes up where they are used.
func (a *App) follow() {
	a.mounts.Auth.OnChange(a.auth.SetTokens)
	a.mounts.Vault.OnChange(func(keys *vault.KeyRing) { a.admin.UseKeys(keys) })
	a.mounts.Postgres.OnChange(func(p config.Postgres) {
		if err := a.store.Reconnect(p.ConnString().Reveal()); err != nil {
			a.log.Error("new database settings refused, the last good ones stay in use", "error", err)
		}
	})
	a.mounts.Config.OnChange(func(c config.Config) {
		a.level.Set(c.LogLevel)
		a.admin.Keep(kept(c))
		a.api.UseCORS(corsRules(c))
		if changed := a.started.RestartNeeded(c); len(changed) > 0 {
			a.log.Warn("settings changed that take effect at the next start", "settings", changed)
		}
	})
}

// Handler serves every route but the metrics.
func (a *App) Handler() http.Handler { return a.api }

// Metrics serves the Prometheus metrics; it belongs on a port of its own.
func (a *App) Metrics() http.Handler { return a.metrics.handler() }

// MetricsPort is where the configuration wants the metrics; 0 is any free port.
func (a *App) MetricsPort() int { return a.started.MetricsPort }

// Log is where the service's log goes.
func (a *App) Log() *slog.Logger { return a.log }

// Start begins what runs beside requests and returns at once.
func (a *App) Start(ctx context.Context) {
	ctx, a.stop = context.WithCancel(ctx)
	a.running.Go(func() { mount.Watch(ctx, 0, a.log, a.metrics.reloaded, a.mounts.volumes()...) })
	a.running.Go(func() {
		a.migrate(ctx)
		if err := a.outbox.Run(ctx); err != nil {
			a.log.Error("the outbox has ended", "error", err)
		}
	})
}

const migrateRetry = time.Second

// migrate brings the database up to date, however long it takes to answer.
func (a *App) migrate(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.migrateOnce(ctx)
		if err == nil {
			a.migrated.Store(true)
			return
		}
		a.log.Error("the database is not ready; ai-admin migrate shows a failing migration whole", "error", store.Loggable(err))
		select {
		case <-ctx.Done():
		case <-time.After(migrateRetry):
		}
	}
}

func (a *App) migrateOnce(ctx context.Context) error {
	if !a.started.Database.MigrateOnStart {
		return a.store.Ping(ctx)
	}
	applied, err := a.store.Migrate(ctx)
	for _, name := range applied {
		a.log.Info("migrated", "migration", name)
	}
	return err
}

// Stop ends what Start began, and then closes the database.
func (a *App) Stop() error {
	if a.stop != nil {
		a.stop()
	}
	a.running.Wait()
	return a.store.Close()
}

// EndStreams ends the streams of the change feed, which would hold up a stop: their
// clients resume elsewhere.
func (a *App) EndStreams() { a.outbox.EndStreams() }

// DrainingWhen makes readiness fail while draining returns true.
func (a *App) DrainingWhen(draining func() bool) { a.draining.Store(&draining) }

const readyTimeout = 2 * time.Second

var (
	errDraining  = errors.New("the service is stopping")
	errMigrating = errors.New("migrations are not done: see the log, or run ai-admin migrate")
)

// Ready names the check that fails at present, with the reason.
func (a *App) Ready(ctx context.Context) (check string, err error) {
	if draining := a.draining.Load(); draining != nil && (*draining)() {
		return "shutdown", errDraining
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := a.store.Ping(ctx); user.KindOf(err) == user.Unavailable || user.KindOf(err) == user.Timeout {
		return "database", err
	} else if err != nil {
		return "migrations", err
	}
	if !a.migrated.Load() {
		return "migrations", errMigrating
	}
	return "", nil
}

// verbose tells what does not make the service unready but wants looking at.
func (a *App) verbose(ctx context.Context) map[string]any {
	mounts := "ok"
	if err := a.mounts.refused(); err != nil {
		mounts = "a changed volume is refused, the last good values are in use: see the log"
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	report := map[string]any{"mounts": mounts}
	if parked, err := a.outbox.Parked(ctx); err == nil {
		report["parked"] = parked
	}
	if oldest, err := a.outbox.OldestUnsent(ctx); err == nil && !oldest.IsZero() {
		report["oldestUnsent"] = user.FormatTime(oldest)
	}
	return report
}
