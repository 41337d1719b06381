package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"aiadmin/pkg/secret"
)

// Postgres is where the database is, as the postgres volume says: the PG_* files or
// PG_URL. It is comparable: equal values connect alike.
type Postgres struct {
	Host     string // name, address, or the folder of a Unix socket; several have commas between them
	Port     string // one for all hosts, or as many as there are hosts, with commas
	Database string
	User     string
	Password secret.Text
	SSLMode  string      // libpq's name for it; empty when PG_URL says it
	RootCA   string      // the file that SSLMode verifies against; empty: the system's CAs
	RootPEM  string      // what that file held, when it was mounted; a change makes another value
	URL      secret.Text // PG_URL itself; empty when the PG_* files say it
}

// ConnString returns what [pgx.ParseConfig] reads. PG_URL is passed on as it is. Otherwise it
// spells out every setting that pgx would take from the environment or the home folder and that
// decides whom to trust and how to log in.
func (p Postgres) ConnString() secret.Text {
	if p.URL.Len() > 0 {
		return p.URL
	}
	pairs := []struct{ key, value string }{
		{"host", p.Host},
		{"port", p.Port},
		{"dbname", p.Database},
		{"user", p.User},
		{"password", p.Password.Reveal()},
		{"sslmode", p.SSLMode},
		{"sslrootcert", p.RootCA},
		{"sslcert", ""},
		{"sslkey", ""},
		{"passfile", ""},
		{"target_session_attrs", p.sessionAttributes()},
		{"application_name", "ai-admin"},
		{"connect_timeout", "10"}, // seconds; libpq's default is to wait for ever
	}
	var out strings.Builder
	for _, pair := range pairs {
		out.WriteString(pair.key + "='" + quoter.Replace(pair.value) + "' ")
	}
	return secret.New(strings.TrimSpace(out.String()))
}

// sessionAttributes picks the one of several hosts that takes writes. A single host is used even
// while it is read-only, since it can still serve reads.
func (p Postgres) sessionAttributes() string {
	if strings.Contains(p.Host, ",") {
		return "read-write"
	}
	return "any"
}

// quoter escapes a quoted value of a keyword/value string, as libpq reads it (PostgreSQL
// manual, section 34.1.1.1).
var quoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

const defaultPort = "5432"

// pgFiles lists the keys of the postgres volume; any other name that starts with PG_ is taken for a
// misspelt one.
var pgFiles = []string{"PG_HOST", "PG_PORT", "PG_DB", "PG_USER", "PG_PASS", "PG_SSLMODE", "PG_SSLROOTCERT", "PG_URL"}

// ParsePostgres makes the parse function of the postgres volume mounted at dir; the
// database driver reads a CA certificate mounted there by its path. The error joins
// every problem, one line each, as "<file>: <what is expected>".
func ParsePostgres(dir string) func(files map[string]string) (Postgres, error) {
	return func(files map[string]string) (Postgres, error) {
		f := pgReader{files: files}
		f.checkNames()
		var p Postgres
		if f.byURL() {
			p = f.url()
		} else {
			p = f.settings(dir)
		}
		if len(f.problems) > 0 {
			return Postgres{}, errors.Join(f.problems...)
		}
		return p, nil
	}
}

type pgReader struct {
	files    map[string]string
	problems []error
}

func (f *pgReader) fail(file, want string) {
	f.problems = append(f.problems, fmt.Errorf("%s: %s", file, want))
}

func (f *pgReader) checkNames() {
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		if strings.HasPrefix(name, "PG_") && !slices.Contains(pgFiles, name) {
			f.fail(name, "unknown key; the keys here are "+strings.Join(pgFiles, ", "))
		}
	}
}

func (f *pgReader) settings(dir string) Postgres {
	hosts := f.hosts()
	p := Postgres{
		Host:     hosts,
		Port:     f.ports(hosts),
		Database: f.word("PG_DB", "the database's name"),
		User:     f.word("PG_USER", "the database user's name"),
		Password: f.password(),
	}
	p.RootCA, p.RootPEM = f.rootCA(dir)
	p.SSLMode = f.sslMode(p.RootCA)
	return p
}

func (f *pgReader) word(file, what string) string {
	value, present := f.files[file]
	switch {
	case !present:
		f.fail(file, "is missing: write "+what+" (or mount PG_URL alone)")
	case value == "" || strings.ContainsFunc(value, unicode.IsControl):
		f.fail(file, "must be "+what)
	}
	return value
}

// password may be empty, for a server that trusts the connection, but not missing.
func (f *pgReader) password() secret.Text {
	value, present := f.files["PG_PASS"]
	switch {
	case !present:
		f.fail("PG_PASS", "is missing: write the database user's password (or mount PG_URL alone)")
	case strings.ContainsRune(value, 0):
		f.fail("PG_PASS", "must be a password without NUL characters")
	}
	return secret.New(value)
}

// maxHosts bounds how long a connection attempt takes when no host answers.
const maxHosts = 8

// hosts reads a list as libpq does (PostgreSQL manual, section 34.1.1.3).
func (f *pgReader) hosts() string {
	text := f.word("PG_HOST", "the database's host name or address, or several with commas between them")
	if text == "" || len(f.problems) > 0 && strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	hosts := strings.Split(text, ",")
	for i := range hosts {
		hosts[i] = strings.TrimSpace(hosts[i])
	}
	switch {
	case slices.Contains(hosts, ""):
		f.fail("PG_HOST", "has a comma without a host on both sides: write one host, or several as a,b,c")
	case len(hosts) > maxHosts:
		f.fail("PG_HOST", fmt.Sprintf("has %d hosts, and at most %d are allowed", len(hosts), maxHosts))
	}
	return strings.Join(hosts, ",")
}

// ports reads one port for all hosts, or one for each.
func (f *pgReader) ports(hosts string) string {
	text := f.files["PG_PORT"]
	if text == "" {
		return defaultPort
	}
	ports := strings.Split(text, ",")
	for i, port := range ports {
		number, err := strconv.ParseUint(strings.TrimSpace(port), 10, 16)
		if err != nil || number == 0 {
			f.fail("PG_PORT", "must be a port number from 1 to 65535, or one for each host with commas between them")
			return text
		}
		ports[i] = strconv.FormatUint(number, 10)
	}
	if count := strings.Count(hosts, ",") + 1; len(ports) != 1 && len(ports) != count {
		f.fail("PG_PORT", fmt.Sprintf("has %d ports for %d hosts: write one port for all, or one for each host", len(ports), count))
	}
	return strings.Join(ports, ",")
}

// byURL reports whether PG_URL is in use. An empty one that a template left beside the PG_* files
// is ignored.
func (f *pgReader) byURL() bool {
	url, mounted := f.files["PG_URL"]
	_, byHost := f.files["PG_HOST"]
	return url != "" || mounted && !byHost
}

// url takes PG_URL as it is. The driver's own error is dropped, because it may quote the password.
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
	return Postgres{Host: config.Host, Port: strconv.Itoa(int(config.Port)), Database: config.Database, User: config.User,
		Password: secret.New(config.Password), URL: secret.New(url)}
}

// urlNamesHost refuses keyword/value strings, and URLs that leave the host to libpq's
// defaults.
func urlNamesHost(url string) bool {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return (scheme == "postgres" || scheme == "postgresql") && (host != "" || strings.Contains(rest, "host="))
}

var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

const (
	wantCA  = "must be a CA certificate in PEM, the absolute path of a file with one, or the word system"
	maxCert = 1 << 20 // bytes
)

// sslMode defaults to the strictest mode that the mounted files allow for: with a CA, the server
// must be who it claims to be; without one, TLS is used where the server has it.
func (f *pgReader) sslMode(rootCA string) string {
	mode := f.files["PG_SSLMODE"]
	verifies := slices.Contains([]string{"require", "verify-ca", "verify-full"}, mode)
	switch {
	case mode == "" && rootCA != "":
		return "verify-full"
	case mode == "":
		return "prefer"
	case !slices.Contains(sslModes, mode):
		f.fail("PG_SSLMODE", "must be one of "+strings.Join(sslModes, ", "))
	case rootCA != "" && !verifies:
		f.fail("PG_SSLMODE", "must be verify-full, verify-ca or require beside PG_SSLROOTCERT: the other modes check no certificate")
	}
	return mode
}

func (f *pgReader) rootCA(dir string) (file, pem string) {
	written := f.files["PG_SSLROOTCERT"]
	switch {
	case written == "" || written == "system":
		return written, ""
	case strings.HasPrefix(written, "-----BEGIN"):
		if !isCertificate([]byte(written)) {
			f.fail("PG_SSLROOTCERT", wantCA)
		}
		return filepath.Join(dir, "PG_SSLROOTCERT"), written
	}
	if !isCertificateFile(written) {
		f.fail("PG_SSLROOTCERT", wantCA)
	}
	return written, ""
}

func isCertificate(pem []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(pem) }

func isCertificateFile(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || !filepath.IsAbs(path) {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCert))
	return err == nil && isCertificate(content)
}
