package auth_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"aiadmin/pkg/auth"
	"aiadmin/test/authtest"
)

// TestSignInBelongsToItsBeginning: a code is worth nothing without the verifier, and a token without the nonce,
// of the sign-in that it belongs to.
func TestSignInBelongsToItsBeginning(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	a, err := auth.New(auth.Options{Issuers: []auth.Issuer{{Issuer: issuer.URL, Audience: "api", ClientID: "console",
		Grants: []auth.Grant{{Claim: "sub", Value: "alice", Scopes: []auth.Scope{auth.UsersRead}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.SignInIssuers(); len(got) != 1 || got[0] != issuer.URL {
		t.Errorf("issuers %q", got)
	}
	begin := func() (auth.SignIn, string) {
		to, kept, err := a.BeginSignIn(t.Context(), issuer.URL, "http://127.0.0.1/back")
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Get(to)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		client.CloseIdleConnections()
		back, err := url.Parse(answer.Header.Get("Location"))
		if err != nil || back.Query().Get("state") != kept.State {
			t.Fatalf("%s: %v", back, err)
		}
		return kept, back.Query().Get("code")
	}
	kept, code := begin()
	token, err := a.EndSignIn(t.Context(), kept, code)
	if err != nil {
		t.Fatal(err)
	}
	if caller, err := a.Authenticate(t.Context(), "Bearer "+token); err != nil || !caller.Can(auth.UsersRead) || caller.Until.IsZero() {
		t.Errorf("%+v %v", caller, err)
	}
	for name, spoil := range map[string]func(*auth.SignIn){
		"verifier": func(s *auth.SignIn) { s.Verifier = "another-verifier-of-sufficient-length-0123456789" },
		"nonce":    func(s *auth.SignIn) { s.Nonce = "another" },
		"redirect": func(s *auth.SignIn) { s.Redirect = "http://127.0.0.1/elsewhere" },
		"issuer":   func(s *auth.SignIn) { s.Issuer = "https://elsewhere.example" },
	} {
		kept, code := begin()
		spoil(&kept)
		if _, err := a.EndSignIn(t.Context(), kept, code); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	issuer.Down()
	if _, _, err := a.BeginSignIn(t.Context(), issuer.URL, "http://127.0.0.1/back"); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("with the issuer down: %v", err)
	}
}
