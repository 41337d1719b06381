package auth_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/auth"
)

func TestNewToken(t *testing.T) {
	t.Parallel()
	plain, made, err := auth.NewToken("ci", auth.UsersRead, auth.EventsSend)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain.Reveal(), "aia_") || plain.Len() != len("aia_")+43 {
		t.Errorf("a token of %d bytes", plain.Len())
	}
	if other, _, _ := auth.NewToken("ci", auth.UsersRead); other.Reveal() == plain.Reveal() {
		t.Error("two tokens are the same")
	}
	a := newAuth(t, auth.Options{Tokens: []auth.Token{made}})
	if caller, err := a.Authenticate(t.Context(), "Bearer "+plain.Reveal()); err != nil || caller.Name != "ci" || !caller.Can(auth.EventsSend) {
		t.Errorf("%+v, %v", caller, err)
	}
	for _, name := range []string{"", "a\nb", "anonymous", "oidc:x"} {
		if _, _, err := auth.NewToken(name, auth.Admin); err == nil {
			t.Errorf("NewToken(%q) took it", name)
		}
	}
	if _, _, err := auth.NewToken("ci"); err == nil {
		t.Error("NewToken took no scopes")
	}
}

func TestTokenIsWrittenWithItsExpiry(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 31, 12, 0, 0, 0, time.FixedZone("", 3600))
	for want, entry := range map[string]auth.Token{`"scopes":["admin"]}`: {Scopes: []auth.Scope{auth.Admin}},
		`"expiresAt":"2027-01-31T11:00:00Z"}`: {ExpiresAt: at}} {
		if got, err := json.Marshal(entry); err != nil || !strings.HasSuffix(string(got), want) {
			t.Errorf("%s, %v; want %s at its end", got, err, want)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	c := &clock{}
	entry := token("contractor", "s3cret", auth.UsersRead)
	entry.ExpiresAt = time.Now().Add(time.Minute)
	a := newAuth(t, auth.Options{Tokens: []auth.Token{entry, token("other", "other", auth.Admin)}, Now: c.Now})
	expect(t, a, "s3cret", nil)
	c.Advance(61 * time.Second)
	expect(t, a, "s3cret", auth.ErrExpired)
	if !errors.Is(auth.ErrExpired, auth.ErrInvalid) {
		t.Error("an expired token must be answered as an invalid one")
	}
	expect(t, a, "other", nil)
}
