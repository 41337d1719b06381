package store_test

import (
	"sync"
	"testing"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// old is what a revision from before the forms writes: keys in lower case, by a session that does not say
// that it knows the forms.
const old = `INSERT INTO users (id, created_at, updated_at, version, tag, role, status, name, name_key, email, email_key, credentials, metadata, facets)
	SELECT gen_random_uuid(), now(), now(), 1, tag, 'member', 'active', name, lower(name), email, lower(email), '[]', '{}', '{}'
	FROM (VALUES ('nikos', 'Νίκος Παππάς', 'νίκος@example.com'), ('nikos2', 'Groß', 'ΝΊΚΟΣ@EXAMPLE.COM'), ('jose', 'José', 'u@münchen.de'),
		('jose2', 'Jose', 'u@xn--mnchen-3ya.de')) AS given(tag, name, email)`

// TestFormsOfOldUsers: users that an older revision wrote are found by the new forms once these are computed,
// by any number of copies at once. Values that collide by the new forms stay and are reported.
func TestFormsOfOldUsers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := open(t, url)
	must(t, pgtest.Exec(t.Context(), url, old))
	var copies sync.WaitGroup
	for range 4 {
		other := open(t, url)
		copies.Go(func() {
			if _, err := other.Form(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	copies.Wait()
	for _, q := range []string{"ΠΑΠΠΆΣ", "GROSS", "jose", "münchen"} {
		page, err := s.List(t.Context(), parse(t, "q="+q))
		must(t, err)
		if len(page.Users) == 0 {
			t.Errorf("q=%s finds nobody", q)
		}
	}
	conflicts, err := s.FormConflicts(t.Context())
	must(t, err)
	if len(conflicts) != 2 {
		t.Fatalf("%d conflicts: %v", len(conflicts), conflicts)
	}
	for _, c := range conflicts {
		u, err := s.Get(t.Context(), user.Ref{ID: c.UserID})
		must(t, err)
		if c.Field != "email" || u.Email == nil {
			t.Errorf("%+v of %+v", c, u)
		}
		// A change of another field leaves the key alone; a change of the address resolves the conflict.
		_, err = change(t.Context(), s, c.UserID, func(u *user.User) { u.Name += "!" })
		must(t, err)
		_, err = change(t.Context(), s, c.UserID, func(u *user.User) {
			address := u.Tag + "@example.org"
			u.Email = &address
			u.SetForms()
		})
		must(t, err)
	}
	if conflicts, err = s.FormConflicts(t.Context()); err != nil || len(conflicts) != 0 {
		t.Errorf("after the addresses were changed: %v, %v", conflicts, err)
	}
}

// TestAnOldRevisionBesideThisOne: its changes of a user are found at once, and get the new forms later.
func TestAnOldRevisionBesideThisOne(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := open(t, url)
	u := ann(t, "ann", func(u *user.User) { u.UserName = nil; u.SetForms() })
	insert(t, s, u)
	must(t, pgtest.Exec(t.Context(), url, "UPDATE users SET version = version + 1, name = 'Bob', name_key = 'bob', email = 'B@y.example', email_key = 'b@y.example'"))
	for _, query := range []string{"q=bob", "email=b@Y.example", "userName=B@y.example"} {
		page, err := s.List(t.Context(), parse(t, query))
		must(t, err)
		if len(page.Users) != 1 {
			t.Errorf("%s finds %d users", query, len(page.Users))
		}
	}
	if n, err := s.Form(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("%d users got their forms: %v", n, err)
	}
}

// TestFormsWaitForHeldUsers: a user whom another session holds gets its forms when it is free.
func TestFormsWaitForHeldUsers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := open(t, url)
	must(t, pgtest.Exec(t.Context(), url, old))
	tx, _, err := s.Begin(t.Context(), store.Wait, &store.Wanted{Users: []user.Ref{{Tag: "nikos"}}})
	must(t, err)
	var seen []int
	formed := make(chan error)
	once := sync.OnceFunc(tx.Rollback)
	go func() {
		_, err := s.Form(t.Context(), func(done int) {
			seen = append(seen, done)
			once()
		})
		formed <- err
	}()
	must(t, <-formed)
	if len(seen) < 2 || seen[0] != 3 || seen[len(seen)-1] != 4 {
		t.Errorf("progress: %v", seen)
	}
}
