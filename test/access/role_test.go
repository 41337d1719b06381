package access

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/app"
	"aiadmin/test/pgtest"
)

const roleFile = "../../config/components/access/role.sql"

// grants are the statements of role.sql.
func grants(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(roleFile)
	if err != nil {
		t.Fatal(err)
	}
	statements := strings.Split(regexp.MustCompile(`(?m)^--.*\n`).ReplaceAllString(string(text), ""), ";\n")
	return statements[:len(statements)-1]
}

// withRole makes a role of the test's own with what role.sql grants, and returns a URL of the database for it.
func withRole(t testing.TB, database string, statements []string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	role := "access" + strings.TrimPrefix(u.Path, "/test_")
	script := fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'p'; GRANT CONNECT ON DATABASE %s TO %s", role, strings.TrimPrefix(u.Path, "/"), role)
	for _, statement := range statements {
		script += ";\n" + strings.ReplaceAll(statement, "ai_admin_access", role)
	}
	if err := pgtest.Exec(t.Context(), database, script); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pgtest.Exec(t.Context(), database, "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(role, "p")
	return u.String()
}

func accessOnly(o *app.Options) { o.AccessOnly = true }

func (s *service) waitReady(t testing.TB) {
	t.Helper()
	last := answer{}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if last = s.send(t, http.MethodGet, "/readyz", ""); last.status == http.StatusOK {
			return
		}
	}
	t.Fatalf("not ready: %s\n%s", last.body, s.log)
}

// TestAccessOnly runs checks alone with the role of role.sql: every kind of check and of tally works, and
// no other route is there.
func TestAccessOnly(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	admin := start(t, database, "")
	p := admin.user(t, `"email":"role@example.com","userName":"Role","externalId":"r/1","credentials":{"openai":"sk-planted"}`)
	k := admin.issue(t, p)
	s := start(t, withRole(t, database, grants(t)), "", accessOnly)
	s.waitReady(t)
	for _, c := range []caller{{secret: k.Secret}, {subject: "id:" + p.ID}, {subject: "tag:" + p.Tag}, {subject: "email:role@example.com"}, {subject: "userName:role"}, {subject: "externalId:r/1"}} {
		for _, provider := range []string{"_", "openai"} {
			if got := s.forward(t, c, "m", provider); got != "" {
				t.Errorf("%v: %s", c, got)
			}
			if got := s.authzen(t, c, "m", provider); got != "" {
				t.Errorf("%v: %s", c, got)
			}
		}
	}
	for path, status := range map[string]int{"/livez": 200, "/.well-known/authzen-configuration": 200, users: 404, "/ai/admin/keys": 404, "/ai/admin/changes": 404, "/openapi.json": 404, "/ai/admin/events": 404} {
		if got := s.send(t, http.MethodGet, path, "", "Authorization: Bearer "+tokens.admin); got.status != status {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	s.stop() // writes what is noted
	if log := s.log.String(); strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log complains:\n%s", log)
	}
	var used key
	if admin.do(t, http.MethodGet, k.path(), "").into(t, http.StatusOK, &used); used.LastUsedAt == nil {
		t.Error("the use is not noted")
	}
	if err := pgtest.Exec(t.Context(), database, "DO $$ BEGIN ASSERT (SELECT sum(count) = 12 FROM audit WHERE action = 'credential.revealed'); END $$"); err != nil {
		t.Error(err)
	}
}

// TestTheRoleHasNoRightTooMany takes each right away in turn: something fails then.
func TestTheRoleHasNoRightTooMany(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	admin := start(t, database, "")
	p := admin.user(t, `"email":"r2@example.com","userName":"R2","externalId":"r/2","credentials":{"openai":"sk-planted"}`)
	k := admin.issue(t, p)
	all := grants(t)
	url := withRole(t, database, all)
	role := regexp.MustCompile(`//(access[^:]+):`).FindStringSubmatch(url)[1]
	rights := regexp.MustCompile(`(SELECT|INSERT|UPDATE) \(([^)]*)\)`)
	tables := regexp.MustCompile(`ON (\w+) TO`)
	seen := 0
	for _, statement := range all {
		table := tables.FindStringSubmatch(statement)[1]
		for _, right := range rights.FindAllStringSubmatch(statement, -1) {
			for column := range strings.SplitSeq(right[2], ",") {
				one := fmt.Sprintf("%s (%s) ON %s", right[1], strings.TrimSpace(column), table)
				exec := func(format string) {
					if err := pgtest.Exec(t.Context(), database, fmt.Sprintf(format, one, role)); err != nil {
						t.Fatal(err)
					}
				}
				seen++
				exec("REVOKE %s FROM %s")
				if exercise(t, url, p, k) {
					t.Errorf("all goes well without %s", one)
				}
				exec("GRANT %s TO %s")
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d rights were looked at", seen)
	}
	if !exercise(t, url, p, k) {
		t.Error("something fails with all rights")
	}
}

// exercise runs checks of all kinds with a role, and says whether all went well.
func exercise(t *testing.T, url string, p person, k key) bool {
	t.Helper()
	// What was noted in this hour would not be noted again.
	if err := pgtest.Exec(t.Context(), strings.Replace(url, url[:strings.Index(url, "@")], adminOf(t), 1), "UPDATE keys SET last_used_at = NULL; DELETE FROM audit"); err != nil {
		t.Fatal(err)
	}
	s := start(t, url, "", accessOnly)
	well := true
	for _, c := range []caller{{secret: k.Secret}, {subject: "id:" + p.ID}, {subject: "tag:" + p.Tag}, {subject: "email:r2@example.com"}, {subject: "userName:r2"}, {subject: "externalId:r/2"}} {
		for range 2 { // the second is added to the row of the first
			well = well && s.forward(t, c, "m", "openai") == ""
		}
	}
	s.stop()
	return well && !strings.Contains(s.log.String(), "cannot be")
}

func adminOf(t testing.TB) string {
	t.Helper()
	database := pgtest.Database(t)
	return database[:strings.Index(database, "@")]
}
