// Package config reads the settings that operators write: config.yaml of the config
// volume, and the postgres volume. Both are parsed whole into structs, with every
// problem reported at once, so that the rest of the program gets values and never looks
// at a file or at the environment.
package config

import (
	"log/slog"
	"time"
)

// Config is config.yaml. CORS, Retention and LogLevel change while the service runs; the
// others take effect at the next start (see [Config.RestartNeeded]).
type Config struct {
	Auth          AuthMode
	CORS          CORS
	OIDC          []OIDC
	Source        string // the source of outgoing events, a URI reference (CloudEvents 1.0 section 3)
	Retention     Retention
	Database      Database
	Outbox        Outbox
	MetricsPort   int // 0: any free port
	LogLevel      slog.Level
	FissionCompat bool // serve paths without a user id by the old router's headers
}

// AuthMode says whether callers must show who they are.
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

// OIDC is one issuer whose tokens are accepted for one audience.
type OIDC struct {
	Issuer   string // URL, exactly as in the tokens' iss
	Audience string
	Scopes   []Grant
}

// Grant gives scopes to the tokens of which Claim is, or holds, Value.
type Grant struct {
	Claim, Value string
	Grant        []string // users:read, users:write, credentials:read, events:send, admin
}

// Retention is how long things are kept; 0 is for good.
type Retention struct {
	Claims          time.Duration // which events were applied: a duplicate after that is a new event
	IdempotencyKeys time.Duration
	History         time.Duration // history and change feed
}

// Database is how the database is used; where it is says the postgres volume.
type Database struct {
	MaxConnections int
	MigrateOnStart bool
}

// Outbox is how stubbornly outgoing events are sent.
type Outbox struct {
	MaxAttempts int           // an event refused for good that often is parked
	MaxBackoff  time.Duration // the longest wait between two tries
}

// Default is an empty config.yaml.
func Default() Config {
	return Config{
		Auth:        AuthRequired,
		Source:      "/ai/admin/users",
		Retention:   Retention{Claims: 7 * 24 * time.Hour, IdempotencyKeys: 24 * time.Hour},
		Database:    Database{MaxConnections: 12, MigrateOnStart: true},
		Outbox:      Outbox{MaxAttempts: 20, MaxBackoff: 5 * time.Minute},
		MetricsPort: 9095,
		LogLevel:    slog.LevelInfo,
	}
}
