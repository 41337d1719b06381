package store_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func auditQuery(t testing.TB, text string) user.AuditQuery {
	t.Helper()
	values, err := url.ParseQuery(text)
	must(t, err)
	q, err := user.ParseAuditQuery(values)
	must(t, err)
	return q
}

func audit(t testing.TB, s *store.Store, text string) []user.AuditEntry {
	t.Helper()
	entries, err := s.Audit(t.Context(), auditQuery(t, text), 100)
	must(t, err)
	return entries
}

// TestRevealIsRecordedOrRefused: the statement that reads a sealed value records it. Without the right to
// write the audit log, nothing is revealed.
func TestRevealIsRecordedOrRefused(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s := open(t, address)
	u := ann(t, "ann")
	insert(t, s, u)
	entry := user.AuditEntry{Actor: "eve", Action: user.CredentialRevealed, UserID: u.ID, Provider: "openai", RequestID: "r1", SourceIP: "192.0.2.7"}
	sealed, err := s.Reveal(t.Context(), u.ID, "openai", entry)
	if err != nil || sealed != "k1:sealed" {
		t.Fatalf("%q, %v", sealed, err)
	}
	if _, err := s.Reveal(t.Context(), u.ID, "azure", entry); user.KindOf(err) != user.NotFound {
		t.Errorf("a credential that is not there: %v", err)
	}
	entries := audit(t, s, "userId="+u.ID.String())
	if len(entries) != 1 {
		t.Fatalf("%d entries", len(entries))
	}
	got := entries[0]
	if got.ID.Version() != 7 || time.Since(got.At).Abs() > time.Minute {
		t.Errorf("id %s at %v", got.ID, got.At)
	}
	want := `{"id":"` + got.ID.String() + `","at":"` + user.FormatTime(got.At) + `","actor":"eve","action":"credential.revealed","userId":"` +
		u.ID.String() + `","provider":"openai","requestId":"r1","sourceIP":"192.0.2.7","outcome":"success","detail":{}}`
	if text := string(got.AppendJSON(nil)); text != want {
		t.Errorf("%s\n%s", text, want)
	}

	role := fmt.Sprintf("auditless_%x", u.ID[10:])
	for _, statement := range []string{"CREATE ROLE " + role, "GRANT ALL ON ALL TABLES IN SCHEMA public TO " + role, "REVOKE INSERT ON audit FROM " + role} {
		must(t, pgtest.Exec(t.Context(), address, statement))
	}
	t.Cleanup(func() {
		_ = pgtest.Exec(t.Context(), address, "DROP OWNED BY "+role)
		_ = pgtest.Exec(t.Context(), address, "DROP ROLE "+role)
	})
	limited := open(t, asRole(address, role))
	if sealed, err := limited.Reveal(t.Context(), u.ID, "openai", entry); err == nil || sealed != "" || !strings.Contains(err.Error(), "42501") {
		t.Errorf("what cannot be recorded was revealed: %q, %v", sealed, err)
	}
	if _, err := limited.Get(t.Context(), user.Ref{ID: u.ID}); err != nil {
		t.Errorf("the role can do all else: %v", err)
	}
}

// asRole returns a database's URL for sessions that take up a role.
func asRole(address, role string) string { return withOption(address, "role="+role) }

// withOption returns a database's URL for sessions that begin with a setting.
func withOption(address, setting string) string {
	separator := "?"
	if parsed, _ := url.Parse(address); parsed.RawQuery != "" {
		separator = "&"
	}
	return address + separator + "options=" + strings.ReplaceAll(url.QueryEscape("-c "+setting), "+", "%20")
}

// TestAuditQueries: every filter, the order, and pages by the last entry of the one before.
func TestAuditQueries(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	someone := user.NewID()
	begun := time.Now().Add(-time.Millisecond)
	for i := range 10 {
		e := user.AuditEntry{ID: user.NewID(), Actor: fmt.Sprint("actor", i%2), Action: user.UsersExported, RequestID: fmt.Sprint(i), Detail: []byte(`{"n":1}`)}
		if i%5 == 0 {
			e.UserID, e.Action = someone, user.ScopeDenied
		}
		must(t, s.WriteAudit(t.Context(), []user.AuditEntry{e}))
	}
	ended := time.Now().Add(time.Millisecond)
	between := func(from, to time.Time) string {
		return url.Values{"from": {user.FormatTime(from)}, "to": {user.FormatTime(to)}}.Encode()
	}
	for query, want := range map[string]string{
		"":                                   "9876543210",
		"actor=actor1":                       "97531",
		"action=scope.denied":                "50",
		"userId=" + someone.String():         "50",
		"actor=actor0&action=users.exported": "8642",
		"actor=nobody":                       "",
		between(begun, ended):                "9876543210",
		between(ended, ended.Add(1e9)):       "",
		between(begun.Add(-1e9), begun):      "",
	} {
		got := ""
		for _, e := range audit(t, s, query) {
			got += e.RequestID
		}
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	q, seen := auditQuery(t, ""), ""
	for {
		page, err := s.Audit(t.Context(), q, 3)
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			seen += e.RequestID
		}
		q.Before = page[len(page)-1].ID
	}
	if seen != "9876543210" {
		t.Errorf("by pages: %s", seen)
	}
}

// TestCountedEntries: entries with the same bucket are one entry, whose count grows.
func TestCountedEntries(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	refused := func(bucket string, count int64) user.AuditEntry {
		return user.AuditEntry{Action: user.TokenRefused, Bucket: bucket, Count: count, SourceIP: bucket, Outcome: user.Denied}
	}
	must(t, s.WriteAudit(t.Context(), []user.AuditEntry{refused("b", 0), refused("a", 3)}))
	must(t, s.WriteAudit(t.Context(), []user.AuditEntry{refused("a", 4), refused("c", 1)}))
	counts := map[string]string{}
	for _, e := range audit(t, s, "action=token.refused") {
		text := string(e.AppendJSON(nil))
		counts[e.SourceIP] = text[len(text)-len(`"detail":{"count":1}}`):]
	}
	if len(counts) != 3 || counts["a"] != `"detail":{"count":7}}` || counts["b"] != `"detail":{"count":1}}` || counts["c"] != counts["b"] {
		t.Errorf("%v", counts)
	}
}

func TestOldAuditIsRemoved(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	must(t, s.WriteAudit(t.Context(), []user.AuditEntry{{Action: user.UsersExported}, {Action: user.UsersImported}}))
	if n, err := s.RemoveOldAudit(t.Context(), time.Now().Add(-time.Hour), 10); n != 0 || err != nil {
		t.Errorf("%d removed that are new, %v", n, err)
	}
	for _, want := range []int64{1, 1, 0} {
		if n, err := s.RemoveOldAudit(t.Context(), time.Now().Add(time.Second), 1); n != want || err != nil {
			t.Errorf("%d removed, want %d, %v", n, want, err)
		}
	}
}

// TestHistoryOfAll: the filters, and pages that look at a bounded number of entries.
func TestHistoryOfAll(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var ids []uuid.UUID
	for i := range 6 {
		u := ann(t, fmt.Sprint("ann", i))
		ids = append(ids, u.ID)
		insert(t, s, u)
	}
	_, err := change(t.Context(), s, ids[2], func(u *user.User) { u.Status = user.Active })
	must(t, err)
	_, err = change(t.Context(), s, ids[0], func(u *user.User) { u.Name = "Other" })
	must(t, err)
	log := func(q user.LogQuery, limit int) (versions string, seen uuid.UUID) {
		t.Helper()
		entries, seen, err := s.Log(t.Context(), q, limit)
		must(t, err)
		for _, e := range entries {
			for i, id := range ids {
				if id == e.UserID {
					versions += fmt.Sprint(i)
				}
			}
		}
		return versions, seen
	}
	for want, q := range map[string]user.LogQuery{
		"02543210": {},
		"2543210":  {Field: "status"},
		"0543210":  {Field: "name"}, // whose first two are the rename and a creation
	} {
		if got, seen := log(q, 100); len(got) != len(want) || got[0] != want[0] || seen != uuid.Nil {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
	if got, _ := log(user.LogQuery{LogRange: user.LogRange{Actor: "nobody"}}, 100); got != "" {
		t.Errorf("by nobody: %s", got)
	}
	if got, _ := log(user.LogQuery{LogRange: user.LogRange{Actor: command.Actor}}, 3); got != "025" {
		t.Errorf("a short page: %s", got)
	}
	store.SetLogBudget(s, 3)
	got, seen := log(user.LogQuery{Field: "role"}, 100)
	if got != "5" || seen == uuid.Nil {
		t.Errorf("with a budget of 3: %s, %s", got, seen)
	}
	if got, _ := log(user.LogQuery{Field: "role", LogRange: user.LogRange{Before: seen}}, 100); got != "432" {
		t.Errorf("behind it: %s", got)
	}
}
