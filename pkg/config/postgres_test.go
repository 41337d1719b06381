package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"aiadmin/pkg/config"
)

// files is a complete postgres volume, with changes: pairs of a name and a text, or of a
// name and "-" to leave it out.
func pgFiles(changes ...string) map[string]string {
	out := map[string]string{"PG_HOST": "db.example", "PG_PORT": "6432", "PG_DB": "aiadmin", "PG_USER": "app", "PG_PASS": "planted"}
	for i := 0; i < len(changes); i += 2 {
		out[changes[i]] = changes[i+1]
		if changes[i+1] == "-" {
			delete(out, changes[i])
		}
	}
	return out
}

func mustPostgres(t testing.TB, dir string, files map[string]string) config.Postgres {
	t.Helper()
	p, err := config.ParsePostgres(dir)(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkDriverReads holds that the driver reads p's settings from its ConnString.
func checkDriverReads(t testing.TB, p config.Postgres) *pgconn.Config {
	t.Helper()
	c, err := pgconn.ParseConfig(p.ConnString().Reveal())
	if err != nil {
		t.Fatal("the driver does not take the connection string:", err)
	}
	host, _, _ := strings.Cut(p.Host, ",")
	port, _, _ := strings.Cut(p.Port, ",")
	if c.Host != host && host != "" || fmt.Sprint(c.Port) != port || c.Database != p.Database || c.User != p.User || c.Password != p.Password.Reveal() {
		t.Errorf("the driver reads %q:%d %q %q %q, want %q:%s %q %q %q", c.Host, c.Port, c.Database, c.User, c.Password,
			p.Host, p.Port, p.Database, p.User, p.Password.Reveal())
	}
	return c
}

func TestPostgresReachesTheDriver(t *testing.T) {
	t.Parallel()
	for _, pass := range []string{"planted", "", " ", "it's", `back\slash\`, `'; sslmode=disable host='evil`, "a=b c", "%41", "ünï🔑", "two\nlines", `"`} {
		c := checkDriverReads(t, mustPostgres(t, "/m", pgFiles("PG_PASS", pass, "PG_DB", "a'b c", "PG_USER", `u\v`)))
		if c.Host != "db.example" {
			t.Errorf("password %q moved the host to %q", pass, c.Host)
		}
	}
	socket := checkDriverReads(t, mustPostgres(t, "/m", pgFiles("PG_HOST", "/var/run/postgresql", "PG_PORT", "-")))
	if socket.Port != 5432 || socket.RuntimeParams["application_name"] != "ai-admin" {
		t.Errorf("port %d as %q", socket.Port, socket.RuntimeParams["application_name"])
	}
}

// TestSeveralHosts has the driver try each host with its port, and take the one that takes writes.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	tests := []struct{ hosts, ports, want string }{
		{"a,b,c", "1,2,3", "a:1 b:2 c:3"}, {"a, b", "5433", "a:5433 b:5433"}, {"a,b", "", "a:5432 b:5432"},
		{"10.0.0.1,::1", "1, 2", "10.0.0.1:1 ::1:2"}, {"a", "7", "a:7"},
	}
	for _, tt := range tests {
		c := checkDriverReads(t, mustPostgres(t, "/m", pgFiles("PG_HOST", tt.hosts, "PG_PORT", tt.ports, "PG_SSLMODE", "disable")))
		got := fmt.Sprintf("%s:%d", c.Host, c.Port)
		for _, next := range c.Fallbacks {
			got += fmt.Sprintf(" %s:%d", next.Host, next.Port)
		}
		if several := strings.Contains(tt.hosts, ","); got != tt.want || (c.ValidateConnect != nil) != several {
			t.Errorf("%s with %s: %s, looks for the primary: %v", tt.hosts, tt.ports, got, c.ValidateConnect != nil)
		}
	}
}

func TestPostgresTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newCA(t)
	path := filepath.Join(dir, "PG_SSLROOTCERT") // where Kubernetes mounts it
	if err := os.WriteFile(path, []byte(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		files                  map[string]string
		mode                   string
		plain                  bool // a try without TLS is among the tries
		ownRoots, checks, name bool // TLS against the given CA; any check; the host's name too
	}{
		"no words on it":         {pgFiles(), "prefer", true, false, false, false},
		"empty files":            {pgFiles("PG_SSLMODE", "", "PG_SSLROOTCERT", ""), "prefer", true, false, false, false},
		"off":                    {pgFiles("PG_SSLMODE", "disable"), "disable", true, false, false, false},
		"on, unchecked":          {pgFiles("PG_SSLMODE", "require"), "require", false, false, false, false},
		"the system's CAs":       {pgFiles("PG_SSLMODE", "verify-full"), "verify-full", false, false, true, true},
		"the word system":        {pgFiles("PG_SSLROOTCERT", "system"), "verify-full", false, true, true, true},
		"a CA by its content":    {pgFiles("PG_SSLROOTCERT", ca), "verify-full", false, true, true, true},
		"a CA by its path":       {pgFiles("PG_SSLROOTCERT", path), "verify-full", false, true, true, true},
		"a CA, but not the name": {pgFiles("PG_SSLROOTCERT", ca, "PG_SSLMODE", "verify-ca"), "verify-ca", false, true, true, false},
		"a CA makes require ask": {pgFiles("PG_SSLROOTCERT", ca, "PG_SSLMODE", "require"), "require", false, true, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustPostgres(t, dir, tt.files)
			c := checkDriverReads(t, p)
			plain := c.TLSConfig == nil
			for _, next := range c.Fallbacks {
				plain = plain || next.TLSConfig == nil
			}
			if p.SSLMode != tt.mode || plain != tt.plain {
				t.Errorf("mode %s, tries without TLS: %v; want %s, %v", p.SSLMode, plain, tt.mode, tt.plain)
			}
			if c.TLSConfig == nil {
				return
			}
			checks := !c.TLSConfig.InsecureSkipVerify || c.TLSConfig.VerifyPeerCertificate != nil
			if (c.TLSConfig.RootCAs != nil) != tt.ownRoots || checks != tt.checks || !c.TLSConfig.InsecureSkipVerify != tt.name {
				t.Errorf("roots %v, checks %v, name %q", c.TLSConfig.RootCAs != nil, checks, c.TLSConfig.ServerName)
			}
		})
	}
	if a, b := mustPostgres(t, dir, pgFiles("PG_SSLROOTCERT", ca)), mustPostgres(t, dir, pgFiles("PG_SSLROOTCERT", newCA(t))); a == b {
		t.Error("another CA makes an equal value: the change would go unseen")
	}
}

func TestPostgresURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://app:pl%40nted@db.example:6432/aiadmin?sslmode=require", "postgresql://app:pl%40nted@db.example:6432/aiadmin",
		"postgres://app:pl%40nted@db.example:6432,other:6433/aiadmin", "postgres:///aiadmin?host=/var/run/postgresql&user=app&password=pl%40nted&port=6432"} {
		p := mustPostgres(t, "/m", map[string]string{"PG_URL": url, "PG_HOST": "", "unrelated": "x"})
		if p.ConnString().Reveal() != url {
			t.Errorf("%s was changed", url)
		}
		if checkDriverReads(t, p); p.Password.Reveal() != "pl@nted" || p.User != "app" || p.Port != "6432" {
			t.Errorf("%s: %v", url, p)
		}
	}
}

func TestPostgresReportsEveryProblem(t *testing.T) {
	t.Parallel()
	const (
		alone    = " (or mount PG_URL alone)"
		wantURL  = "PG_URL: must be postgres://user:password@host:port/database?sslmode=verify-full, with special characters percent-encoded, and what it names in sslrootcert must be a readable certificate"
		wantCA   = "PG_SSLROOTCERT: must be a CA certificate in PEM, the absolute path of a file with one, or the word system"
		wantPort = "PG_PORT: must be a port number from 1 to 65535, or one for each host with commas between them"
		wantAll  = "PG_HOST: is missing: write the database's host name or address, or several with commas between them" + alone + "|PG_DB: is missing: write the database's name" + alone +
			"|PG_USER: is missing: write the database user's name" + alone + "|PG_PASS: is missing: write the database user's password" + alone
		unknown = ": unknown key; the keys here are PG_HOST, PG_PORT, PG_DB, PG_USER, PG_PASS, PG_SSLMODE, PG_SSLROOTCERT, PG_URL"
	)
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing mounted": {nil, wantAll},
		"all empty or wrong": {pgFiles("PG_HOST", "", "PG_PORT", "planted", "PG_DB", "", "PG_USER", "a\nb", "PG_PASS", "planted\x00", "PG_SSLMODE", "planted", "PG_SSLROOTCERT", "planted"),
			"PG_HOST: must be the database's host name or address, or several with commas between them|" + wantPort},
		"ports":                {pgFiles("PG_PORT", "0"), wantPort},
		"large port":           {pgFiles("PG_PORT", "65536"), wantPort},
		"a port too few":       {pgFiles("PG_HOST", "a,b,c", "PG_PORT", "1,2"), "PG_PORT: has 2 ports for 3 hosts: write one port for all, or one for each host"},
		"a host is missing":    {pgFiles("PG_HOST", "a,,c"), "PG_HOST: has a comma without a host on both sides: write one host, or several as a,b,c"},
		"nine hosts":           {pgFiles("PG_HOST", "a,b,c,d,e,f,g,h,i"), "PG_HOST: has 9 hosts, and at most 8 are allowed"},
		"mode":                 {pgFiles("PG_SSLMODE", "on"), "PG_SSLMODE: must be one of disable, allow, prefer, require, verify-ca, verify-full"},
		"misspelt":             {pgFiles("PG_SSLMOD", "verify-full", "PG_PASSWORD", "planted"), "PG_PASSWORD" + unknown + "|PG_SSLMOD" + unknown},
		"CA, but unchecked":    {pgFiles("PG_SSLROOTCERT", "system", "PG_SSLMODE", "prefer"), "PG_SSLMODE: must be verify-full, verify-ca or require beside PG_SSLROOTCERT: the other modes check no certificate"},
		"no certificate":       {pgFiles("PG_SSLROOTCERT", "-----BEGIN CERTIFICATE-----\nplanted\n-----END CERTIFICATE-----"), wantCA},
		"no file":              {pgFiles("PG_SSLROOTCERT", "/nowhere/ca.pem"), wantCA},
		"a folder":             {pgFiles("PG_SSLROOTCERT", "/"), wantCA},
		"a relative path":      {pgFiles("PG_SSLROOTCERT", "postgres_test.go"), wantCA},
		"URL beside files":     {pgFiles("PG_URL", "postgres://app:planted@db/aiadmin", "PG_PORT", "-", "PG_DB", "", "PG_USER", "-"), "PG_HOST: must not be there beside PG_URL, which says it all|PG_PASS: must not be there beside PG_URL, which says it all"},
		"empty URL":            {map[string]string{"PG_URL": ""}, wantURL},
		"no URL":               {map[string]string{"PG_URL": "host=db user=planted dbname=x"}, wantURL},
		"another's URL":        {map[string]string{"PG_URL": "mysql://app:planted@db/x"}, wantURL},
		"URL without host":     {map[string]string{"PG_URL": "postgres:///planted"}, wantURL},
		"URL without database": {map[string]string{"PG_URL": "postgres://app:planted@db"}, wantURL},
		"broken URL":           {map[string]string{"PG_URL": "postgres://app:plan:ted@db:x/y"}, wantURL},
		"broken escape":        {map[string]string{"PG_URL": "postgres://app:planted%zz@db/y"}, wantURL},
		"URL with a lost CA":   {map[string]string{"PG_URL": "postgres://app:planted@db/y?sslrootcert=/nowhere"}, wantURL},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := config.ParsePostgres("/m")(tt.files)
			if err == nil {
				t.Fatalf("no error: %v", p)
			}
			got := strings.Split(err.Error(), "\n")
			if name == "all empty or wrong" {
				if len(got) != 7 {
					t.Errorf("%d problems, want 7", len(got))
				}
				got = got[:2]
			}
			if diff := cmp.Diff(strings.Split(tt.want, "|"), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "plan:ted") {
				t.Errorf("the error shows a value: %v", err)
			}
		})
	}
}

// The process's environment is Knative's; libpq's variables in it must not decide whom
// the service trusts or as whom it comes.
func TestPostgresIgnoresTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{"PGHOST": "evil", "PGPORT": "1", "PGDATABASE": "evil", "PGUSER": "evil", "PGPASSWORD": "evil",
		"PGSSLMODE": "disable", "PGSSLROOTCERT": "/nowhere", "PGSSLCERT": "/nowhere", "PGSSLKEY": "/nowhere", "PGAPPNAME": "evil",
		"PGTARGETSESSIONATTRS": "standby", "PGCONNECT_TIMEOUT": "1"} {
		t.Setenv(name, value)
	}
	passfile := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(passfile, []byte("*:*:*:*:evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", passfile)
	c := checkDriverReads(t, mustPostgres(t, "/m", pgFiles("PG_PASS", "", "PG_SSLMODE", "verify-full")))
	if c.TLSConfig == nil || c.ValidateConnect != nil || strings.Contains(fmt.Sprint(c.RuntimeParams), "evil") || c.ConnectTimeout.Seconds() != 10 {
		t.Errorf("the environment got in: %v %v", c.RuntimeParams, c.ConnectTimeout)
	}
}

func TestPostgresNeverPrintsThePassword(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, p := range []config.Postgres{mustPostgres(t, "/m", pgFiles()), mustPostgres(t, "/m", map[string]string{"PG_URL": "postgres://app:planted@db/x"})} {
		for _, v := range []any{p, &p, []any{p}, p.ConnString()} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			encoded, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(encoded)
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		}
	}
	if strings.Contains(out.String(), "planted") || strings.Contains(out.String(), fmt.Sprintf("%x", "planted")) {
		t.Errorf("the password was printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "db.example") {
		t.Error("the host was not printed: the test looked at nothing")
	}
}

func newCA(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}
