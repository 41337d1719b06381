package config

import (
	"strings"

	"aiadmin/pkg/secret"
)

// Postgres is where the database is, as the postgres volume says: the PG_* files or
// PG_URL. It is comparable: equal values connect alike.
type Postgres struct {
	Host     string // name, address, or the folder of a Unix socket; the first of several
	Port     uint16
	Database string
	User     string
	Password secret.Text
	SSLMode  string      // libpq's name for it; empty when PG_URL says it
	RootCA   string      // the file that SSLMode verifies against; empty: the system's CAs
	RootPEM  string      // what that file held, when it was mounted; a change makes another value
	URL      secret.Text // PG_URL itself; empty when the PG_* files say it
}

// ConnString is what [pgx.ParseConfig] reads. Besides PG_URL's own words it spells out
// everything that pgx would otherwise take from the process's environment or home folder
// and that decides whom it trusts and as whom it comes.
func (p Postgres) ConnString() secret.Text {
	if p.URL.Len() > 0 {
		return p.URL
	}
	pairs := []struct{ key, value string }{
		{"host", p.Host},
		{"port", portText(p.Port)},
		{"dbname", p.Database},
		{"user", p.User},
		{"password", p.Password.Reveal()},
		{"sslmode", p.SSLMode},
		{"sslrootcert", p.RootCA},
		{"sslcert", ""},
		{"sslkey", ""},
		{"passfile", ""},
		{"target_session_attrs", "any"},
		{"application_name", "ai-admin"},
		{"connect_timeout", "10"}, // seconds; libpq's default is to wait for ever
	}
	var out strings.Builder
	for _, pair := range pairs {
		out.WriteString(pair.key + "='" + quoter.Replace(pair.value) + "' ")
	}
	return secret.New(strings.TrimSpace(out.String()))
}

// quoter escapes a quoted value of a keyword/value string, as libpq reads it (PostgreSQL
// manual, section 34.1.1.1).
var quoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)
