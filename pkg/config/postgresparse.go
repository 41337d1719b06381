package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"aiadmin/pkg/secret"
)

const defaultPort = 5432

// pgFiles is what the postgres volume may hold; other names that start with PG_ are
// taken for misspelt ones.
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
	p := Postgres{
		Host:     f.word("PG_HOST", "the database's host name or address"),
		Port:     f.port(),
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

// password may be empty, for a server that trusts the connection, but not left out.
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

func (f *pgReader) port() uint16 {
	text := f.files["PG_PORT"]
	if text == "" {
		return defaultPort
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		f.fail("PG_PORT", "must be a port number from 1 to 65535")
	}
	return uint16(port)
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }
