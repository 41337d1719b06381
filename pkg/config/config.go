// Package config reads the settings that operators write: config.yaml of the config
// volume, and the postgres volume. Both are parsed whole into structs, with every
// problem reported at once, so that the rest of the program gets values and never looks
// at a file or at the environment.
package config

import (
	"log/slog"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"aiadmin/pkg/auth"
)

// Config is config.yaml. Changes of CORS, Retention, Access, SCIM and LogLevel take effect while the
// service runs; the others at the next start (see [Config.RestartNeeded]).
type Config struct {
	Auth          AuthMode
	CORS          CORS
	OIDC          []auth.Issuer
	Source        string // the source of outgoing events, a URI reference (CloudEvents 1.0 section 3)
	Retention     Retention
	Database      Database
	Outbox        Outbox
	Access        Access
	Tracing       Tracing
	MetricsPort   int // 0: any free port
	LogLevel      slog.Level
	Console       Console
	FissionCompat bool // serve paths without a user id by the old router's headers
	SCIM          SCIM
}

// SCIM is what identity providers may do.
type SCIM struct {
	GrantAdmin bool // make, suspend and delete admins
}

// AuthMode says whether callers must authenticate.
type AuthMode string

// The two modes; AuthRequired is the default.
const (
	AuthRequired AuthMode = "required"
	AuthDisabled AuthMode = "disabled"
)

// CORS is what browsers may do from other origins.
type CORS struct {
	AllowedOrigins   []string // as browsers send them: lower case, no default port; or "*" alone
	AllowCredentials bool
}

// Console is the web pages for administrators.
type Console struct {
	Enabled bool
}

// Retention says how long things are kept; 0 keeps them for good.
type Retention struct {
	Claims          time.Duration // how long applied events are remembered: a repetition after that is applied again
	IdempotencyKeys time.Duration
	History         time.Duration // history and change feed
	Audit           time.Duration // the audit log
}

// Database says how the database is used; the postgres volume says where it is.
type Database struct {
	MaxConnections int
	MigrateOnStart bool
}

// Outbox says how persistently outgoing events are sent.
type Outbox struct {
	MaxAttempts int           // refusals after which an event is parked
	MaxBackoff  time.Duration // the longest wait between two tries
}

// Tracing is where spans go.
type Tracing struct {
	Endpoint    string  // of an OTLP/HTTP receiver; empty: no spans are made
	SampleRatio float64 // of the traces that begin here
}

// Access is how gateways ask whether a caller may use a model.
type Access struct {
	GatewayToken GatewayToken
	MaxAge       time.Duration // how long a gateway may cache an allowed check; 0: not at all
}

// GatewayToken says whether a gateway must show a token of its own to ask.
type GatewayToken string

// The two modes; TokenRequired is the default.
const (
	TokenRequired GatewayToken = "required"
	TokenOptional GatewayToken = "optional" // a key may ask about itself alone
)

// Default is an empty config.yaml.
func Default() Config {
	return Config{
		Auth:        AuthRequired,
		Source:      "/ai/admin/users",
		Retention:   Retention{Claims: 7 * 24 * time.Hour, IdempotencyKeys: 24 * time.Hour},
		Database:    Database{MaxConnections: 12, MigrateOnStart: true},
		Outbox:      Outbox{MaxAttempts: 20, MaxBackoff: 5 * time.Minute},
		Access:      Access{GatewayToken: TokenRequired},
		Tracing:     Tracing{SampleRatio: 0.1},
		MetricsPort: 9095,
		LogLevel:    slog.LevelInfo,
	}
}

// forever bounds durations: ten years.
const forever = 10 * 365 * 24 * time.Hour

// Parse reads config.yaml from the files of the config volume; without it, or with an
// empty one, everything has its default. The error joins every problem, one line each,
// as "config.yaml:<line>: <path>: <what is expected>".
func Parse(files map[string]string) (Config, error) {
	c := Default()
	found := problems{file: "config.yaml"}
	root := found.document(files[found.file])
	if root != nil {
		found.read(object(c.schema()), root, "")
		found.checkTogether(c, root)
	}
	if err := found.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// schema lists everything that config.yaml may hold.
func (c *Config) schema() fields {
	return fields{
		"auth": oneOf(&c.Auth, map[string]AuthMode{"required": AuthRequired, "disabled": AuthDisabled}),
		"cors": object(fields{
			"allowedOrigins":   list(&c.CORS.AllowedOrigins, 0, 100, origin),
			"allowCredentials": boolean(&c.CORS.AllowCredentials),
		}),
		"oidc":   list(&c.OIDC, 0, 20, oidcEntry),
		"source": text(&c.Source, sourceRule),
		"retention": object(fields{
			"claims":          duration(&c.Retention.Claims, 0, forever),
			"idempotencyKeys": duration(&c.Retention.IdempotencyKeys, 0, forever),
			"history":         duration(&c.Retention.History, 0, forever),
			"audit":           duration(&c.Retention.Audit, 0, forever),
		}),
		"database": object(fields{
			"maxConnections": integer(&c.Database.MaxConnections, 1, 1000),
			"migrateOnStart": boolean(&c.Database.MigrateOnStart),
		}),
		"outbox": object(fields{
			"maxAttempts": integer(&c.Outbox.MaxAttempts, 1, 10_000),
			"maxBackoff":  duration(&c.Outbox.MaxBackoff, 10*time.Millisecond, 24*time.Hour),
		}),
		"access": object(fields{
			"gatewayToken": oneOf(&c.Access.GatewayToken, map[string]GatewayToken{"required": TokenRequired, "optional": TokenOptional}),
			"maxAge":       duration(&c.Access.MaxAge, 0, time.Minute),
		}),
		"tracing": object(fields{
			"endpoint":    text(&c.Tracing.Endpoint, endpointRule),
			"sampleRatio": ratio(&c.Tracing.SampleRatio),
		}),
		"metricsPort":   integer(&c.MetricsPort, 0, 65535),
		"logLevel":      oneOf(&c.LogLevel, logLevels),
		"console":       object(fields{"enabled": boolean(&c.Console.Enabled)}),
		"fissionCompat": boolean(&c.FissionCompat),
		"scim":          object(fields{"grantAdmin": boolean(&c.SCIM.GrantAdmin)}),
	}
}

func origin(o *string) field { return text(o, originRule) }

func oidcEntry(o *auth.Issuer) field {
	return object(fields{
		"issuer":   text(&o.Issuer, issuerRule),
		"audience": text(&o.Audience, nameRule),
		"clientID": text(&o.ClientID, nameRule),
		"scopes":   list(&o.Grants, 1, 100, grantEntry),
	}, "issuer", "audience", "scopes")
}

func grantEntry(g *auth.Grant) field {
	return object(fields{
		"claim": text(&g.Claim, nameRule),
		"value": claimValue(&g.Value),
		"grant": list(&g.Scopes, 1, len(auth.Scopes()), scope),
	}, "claim", "value", "grant")
}

// scope reads the name of a scope.
func scope(s *auth.Scope) field {
	return func(found *problems, n *yaml.Node, path string) {
		name, _ := textOf(n)
		read, err := auth.ParseScope(name)
		if err != nil {
			found.add(n, path, err.Error())
			return
		}
		*s = read
	}
}

// checkTogether checks settings that are valid alone but not together.
func (p *problems) checkTogether(c Config, root *yaml.Node) {
	if !slices.Contains(c.CORS.AllowedOrigins, "*") {
		return
	}
	if len(c.CORS.AllowedOrigins) > 1 {
		p.add(root, "cors.allowedOrigins", "must be * alone, or a list of origins without it")
	}
	// Fetch standard section 3.2.5: browsers refuse the pair, and to echo every origin
	// instead would let any web page act with its visitor's credentials.
	if c.CORS.AllowCredentials {
		p.add(root, "cors.allowCredentials", "must be false beside the origin *: list the origins instead")
	}
}

// RestartNeeded names the settings that differ in next and take effect only at the next start.
// Settings that take effect while the service runs are never among them.
func (c Config) RestartNeeded(next Config) []string {
	var changed []string
	for _, setting := range []struct {
		name     string
		old, new any
	}{
		{"auth", c.Auth, next.Auth},
		{"oidc", c.OIDC, next.OIDC},
		{"source", c.Source, next.Source},
		{"database", c.Database, next.Database},
		{"outbox", c.Outbox, next.Outbox},
		{"tracing", c.Tracing, next.Tracing},
		{"metricsPort", c.MetricsPort, next.MetricsPort},
		{"console", c.Console, next.Console},
		{"fissionCompat", c.FissionCompat, next.FissionCompat},
	} {
		if !reflect.DeepEqual(setting.old, setting.new) {
			changed = append(changed, setting.name)
		}
	}
	return changed
}
