package admin_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
	"aiadmin/test/pgtest"
)

func serviceWith(t testing.TB, address string, options admin.Options) *admin.Service {
	t.Helper()
	_, db := running(t, address)
	keys, err := vault.ParseKeyRing(map[string]string{"one": keyOne, "PRIMARY": "one"})
	if err != nil {
		t.Fatal(err)
	}
	options.Log = slog.New(slog.DiscardHandler)
	return admin.New(db, keys, admin.Retention{}, options)
}

// auditOf returns the audit log, newest first, as action, outcome, actor and count.
func auditOf(t testing.TB, s *admin.Service, query string) (lines []string) {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := user.ParseAuditQuery(values)
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.AuditLog(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Entries {
		lines = append(lines, fmt.Sprintf("%s %s by %s at %s, %d", e.Action, e.Outcome, e.Actor, e.SourceIP, e.Count))
	}
	return lines
}

// TestKeysAreAudited: each change of an API key has its entry, and only when it is made.
func TestKeysAreAudited(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	u := apply(t, s, once(create(t, "", `{"tag":"ann","name":"N"}`))).User
	keyID := uuid.MustParse("00000000-0000-7000-8000-000000000001")
	patch := func(body string) user.KeyPatch {
		p, err := user.ParseKeyPatch([]byte(body), "name", "status", "overlap")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	do := func(change user.Change) error {
		_, err := s.Apply(t.Context(), user.Command{Change: change, User: user.Ref{ID: u.ID}, Origin: user.Origin{Actor: "ada", Cause: "r1", SourceIP: "192.0.2.7"}})
		return err
	}
	issue := user.IssueKey{KeyPatch: patch(`{"name":"ci"}`), KeyID: keyID, Secret: user.NewSecret{Hash: []byte(strings.Repeat("h", 32)), Hint: "abcd"}}
	if err := do(issue); err != nil {
		t.Fatal(err)
	}
	if err := do(issue); err == nil {
		t.Error("a second key of the same name")
	}
	for i, change := range []user.Change{
		user.UpdateKey{KeyPatch: patch(`{"name":"other"}`), KeyID: keyID},
		user.UpdateKey{KeyPatch: patch(`{"status":"disabled"}`), KeyID: keyID},
		user.UpdateKey{KeyPatch: patch(`{"status":"disabled"}`), KeyID: keyID},
		user.RotateKey{KeyPatch: patch(`{"overlap":"1h"}`), KeyID: keyID, Secret: user.NewSecret{Hash: []byte(strings.Repeat("i", 32)), Hint: "efgh"}},
		user.Delete{},
	} {
		if err := do(change); err != nil {
			t.Fatal(i, err)
		}
	}
	got := auditOf(t, s, "userId="+u.ID.String())
	for i, action := range []string{"key.revoked", "key.rotated", "key.disabled", "key.created"} {
		if want := action + " success by ada at 192.0.2.7, 1"; len(got) != 4 || got[i] != want {
			t.Errorf("%d: %q, want %s", i, got, want)
		}
	}
}

// TestAuditIsWrittenOnce: refused tokens of one source and minute are one entry, written at once, however
// many come together; the count is kept current, and complete when the service stops.
func TestAuditIsWrittenOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	writes := 0
	s := serviceWith(t, pgtest.Database(t), admin.Options{Audited: func(_ []user.AuditEntry, err error) {
		mu.Lock()
		defer mu.Unlock()
		writes++
		if err != nil {
			t.Error(err)
		}
	}})
	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() { s.KeepAudit(ctx); close(kept) }()
	entry := user.AuditEntry{Action: user.TokenRefused, Outcome: user.Denied, SourceIP: "192.0.2.7", Bucket: "token.refused now 192.0.2.7"}
	if err := s.Audit(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if got := auditOf(t, s, ""); len(got) != 1 || !strings.HasSuffix(got[0], ", 1") {
		t.Fatalf("at once: %q", got)
	}
	const storm = 20_000
	together(8, func(int) {
		for range storm / 8 {
			if err := s.Audit(t.Context(), entry); err != nil {
				t.Error(err)
				return
			}
		}
	})
	stop()
	<-kept
	if got := auditOf(t, s, "action=token.refused"); len(got) != 1 || got[0] != fmt.Sprintf("token.refused denied by  at 192.0.2.7, %d", storm+1) {
		t.Errorf("in the end: %q", got)
	}
	if writes > 60 {
		t.Errorf("%d statements for %d refusals", writes, storm)
	}
}

// TestAuditSaysWhatItCannotWrite: without the table's right an entry is an error, and what is counted is
// written once it can be.
func TestAuditSaysWhatItCannotWrite(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s := serviceWith(t, address, admin.Options{})
	rename := func(from, to string) {
		if err := pgtest.Exec(t.Context(), address, "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	counted := user.AuditEntry{Action: user.TokenRefused, Outcome: user.Denied, Bucket: "b"}
	if err := s.Audit(t.Context(), counted); err != nil {
		t.Fatal(err)
	}
	rename("audit", "elsewhere")
	if err := s.Audit(t.Context(), user.AuditEntry{Action: user.UsersExported}); err == nil {
		t.Error("an entry without a table")
	}
	if err := s.Audit(t.Context(), counted); err != nil {
		t.Errorf("a count waits in memory: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 1500*time.Millisecond) // one attempt fails, and the last
	s.KeepAudit(ctx)
	stop()
	rename("elsewhere", "audit")
	ctx, stop = context.WithCancel(t.Context())
	stop()
	s.KeepAudit(ctx)
	if got := auditOf(t, s, ""); len(got) != 1 || !strings.HasSuffix(got[0], ", 2") {
		t.Errorf("%q", got)
	}
}
