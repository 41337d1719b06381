package config

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"aiadmin/pkg/secret"
)

// byURL passes over an empty PG_URL that a template left beside the PG_* files.
func (f *pgReader) byURL() bool {
	url, mounted := f.files["PG_URL"]
	_, byHost := f.files["PG_HOST"]
	return url != "" || mounted && !byHost
}

// url takes PG_URL as it is. The driver's own error may quote the password.
func (f *pgReader) url() Postgres {
	for _, file := range pgFiles {
		if f.files[file] != "" && file != "PG_URL" {
			f.fail(file, "must not be there beside PG_URL, which says it all")
		}
	}
	url := f.files["PG_URL"]
	config, err := pgconn.ParseConfig(url)
	if err != nil || !urlNamesHost(url) || config.Database == "" {
		f.fail("PG_URL", "must be postgres://user:password@host:port/database?sslmode=verify-full, with special characters percent-encoded, and what it names in sslrootcert must be a readable certificate")
		return Postgres{}
	}
	return Postgres{Host: config.Host, Port: config.Port, Database: config.Database, User: config.User,
		Password: secret.New(config.Password), URL: secret.New(url)}
}

// urlNamesHost refuses keyword/value strings, and URLs that leave the host to libpq's
// defaults.
func urlNamesHost(url string) bool {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return (scheme == "postgres" || scheme == "postgresql") && (host != "" || strings.Contains(rest, "host="))
}
