package config

import (
	"errors"
	"time"
)

// forever bounds durations: ten years.
const forever = 10 * 365 * 24 * time.Hour

// Parse reads config.yaml from the files of the config volume; without it, or with an
// empty one, everything has its default. The error joins every problem, one line each,
// as "config.yaml:<line>: <path>: <what is expected>".
func Parse(files map[string]string) (Config, error) {
	c := Default()
	var found problems
	root := found.document(files[yamlFile])
	if root != nil {
		found.read(object(c.schema()), root, "")
		found.checkTogether(c, root)
	}
	if len(found) > 0 {
		return Config{}, errors.Join(found...)
	}
	return c, nil
}

// schema is all that config.yaml may hold.
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
		}),
		"database": object(fields{
			"maxConnections": integer(&c.Database.MaxConnections, 1, 1000),
			"migrateOnStart": boolean(&c.Database.MigrateOnStart),
		}),
		"outbox": object(fields{
			"maxAttempts": integer(&c.Outbox.MaxAttempts, 1, 10_000),
			"maxBackoff":  duration(&c.Outbox.MaxBackoff, 10*time.Millisecond, 24*time.Hour),
		}),
		"metricsPort":   integer(&c.MetricsPort, 0, 65535),
		"logLevel":      oneOf(&c.LogLevel, logLevels),
		"fissionCompat": boolean(&c.FissionCompat),
	}
}

func origin(o *string) field { return text(o, originRule) }

func oidcEntry(o *OIDC) field {
	return object(fields{
		"issuer":   text(&o.Issuer, issuerRule),
		"audience": text(&o.Audience, nameRule),
		"scopes":   list(&o.Scopes, 1, 100, grantEntry),
	}, "issuer", "audience", "scopes")
}

func grantEntry(g *Grant) field {
	return object(fields{
		"claim": text(&g.Claim, nameRule),
		"value": claimValue(&g.Value),
		"grant": list(&g.Grant, 1, len(scopes), scope),
	}, "claim", "value", "grant")
}

func scope(s *string) field { return oneOf(s, scopes) }
