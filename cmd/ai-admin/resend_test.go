package main

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// postgresMount is a folder of volumes with a postgres volume alone.
func postgresMount(t *testing.T, url string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "postgres", "PG_URL"), []byte(url), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestResend(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	users := []string{uuid.NewString(), uuid.NewString()}
	for i, id := range append(users, users[0]) {
		parked := "now()"
		if i == 2 {
			parked = "NULL" // waits behind the first
		}
		if err := pgtest.Exec(t.Context(), url, `WITH e AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
			VALUES (gen_random_uuid(), '`+id+`', 1, 'ai.admin.user.created', now(), 'a', 'c', '{}', '[]') RETURNING id, seq, user_id)
			INSERT INTO outbox (partition, seq, event_id, user_id, attempts, parked_at, fault) SELECT 0, seq, id, user_id, 20, `+parked+`, '422' FROM e`); err != nil {
			t.Fatal(err)
		}
	}
	mounts := postgresMount(t, url)
	for _, step := range []struct {
		args []string
		code int
		want string // in the output
	}{
		{nil, 2, "--all or --user=ID"},
		{[]string{"--user", "ada"}, 2, "must be a user's id"},
		{[]string{"--all", "--user", users[0]}, 2, "can't be used together"},
		{[]string{"--dry-run"}, 0, "parked events: 2; nothing was changed"},
		{[]string{"--dry-run", "--user", users[1]}, 0, users[1]},
		{[]string{"--user", uuid.NewString()}, 1, "is parked"},
		{[]string{"--user", users[1]}, 0, "will be sent again: 1"},
		{[]string{"--dry-run", "--all"}, 0, "parked events: 1; nothing was changed"},
		{[]string{"--all"}, 0, "will be sent again: 1"},
		{[]string{"--all"}, 0, "will be sent again: 0"},
		{[]string{"--help"}, 0, "ai-admin resend --user 01936f3e"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"resend", "--mounts", mounts}, step.args...), streams{&out, &out})
		if code != step.code || !strings.Contains(out.String(), step.want) {
			t.Errorf("resend %v: exit code %d:\n%s", step.args, code, out.String())
		}
	}
}

// TestWhyADatabaseRefuses: a command passes on PostgreSQL's own sentence for a database, a user or a
// password that it refuses, since whoever runs it has to mend just that.
func TestWhyADatabaseRefuses(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/nowhere"
	mounts := postgresMount(t, u.String())
	for _, args := range [][]string{{"--all"}, {"--dry-run"}} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"resend", "--mounts", mounts}, args...), streams{&out, &out})
		if code != 1 || !strings.Contains(out.String(), `database "nowhere" does not exist`) || !strings.Contains(out.String(), "SQLSTATE 3D000") {
			t.Errorf("resend %v: exit code %d: %s", args, code, out.String())
		}
	}
}

// TestRotateWithoutMounts holds that all that is wrong is told at once.
func TestRotateWithoutMounts(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	code := run(t.Context(), []string{"rotate", "--mounts", t.TempDir()}, streams{&out, &out})
	for _, file := range []string{"postgres/PG_HOST:", "postgres/PG_PASS:", "vault/PRIMARY:"} {
		if code != 2 || !strings.Contains(out.String(), file) {
			t.Errorf("exit code %d, want 2 and a line for %s: %s", code, file, out.String())
		}
	}
}

func TestResendWithoutMounts(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"resend", "--all", "--mounts", t.TempDir()}, streams{&out, &out}); code != 2 {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}
