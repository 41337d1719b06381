package auth_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"aiadmin/pkg/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func token(name, plain string, scopes ...auth.Scope) auth.Token {
	return auth.Token{Name: name, SHA256: sha256.Sum256([]byte(plain)), Scopes: scopes}
}

func newAuth(t testing.TB, o auth.Options) *auth.Authenticator {
	t.Helper()
	a, err := auth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestScopes(t *testing.T) {
	t.Parallel()
	reader, admin := auth.NewCaller("r", auth.UsersRead), auth.NewCaller("a", auth.Admin)
	for _, scope := range auth.Scopes() {
		if parsed, err := auth.ParseScope(string(scope)); err != nil || parsed != scope {
			t.Errorf("ParseScope(%s) = %s, %v", scope, parsed, err)
		}
		if !admin.Can(scope) {
			t.Errorf("admin cannot %s", scope)
		}
		if reader.Can(scope) != (scope == auth.UsersRead) {
			t.Errorf("a reader's Can(%s) is %t", scope, reader.Can(scope))
		}
		if (auth.Caller{}).Can(scope) {
			t.Errorf("the zero caller can %s", scope)
		}
	}
	for _, wrong := range []string{"", "Admin", "users", "users:read ", "users:*"} {
		if _, err := auth.ParseScope(wrong); err == nil {
			t.Errorf("ParseScope(%q) took it", wrong)
		}
	}
}

func TestBearerTokens(t *testing.T) {
	t.Parallel()
	a := newAuth(t, auth.Options{Tokens: []auth.Token{
		token("first", "aaa", auth.UsersRead), token("hr", "s3cret", auth.EventsSend),
		token("odd", `{"a":1}#é"`[:8], auth.Admin)}})
	for _, test := range []struct {
		header string
		name   string
		err    error
	}{
		{"Bearer s3cret", "hr", nil},
		{"bearer s3cret", "hr", nil},
		{"BEARER  s3cret", "hr", nil},
		{"Bearer aaa", "first", nil},
		{`Bearer {"a":1}#`, "odd", nil},
		{"", "", auth.ErrMissing},
		{"Basic czNjcmV0", "", auth.ErrMissing},
		{"s3cret", "", auth.ErrMissing},
		{"Bearers3cret", "", auth.ErrMissing},
		{"Bearer", "", auth.ErrInvalid},
		{"Bearer ", "", auth.ErrInvalid},
		{"Bearer S3cret", "", auth.ErrInvalid},
		{"Bearer s3cre", "", auth.ErrInvalid},
		{"Bearer s3cret s3cret", "", auth.ErrInvalid},
		{"Bearer s3cret\x00", "", auth.ErrInvalid},
		{"Bearer s3crét", "", auth.ErrInvalid},
		{"Bearer a.b.c", "", auth.ErrInvalid},
		{"Bearer " + strings.Repeat("s", 16<<10), "", auth.ErrInvalid},
	} {
		caller, err := a.Authenticate(t.Context(), test.header)
		if !errors.Is(err, test.err) || caller.Name != test.name {
			t.Errorf("%.40q: %q, %v; want %q, %v", test.header, caller.Name, err, test.name, test.err)
		}
		if err != nil && (!errors.Is(err, auth.ErrUnauthenticated) || caller.Can(auth.UsersRead)) {
			t.Errorf("%.40q: %v must be ErrUnauthenticated and the caller may do nothing", test.header, err)
		}
		if err != nil && strings.Contains(err.Error(), "3cr") {
			t.Errorf("%.40q: the error quotes the token: %v", test.header, err)
		}
	}
}

func TestLongestHeader(t *testing.T) {
	t.Parallel()
	plain := strings.Repeat("x", 16<<10-len("Bearer "))
	a := newAuth(t, auth.Options{Tokens: []auth.Token{token("long", plain, auth.Admin)}})
	if _, err := a.Authenticate(t.Context(), "Bearer "+plain); err != nil {
		t.Errorf("a header of exactly 16 KiB: %v", err)
	}
}

func TestSetTokensTakesEffectAtOnce(t *testing.T) {
	t.Parallel()
	a := newAuth(t, auth.Options{Tokens: []auth.Token{token("old", "old", auth.Admin)}})
	if _, err := a.Authenticate(t.Context(), "Bearer old"); err != nil {
		t.Fatal(err)
	}
	a.SetTokens([]auth.Token{token("new", "new", auth.Admin)})
	if _, err := a.Authenticate(t.Context(), "Bearer old"); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("the removed token: %v", err)
	}
	if caller, err := a.Authenticate(t.Context(), "Bearer new"); err != nil || caller.Name != "new" {
		t.Errorf("the added token: %q, %v", caller.Name, err)
	}
	a.SetTokens(nil)
	if _, err := a.Authenticate(t.Context(), "Bearer new"); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("no tokens left: %v", err)
	}
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	a := newAuth(t, auth.Options{Disabled: true})
	for _, header := range []string{"", "Basic x", "Bearer wrong", strings.Repeat("x", 1<<20)} {
		caller, err := a.Authenticate(t.Context(), header)
		if err != nil || caller.Name != "anonymous" || !caller.Can(auth.Admin) {
			t.Errorf("%.10q: %+v, %v", header, caller, err)
		}
	}
}

func TestNewRefusesWhatLetsNobodyIn(t *testing.T) {
	t.Parallel()
	if _, err := auth.New(auth.Options{}); err == nil {
		t.Error("New took nothing")
	}
}

// A token that stays must be accepted and one that never was must not be, whatever
// happens to the others at the same time.
func TestSetTokensWhileAuthenticating(t *testing.T) {
	t.Parallel()
	kept := token("kept", "kept", auth.UsersRead)
	a := newAuth(t, auth.Options{Tokens: []auth.Token{kept}})
	ctx, stop := context.WithCancel(t.Context())
	var readers, writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			a.SetTokens([]auth.Token{token(fmt.Sprint(i), fmt.Sprint(i), auth.Admin), kept})
		}
	})
	for range 4 {
		readers.Go(func() {
			for range 2000 {
				if caller, err := a.Authenticate(ctx, "Bearer kept"); err != nil || caller.Name != "kept" || caller.Can(auth.Admin) {
					t.Errorf("kept: %+v, %v", caller, err)
					return
				}
				if _, err := a.Authenticate(ctx, "Bearer never"); !errors.Is(err, auth.ErrInvalid) {
					t.Errorf("never: %v", err)
					return
				}
			}
		})
	}
	readers.Wait()
	stop()
	writer.Wait()
}
