package config_test

import (
	"strings"
	"testing"

	"aiadmin/pkg/config"
)

// FuzzParse holds that no file ends the process, that every problem is one line which
// names the file, and that what is taken keeps the documented ranges.
func FuzzParse(f *testing.F) {
	for _, content := range []string{full, "", "auth: &a required\nsource: *a", "? a\n: b", "- a", "a: {b: [c", "cors: {allowedOrigins: ['*']}",
		"oidc:\n- issuer: https://a.example\n  audience: a\n  scopes:\n  - {claim: c, value: true, grant: [admin]}", "---\n...\n---\na", "source: |\n  x", "<<: *a", "!!binary a", "\"\\x", "metricsPort: 0b1"} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		c, err := config.Parse(yaml(content))
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "config.yaml:") {
					t.Fatalf("a problem of several lines, or of no file: %q", err)
				}
			}
			return
		}
		if c.MetricsPort < 0 || c.MetricsPort > 65535 || c.Database.MaxConnections < 1 || c.Outbox.MaxAttempts < 1 || c.Outbox.MaxBackoff <= 0 ||
			c.Retention.Claims < 0 || c.Retention.History < 0 || c.Retention.IdempotencyKeys < 0 || c.Source == "" {
			t.Fatalf("out of range: %+v", c)
		}
		for _, o := range c.CORS.AllowedOrigins {
			again, err := config.Parse(yaml("cors: {allowedOrigins: ['" + strings.ReplaceAll(o, "'", "''") + "']}"))
			if err != nil || again.CORS.AllowedOrigins[0] != o {
				t.Fatalf("origin %q is not in its final form: %v", o, err)
			}
		}
	})
}

// FuzzParsePostgres holds that accepted settings reach the driver unchanged, however it has to be
// escaped.
func FuzzParsePostgres(f *testing.F) {
	f.Add("db", "5432", "aiadmin", "app", "pa ss'w\\ord=%20", "require")
	f.Add("/var/run/postgresql", "", "a b", "ü", "", "")
	f.Add("a,b", "1", "d", "u", "x\ny", "disable")
	f.Fuzz(func(t *testing.T, host, port, db, user, pass, mode string) {
		p, err := config.ParsePostgres("/m")(map[string]string{
			"PG_HOST": host, "PG_PORT": port, "PG_DB": db, "PG_USER": user, "PG_PASS": pass, "PG_SSLMODE": mode,
		})
		if err != nil {
			return
		}
		checkDriverReads(t, p)
	})
}
