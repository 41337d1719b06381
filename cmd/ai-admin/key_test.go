package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/test/pgtest"
)

func TestKeyFind(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	current, former := access.NewSecret(), access.NewSecret()
	user, key := uuid.NewString(), uuid.NewString()
	if err := pgtest.Exec(t.Context(), url, fmt.Sprintf(`INSERT INTO users (id, tag, name, name_key, role, status, version, created_at, updated_at, credentials, metadata, facets)
		VALUES ('%s', 'ada', 'Ada', 'ada', 'member', 'active', 1, now(), now(), '[]', '{}', '{}');
		INSERT INTO keys (id, user_id, created_at, hash, previous_hash, status, hint, name, created_by)
		VALUES ('%s', '%s', now(), '\x%x', '\x%x', 'active', '%s', 'ci', 'test')`, user, key, user, current.Hash(), former.Hash(), current.Hint())); err != nil {
		t.Fatal(err)
	}
	mounts := postgresMount(t, url)
	for _, test := range []struct {
		input, want string // in the output, or in the error
		code        int
	}{
		{current.Text().Reveal() + "\n", "user " + user + " (ada, active)\nkey  " + key + " (ci, active)\n", 0},
		{"  " + former.Text().Reveal() + "\r\nmore", "rotated; this secret is the former one", 0},
		{access.NewSecret().Text().Reveal(), "no key has this secret", 1},
		{"aik_x", "not the secret of a key", 1}, {"", "not the secret of a key", 1}, {strings.Repeat("x", 100_000), "not the secret of a key", 1},
	} {
		var out, errs bytes.Buffer
		code := exitCode(streams{&out, &errs}, keyFindCmd{Mounts: mounts}.find(t.Context(), strings.NewReader(test.input), &out))
		if code != test.code || !strings.Contains(out.String()+errs.String(), test.want) {
			t.Errorf("%.60q: %d %s%s, want %d %s", test.input, code, &out, &errs, test.code, test.want)
		}
		if strings.Contains(out.String()+errs.String(), current.Text().Reveal()) {
			t.Error("the secret is printed")
		}
	}
}
