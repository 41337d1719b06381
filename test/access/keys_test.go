package access

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

func TestKeyOfAUser(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	p := s.user(t)
	var k key
	got := s.do(t, http.MethodPost, p.path()+"/keys", `{"name":"ci","expiresAt":"2099-01-01T00:00:00Z","models":["gpt-*"]}`).into(t, http.StatusCreated, &k)
	if !regexp.MustCompile(`^aik_[0-9A-Za-z]{49}$`).MatchString(k.Secret) || k.Hint != "aik_…"+k.Secret[49:] || k.Name != "ci" || k.UserID != p.ID ||
		k.Status != "active" || k.CreatedBy != "admin" || k.ExpiresAt == nil || k.LastUsedAt != nil || k.PreviousValidUntil != nil || (*k.Models)[0] != "gpt-*" {
		t.Errorf("%s", got.body)
	}
	if got.header.Get("Location") != k.path() || got.header.Get("Cache-Control") != "no-store" || got.header.Get("ETag") != `"2"` {
		t.Errorf("headers %v", got.header)
	}
	second := s.issue(t, p)
	var list struct{ Keys []key }
	s.do(t, http.MethodGet, p.path()+"/keys", "").into(t, http.StatusOK, &list)
	if len(list.Keys) != 2 || list.Keys[0].ID != second.ID || list.Keys[1].ID != k.ID || list.Keys[1].Secret != "" {
		t.Errorf("newest first: %+v", list.Keys)
	}
	var one key
	if got := s.do(t, http.MethodGet, users+"/tag:"+p.Tag+"/keys/"+k.ID, "").into(t, http.StatusOK, &one); one.Name != "ci" || strings.Contains(got.body, "secret") {
		t.Errorf("%s", got.body)
	}
	var shown person
	if got := s.do(t, http.MethodGet, p.path(), "").into(t, http.StatusOK, &shown); shown.Version != 3 || len(shown.Keys) != 2 || shown.Keys[1].Hint != k.Hint ||
		strings.Contains(got.body, "createdBy") {
		t.Errorf("the user shows %s", got.body)
	}
	for body, code := range map[string]string{`{"name":"ci"}`: "DUPLICATE_KEY_NAME", `{"name":""}`: "VALIDATION_ERROR", `{}`: "VALIDATION_ERROR", `{"name":"x","status":"disabled"}`: "VALIDATION_ERROR",
		`{"name":"x","models":[""]}`: "VALIDATION_ERROR", `{"name":"x","expiresAt":"soon"}`: "VALIDATION_ERROR", `{"name":"x"`: "MALFORMED_BODY", `{"name":"` + strings.Repeat("x", 101) + `"}`: "VALIDATION_ERROR",
		`{"name":"x","secret":"aik_mine"}`: "VALIDATION_ERROR"} {
		status := http.StatusBadRequest
		if code == "DUPLICATE_KEY_NAME" {
			status = http.StatusConflict
		}
		s.do(t, http.MethodPost, p.path()+"/keys", body).fails(t, status, code)
	}
	s.do(t, http.MethodPost, users+"/tag:nobody/keys", `{"name":"x"}`).fails(t, http.StatusNotFound, "NOT_FOUND")
	s.do(t, http.MethodGet, users+"/tag:nobody/keys", "").fails(t, http.StatusNotFound, "NOT_FOUND")
	s.do(t, http.MethodGet, p.path()+"/keys/"+p.ID, "").fails(t, http.StatusNotFound, "NOT_FOUND")
	s.do(t, http.MethodGet, p.path()+"/keys/x", "").fails(t, http.StatusNotFound, "NOT_FOUND")
	if got := s.do(t, http.MethodPost, p.path()+"/keys", `{"name":"y"}`, `If-Match: "1"`); got.status != http.StatusPreconditionFailed {
		t.Errorf("If-Match: %d", got.status)
	}
}

func TestScopesOfKeys(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	p := s.user(t)
	k := s.issue(t, p)
	for _, test := range []struct {
		method, path, body, token string
		status                    int
	}{
		{"GET", p.path() + "/keys", "", tokens.reader, 200}, {"GET", p.path() + "/keys", "", tokens.keys, 403}, {"GET", "/ai/admin/keys", "", tokens.reader, 200},
		{"GET", k.path(), "", tokens.reader, 200}, {"GET", k.path(), "", tokens.keys, 200}, {"GET", k.path(), "", tokens.gateway, 403},
		{"POST", p.path() + "/keys", `{"name":"a"}`, tokens.reader, 403}, {"POST", p.path() + "/keys", `{"name":"b"}`, tokens.keys, 201},
		{"PATCH", k.path(), `{"name":"c"}`, tokens.reader, 403}, {"PATCH", k.path(), `{"name":"c"}`, tokens.keys, 200},
		{"POST", k.path() + "/rotate", "", tokens.reader, 403}, {"POST", k.path() + "/rotate", "", tokens.keys, 200},
		{"DELETE", k.path(), "", tokens.reader, 403}, {"DELETE", k.path(), "", tokens.keys, 204}, {"DELETE", p.path() + "/keys", "", tokens.gateway, 403}, {"DELETE", p.path() + "/keys", "", tokens.keys, 200},
	} {
		if got := s.send(t, test.method, test.path, test.body, "Authorization: Bearer "+test.token, "Content-Type: application/json"); got.status != test.status {
			t.Errorf("%s %s: %d %s, want %d", test.method, test.path, got.status, got.body, test.status)
		}
	}
}

func TestChangesOfAKeyAreItsUsers(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	p := s.user(t)
	k := s.issue(t, p)
	var changed key
	got := s.do(t, http.MethodPatch, k.path(), `{"status":"disabled","name":"new","models":["x"]}`).into(t, http.StatusOK, &changed)
	if changed.Status != "disabled" || changed.Name != "new" || got.header.Get("ETag") != `"3"` || strings.Contains(got.body, "secret") {
		t.Errorf("%s %v", got.body, got.header)
	}
	if got := s.do(t, http.MethodPatch, k.path(), `{"status":"disabled"}`).into(t, http.StatusOK, nil); got.header.Get("ETag") != `"3"` {
		t.Errorf("a change of nothing: %v", got.header)
	}
	s.do(t, http.MethodDelete, k.path(), "").into(t, http.StatusNoContent, nil)
	s.do(t, http.MethodDelete, k.path(), "").fails(t, http.StatusNotFound, "NOT_FOUND")
	s.issue(t, p)
	s.issue(t, p)
	var revoked struct{ Revoked int }
	if got := s.do(t, http.MethodDelete, p.path()+"/keys", "").into(t, http.StatusOK, &revoked); revoked.Revoked != 2 || got.header.Get("ETag") != `"7"` {
		t.Errorf("%s %v", got.body, got.header)
	}
	s.do(t, http.MethodDelete, p.path()+"/keys", "").into(t, http.StatusOK, &revoked)
	if revoked.Revoked != 0 {
		t.Errorf("%d revoked of none", revoked.Revoked)
	}
	var history struct {
		History []struct {
			Version int
			Changed []struct{ Field string }
		}
	}
	text := s.do(t, http.MethodGet, p.path()+"/history", "").into(t, http.StatusOK, &history).body
	events := ""
	for deadline := time.Now().Add(time.Minute); strings.Count(events, `"changed":["keys"]`) < 6 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		events = s.do(t, http.MethodGet, "/ai/admin/changes", "").into(t, http.StatusOK, nil).body // it waits for older transactions of others
	}
	if len(history.History) != 7 || history.History[0].Changed[0].Field != "keys" || strings.Count(events, `"changed":["keys"]`) != 6 {
		t.Errorf("history %s, events %s", text, events)
	}
	for _, hidden := range []string{k.Secret, k.Secret[4:40], "hash", "createdBy"} {
		if strings.Contains(text+events, hidden) {
			t.Errorf("history or events have %s", hidden)
		}
	}
}

func TestAHundredKeys(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	p := s.user(t)
	for range 100 {
		s.issue(t, p)
	}
	s.do(t, http.MethodPost, p.path()+"/keys", `{"name":"one more"}`).fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	p := s.user(t)
	first := s.issue(t, p)
	rotate := func(body string) (k key) {
		t.Helper()
		got := s.do(t, http.MethodPost, first.path()+"/rotate", body).into(t, http.StatusOK, &k)
		if got.header.Get("Cache-Control") != "no-store" || k.ID != first.ID || !k.CreatedAt.Equal(first.CreatedAt) || k.CreatedBy != "admin" || k.Hint != "aik_…"+k.Secret[49:] {
			t.Errorf("%s", got.body)
		}
		return k
	}
	works := func(k key, want bool) {
		t.Helper()
		if got := s.check(t, k.Secret, "m"); (got == "") != want || !want && got != "INVALID_KEY" {
			t.Errorf("%s: %q, want it to work: %t", k.Hint, got, want)
		}
	}
	second := rotate("")
	if until := second.PreviousValidUntil; until == nil || time.Until(*until) < 23*time.Hour || time.Until(*until) > 25*time.Hour {
		t.Errorf("previousValidUntil %v", until)
	}
	works(first, true)
	works(second, true)
	third := rotate(`{"overlap":"300ms"}`)
	works(first, false) // ended by the second rotation
	works(third, true)
	for deadline := time.Now().Add(5 * time.Second); s.check(t, second.Secret, "m") == "" && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	works(second, false)
	fourth := rotate(`{"overlap":"0s"}`)
	works(third, false)
	works(fourth, true)
	if fourth.PreviousValidUntil != nil {
		t.Errorf("0s: %v", fourth.PreviousValidUntil)
	}
	for _, body := range []string{`{"overlap":"721h"}`, `{"overlap":"-1s"}`, `{"overlap":5}`, `{"overlap":"soon"}`, `{"name":"x"}`} {
		s.do(t, http.MethodPost, first.path()+"/rotate", body).fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
	}
	s.do(t, http.MethodPost, p.path()+"/keys/"+p.ID+"/rotate", "").fails(t, http.StatusNotFound, "NOT_FOUND")
}

// TestAnExpiredKeyIsRotated, never extended; and its secret of before does not come back.
func TestAnExpiredKeyIsRotated(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	k := s.issue(t, s.user(t), `"expiresAt":"2020-01-01T00:00:00Z"`)
	s.do(t, http.MethodPatch, k.path(), `{"expiresAt":null}`).fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
	for _, body := range []string{`{}`, `{"expiresAt":"2020-02-02T00:00:00Z"}`} { // a secret that would never work
		s.do(t, http.MethodPost, k.path()+"/rotate", body).fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
	}
	s.do(t, http.MethodPost, k.path()+"/rotate", "").fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
	var fresh key
	s.do(t, http.MethodPost, k.path()+"/rotate", `{"expiresAt":null}`).into(t, http.StatusOK, &fresh)
	if fresh.PreviousValidUntil != nil || fresh.ExpiresAt != nil || s.check(t, k.Secret, "m") != "INVALID_KEY" || s.check(t, fresh.Secret, "m") != "" {
		t.Errorf("%+v, former: %q", fresh, s.check(t, k.Secret, "m"))
	}
}

// TestASecretIsRepeated by its Idempotency-Key, also after the key was changed or revoked, and not for
// another route, key or caller.
func TestASecretIsRepeated(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	s := start(t, database, "")
	p := s.user(t)
	first := s.do(t, http.MethodPost, p.path()+"/keys", `{"name":"a","models":["m"]}`, "Idempotency-Key: one")
	var k key
	first.into(t, http.StatusCreated, &k)
	again := func(want answer, path, body, idempotency string) {
		t.Helper()
		got := s.do(t, http.MethodPost, path, body, "Idempotency-Key: "+idempotency)
		if got.status != want.status || got.body != want.body || got.header.Get("Idempotency-Replayed") != "true" ||
			got.header.Get("Location") != want.header.Get("Location") || got.header.Get("ETag") != want.header.Get("ETag") || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("repeated: %d %s %v\nfirst: %d %s %v", got.status, got.body, got.header, want.status, want.body, want.header)
		}
	}
	again(first, p.path()+"/keys", `{"name":"a","models":["m"]}`, "one")
	s.change(t, k.path(), `{"name":"renamed"}`)
	again(first, p.path()+"/keys", `{"name":"a","models":["m"]}`, "one")
	rotated := s.do(t, http.MethodPost, k.path()+"/rotate", `{"overlap":"1h"}`, "Idempotency-Key: two")
	again(rotated, k.path()+"/rotate", `{"overlap":"1h"}`, "two")
	s.do(t, http.MethodPost, k.path()+"/rotate", `{"overlap":"2h"}`, "Idempotency-Key: two").fails(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
	other := s.issue(t, p)
	s.do(t, http.MethodPost, other.path()+"/rotate", `{"overlap":"1h"}`, "Idempotency-Key: two").fails(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
	if got := s.send(t, http.MethodPost, k.path()+"/rotate", `{"overlap":"1h"}`, "Idempotency-Key: two", "Authorization: Bearer "+tokens.keys, "Content-Type: application/json"); got.header.Get("Idempotency-Replayed") != "" {
		t.Error("another caller gets the secret")
	}
	s.do(t, http.MethodDelete, k.path(), "").into(t, http.StatusNoContent, nil)
	again(first, p.path()+"/keys", `{"name":"a","models":["m"]}`, "one")
	again(rotated, k.path()+"/rotate", `{"overlap":"1h"}`, "two")
	// Nowhere in the database is a secret in plain text.
	for table, columns := range map[string]string{"claims": "secret", "events": "data::text || changes::text", "keys": "name || hint", "users": "keys::text"} {
		if err := pgtest.Exec(t.Context(), database, fmt.Sprintf("DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM %s WHERE %s LIKE '%%%s%%'); END $$", table, columns, k.Secret[4:30])); err != nil {
			t.Errorf("%s: %v", table, err)
		}
	}
}

func TestKeysAcrossUsers(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	ada, eve := s.user(t), s.user(t)
	a := s.issue(t, ada, `"expiresAt":"2030-01-01T00:00:00Z"`)
	b := s.issue(t, eve)
	c := s.issue(t, eve, `"expiresAt":"2090-01-01T00:00:00Z"`)
	s.change(t, c.path(), `{"status":"disabled"}`)
	find := func(query string) (ids []string) {
		t.Helper()
		var page struct {
			Keys []key
			Page struct {
				Total        *int
				TotalIsExact bool
			}
		}
		s.do(t, http.MethodGet, "/ai/admin/keys?"+query, "").into(t, http.StatusOK, &page)
		for _, k := range page.Keys {
			ids = append(ids, k.ID)
		}
		if !page.Page.TotalIsExact || *page.Page.Total != len(ids) {
			t.Errorf("%s: total %v of %d", query, page.Page.Total, len(ids))
		}
		return ids
	}
	for query, want := range map[string][]string{
		"": {c.ID, b.ID, a.ID}, "userId=" + eve.ID: {c.ID, b.ID}, "status=disabled": {c.ID}, "hint=" + url.QueryEscape(a.Hint): {a.ID}, "hint=" + a.Secret[49:]: {a.ID},
		"expiresBefore=2050-01-01T00:00:00Z": {a.ID}, "lastUsedBefore=2050-01-01T00:00:00Z": {c.ID, b.ID, a.ID}, "status=active&userId=" + eve.ID: {b.ID},
		"expiresBefore=0001-01-01T00:00:00Z": nil,
	} {
		if got := find(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	var page struct {
		Keys []key
		Page struct{ Next *string }
	}
	var seen []string
	for next := "limit=2"; next != ""; {
		s.do(t, http.MethodGet, "/ai/admin/keys?"+next, "").into(t, http.StatusOK, &page)
		for _, k := range page.Keys {
			seen = append(seen, k.ID)
		}
		if next = ""; page.Page.Next != nil {
			next = "limit=2&cursor=" + *page.Page.Next
			s.do(t, http.MethodGet, "/ai/admin/keys?status=active&cursor="+*page.Page.Next, "").fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
		}
	}
	if !slices.Equal(seen, []string{c.ID, b.ID, a.ID}) {
		t.Errorf("pages: %v", seen)
	}
	for _, query := range []string{"x=1", "limit=0", "limit=501", "userId=x", "status=x", "hint=x", "expiresBefore=x", "cursor=x", "cursor=", "limit=1&limit=2", "hint=abc%00", "status=%ff"} {
		s.do(t, http.MethodGet, "/ai/admin/keys?"+query, "").fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
	}
}

// TestUseIsNoted once in an hour, without a change of the user.
func TestUseIsNoted(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	s := start(t, database, "")
	p := s.user(t)
	used, unused := s.issue(t, p), s.issue(t, p)
	for range 20 {
		if got := s.check(t, used.Secret, "m"); got != "" {
			t.Fatal(got)
		}
	}
	s.stop() // writes what is noted
	s = start(t, database, "")
	var after, never key
	s.do(t, http.MethodGet, used.path(), "").into(t, http.StatusOK, &after)
	s.do(t, http.MethodGet, unused.path(), "").into(t, http.StatusOK, &never)
	if after.LastUsedAt == nil || time.Since(*after.LastUsedAt) > time.Minute || never.LastUsedAt != nil {
		t.Fatalf("used %v, unused %v", after.LastUsedAt, never.LastUsedAt)
	}
	if got := s.check(t, used.Secret, "m"); got != "" {
		t.Fatal(got)
	}
	s.stop()
	s = start(t, database, "")
	var again key
	s.do(t, http.MethodGet, used.path(), "").into(t, http.StatusOK, &again)
	if same := after.LastUsedAt.Truncate(time.Hour).Equal(time.Now().UTC().Truncate(time.Hour)); same && !again.LastUsedAt.Equal(*after.LastUsedAt) {
		t.Errorf("written twice in an hour: %v, %v", after.LastUsedAt, again.LastUsedAt)
	}
	var shown person
	if s.do(t, http.MethodGet, p.path(), "").into(t, http.StatusOK, &shown); shown.Version != 3 {
		t.Errorf("version %d", shown.Version)
	}
}

// TestRevealsAreCounted for each gateway, user, provider and hour.
func TestRevealsAreCounted(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	s := start(t, database, "")
	p := s.user(t, `"credentials":{"openai":"sk-planted"}`)
	k := s.issue(t, p)
	hour := time.Now().UTC().Truncate(time.Hour)
	for range 7 {
		got := s.send(t, http.MethodGet, "/ai/admin/authorize/openai", "", "X-AI-Gateway-Token: "+tokens.gateway, "x-api-key: "+k.Secret, "X-AI-Model: m")
		if got.header.Get("X-AI-Credential") != "sk-planted" {
			t.Fatalf("%v", got)
		}
	}
	s.stop()
	if !time.Now().UTC().Truncate(time.Hour).Equal(hour) {
		t.Skip("the hour has changed meanwhile")
	}
	if err := pgtest.Exec(t.Context(), database, fmt.Sprintf(`DO $$ BEGIN ASSERT (SELECT array_agg((actor, action, user_id::text, provider, outcome, count)::text)
		FROM audit WHERE bucket IS NOT NULL) = ARRAY['(gateway,credential.revealed,%s,openai,success,7)'], (SELECT array_agg(a::text) FROM audit AS a)::text; END $$`, p.ID)); err != nil {
		t.Error(err)
	}
}
