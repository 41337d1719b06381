package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/body"
	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/config"
	"aiadmin/pkg/console"
	"aiadmin/pkg/eventapi"
	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/janitor"
	"aiadmin/pkg/mount"
	"aiadmin/pkg/relay"
	"aiadmin/pkg/scimapi"
	"aiadmin/pkg/store"
	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Options of an App.
type Options struct {
	Mounts string    // the folder of the volumes; empty is /etc/ai-admin
	Log    io.Writer // log lines
	// LogHandler writes log lines in another form; nil writes JSON.
	LogHandler func(io.Writer, *slog.HandlerOptions) slog.Handler
	// Environment is what Knative sets.
	Environment Environment
	// Version is the tag or commit that the linker stamped, if any; see [Version].
	Version string
	// AccessOnly serves the check that gateways make, probes and metrics, and nothing else.
	AccessOnly bool
	// RequestTimeout ends a request; 0 is 300 s.
	RequestTimeout time.Duration
	// SignInOnce signs the first person in who opens the console with its code; nil for nobody.
	SignInOnce *console.Once
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
	relay    *relay.Relay     // nil where checks alone are served
	janitor  *janitor.Janitor // the same
	api      *httpapi.API
	metrics  *metrics
	version  string
	log      *slog.Logger
	level    *slog.LevelVar
	began    time.Time
	tracer   *tracing.Tracer
	started  config.Config // the settings that only a restart changes
	looked   chan struct{} // closed once the database has been looked at
	migrated atomic.Bool
	draining atomic.Pointer[func() bool]
	database chan struct{} // there are new database settings
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// New reads the mounts and wires the service. Wrong mounts are a [MountError].
func New(options Options) (_ *App, err error) {
	if options.Mounts == "" {
		options.Mounts = defaultMounts
	}
	mounts, err := openMounts(options.Mounts)
	if err != nil {
		return nil, err
	}
	settings := mounts.Config.Value()
	a := &App{mounts: mounts, version: Version(options.Version), level: new(slog.LevelVar), started: settings,
		began: time.Now(), looked: make(chan struct{}), database: make(chan struct{}, 1)}
	a.level.Set(settings.LogLevel)
	if options.LogHandler == nil {
		options.LogHandler = func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }
	}
	a.log = slog.New(tracing.LogHandler(options.LogHandler(options.Log, &slog.HandlerOptions{Level: a.level})))
	if options.Environment.Revision != "" {
		a.log = a.log.With("service", options.Environment.Service, "revision", options.Environment.Revision)
	}
	a.tracer, err = tracing.New(tracing.Options{Endpoint: settings.Tracing.Endpoint, SampleRatio: settings.Tracing.SampleRatio,
		Service: cmp.Or(options.Environment.Service, "ai-admin"), Version: a.version, Log: a.log})
	if err != nil {
		return nil, MountError{err}
	}
	if a.store, err = store.Open(store.Options{StatementSpans: statementSpans(a.tracer), SharedSpan: a.tracer.Shared, ConnString: mounts.Postgres.Value().ConnString().Reveal(),
		MaxConnections: settings.Database.MaxConnections}); err != nil {
		return nil, MountError{err}
	}
	defer func() {
		if err != nil {
			_ = a.store.Close() // it has no connection yet
		}
	}()
	a.auth, err = auth.New(auth.Options{Tokens: mounts.Auth.Value(), Issuers: settings.OIDC,
		Disabled: settings.Auth == config.AuthDisabled, Log: a.log})
	if err != nil {
		return nil, MountError{err}
	}
	a.metrics = newMetrics(a.version, a.store.Stats, a.checks)
	for _, volume := range mounts.volumes() {
		a.metrics.watched(volume.Name())
	}
	a.admin = admin.New(a.store, mounts.Vault.Value(), kept(settings), admin.Options{Log: a.log, Refused: a.metrics.refused.Inc, Audited: a.metrics.wroteAudit,
		Changed: a.changed, Tracer: a.tracer})
	if options.AccessOnly {
		a.api = httpapi.New(a.accessRoutes(options), corsRules(settings))
		a.follow()
		return a, nil
	}
	a.janitor = janitor.New(janitor.Options{Store: a.store, Retention: func() janitor.Retention { return logRetention(a.mounts.Config.Value()) },
		Sends: a.sending, Log: a.log, Metrics: a.metrics.registry})
	a.api = httpapi.New(a.routes(options, settings), corsRules(settings))
	a.metrics.streams(a.api.OpenStreams)
	if a.relay, err = relay.New(a.relayOptions(options, settings)); err != nil {
		return nil, MountError{err}
	}
	a.follow()
	return a, nil
}

// statementSpans returns what makes a span of each statement, nil for none. It shows no statement, since many
// hold values. Preparing one, which is nearly always a look into the cache, is no span.
func statementSpans(t *tracing.Tracer) pgx.QueryTracer {
	if t == nil {
		return nil
	}
	tracer := otelpgx.NewTracer(otelpgx.WithTracerProvider(t.Provider()), otelpgx.WithMeterProvider(noop.NewMeterProvider()),
		otelpgx.WithDisableSQLStatementInAttributes(), otelpgx.WithDisableConnectionDetailsInAttributes(),
		otelpgx.WithSpanNameFunc(func(string) string { return "statement" }))
	return struct {
		pgx.QueryTracer
		pgx.BatchTracer
	}{tracer, tracer}
}

func (a *App) routes(options Options, settings config.Config) httpapi.Options {
	gate := httpapi.NewGate(0)
	made := httpapi.Options{Admin: a.admin, Tracer: a.tracer, Gate: gate, SCIM: a.scim(gate), Version: a.version, Authenticate: a.auth.Authenticate, Log: a.log, Ready: a.Ready,
		Verbose: a.verbose, Observe: a.metrics.served, Imported: a.metrics.importedLines, Timeout: options.RequestTimeout,
		FissionCompat: settings.FissionCompat,
		Events:        eventapi.New(eventapi.Options{Admin: a.admin, Source: settings.Source, Enter: gate.Enter, Tracer: a.tracer}),
		Schemas:       http.HandlerFunc(a.schema),
		Access:        a.access(),
		Cursor:        admin.EncodeCursor,
		AppendEvent: func(dst []byte, e user.Event) []byte {
			return cloudevent.AppendJSON(dst, e, settings.Source)
		},
	}
	if settings.Console.Enabled {
		made.Console = func(routes http.Handler) http.Handler { return a.console(routes, gate, options) }
	}
	return made
}

// largeBodies are the limits of requests that change groups.
var largeBodies = body.Limits{Most: 8 << 20, Total: 16 << 20, Reserved: 2}

func (a *App) scim(gate *httpapi.Gate) *scimapi.API {
	return scimapi.New(scimapi.Options{Admin: a.admin, Authorize: func(r *http.Request, scopes ...auth.Scope) (auth.Caller, error) {
		return a.api.Authorize(r, scopes...)
	},
		Enter: gate.Enter, Users: body.NewBudget(body.OneChange, gate.Enter), Groups: body.NewBudget(largeBodies, gate.Enter), Audit: a.admin.Audit,
		GrantAdmin: func() bool { return a.mounts.Config.Value().SCIM.GrantAdmin },
		Observe:    a.metrics.provisioned, Log: a.log})
}

func (a *App) relayOptions(options Options, settings config.Config) relay.Options {
	return relay.Options{Store: a.store, Tracer: a.tracer, Sink: options.Environment.Sink, Overrides: options.Environment.Overrides,
		Source: settings.Source, MaxAttempts: settings.Outbox.MaxAttempts, MaxBackoff: settings.Outbox.MaxBackoff,
		Notice: a.api.Wake, Sent: a.janitor.Wake, Log: a.log, Metrics: a.metrics.registry}
}

// changed is called when events have been committed by this process.
func (a *App) changed() {
	a.api.Wake()
	a.relay.Wake()
	a.janitor.Changed()
	if !a.relay.Sends() { // what is erased waits for no sink
		a.janitor.Wake()
	}
}

// sending reports whether this process or another one sends events to a sink: while a rollout adds or removes the
// sink, what one copy has still to send is not for the other to remove.
func (a *App) sending(ctx context.Context) bool {
	if a.relay.Sends() {
		return true
	}
	others, err := relay.Sending(ctx, a.store)
	return others || err != nil
}

func logRetention(c config.Config) janitor.Retention {
	claims := c.Retention.Claims
	if keys := c.Retention.IdempotencyKeys; claims == 0 || keys > 0 && keys < claims {
		claims = keys
	}
	return janitor.Retention{Claims: claims, History: c.Retention.History, Audit: c.Retention.Audit}
}

func kept(c config.Config) admin.Retention {
	return admin.Retention{Events: c.Retention.Claims, Requests: c.Retention.IdempotencyKeys}
}

func corsRules(c config.Config) httpapi.CORS { return httpapi.CORS(c.CORS) }

// follow takes changed volumes up where they are used.
func (a *App) follow() {
	a.mounts.Auth.OnChange(a.auth.SetTokens)
	a.mounts.Vault.OnChange(func(keys *vault.KeyRing) { a.admin.UseKeys(keys) })
	a.mounts.Postgres.OnChange(func(config.Postgres) {
		select {
		case a.database <- struct{}{}:
		default: // the next trial is of the newest value
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

// followDatabase takes up new database settings once a connection can be made by them. Until then
// the last good ones stay in use: a wrong password must not end connections that work.
func (a *App) followDatabase(ctx context.Context) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.database:
		case <-again:
		}
		again = nil
		err := a.store.Reconnect(ctx, a.mounts.Postgres.Value().ConnString().Reveal())
		if err == nil {
			a.log.Info("new database settings are in use")
			continue
		}
		if ctx.Err() == nil {
			a.log.Error("new database settings do not work yet, the last good ones stay in use", "error", err)
		}
		again = time.After(reconnectRetry)
	}
}

const (
	reconnectRetry = 5 * time.Second
	mountsEvery    = time.Second // a volume is read
)

// Handler serves every route but the metrics.
func (a *App) Handler() http.Handler { return a.api }

// Metrics serves the Prometheus metrics; it belongs on a port of its own.
func (a *App) Metrics() http.Handler { return a.metrics.handler() }

// MetricsPort is where the configuration wants the metrics; 0 is any free port.
func (a *App) MetricsPort() int { return a.started.MetricsPort }

// Start begins what runs beside requests and returns at once.
func (a *App) Start(ctx context.Context) {
	ctx, a.stop = context.WithCancel(ctx)
	a.log.Info("starting", "version", a.version, "go", runtime.Version())
	a.running.Go(func() { a.followDatabase(ctx) })
	a.running.Go(func() { mount.Watch(ctx, mountsEvery, a.log, a.metrics.reloaded, a.mounts.volumes()...) })
	a.running.Go(func() { a.admin.KeepAudit(ctx) })
	a.running.Go(func() { a.admin.KeepUses(ctx) })
	if a.relay == nil { // checks alone are served: the administration or ai-admin migrate changes the schema, and this role may not
		a.running.Go(func() { a.awaitDatabase(ctx, a.pingChecks, "checks cannot be answered yet") })
		return
	}
	a.running.Go(func() {
		a.awaitDatabase(ctx, a.migrate, "the database is not ready; ai-admin migrate shows a failing migration whole")
		a.mendFeed(ctx)
		a.running.Go(func() { a.janitor.Run(ctx) })
		a.relay.Run(ctx)
	})
}

// Stop ends what Start began, and then closes the database.
func (a *App) Stop() error {
	if a.stop != nil {
		a.stop()
	}
	a.running.Wait()
	return errors.Join(a.store.Close(), a.tracer.Stop())
}

// EndStreams ends the streams of the change feed, which would hold up a stop: their
// clients resume elsewhere.
func (a *App) EndStreams() { a.api.EndStreams() }

// DrainingWhen makes readiness fail while draining returns true.
func (a *App) DrainingWhen(draining func() bool) { a.draining.Store(&draining) }

// schema serves the JSON Schemas that events name in dataschema.
func (a *App) schema(w http.ResponseWriter, r *http.Request) {
	text, ok := cloudevent.Schema(r.PathValue("name"))
	if !ok {
		a.api.Problem(w, r, user.Errorf(user.NotFound, "no such schema"))
		return
	}
	w.Header().Set("Content-Type", cloudevent.SchemaType)
	_, _ = w.Write(text) // the client is gone when this fails
}
