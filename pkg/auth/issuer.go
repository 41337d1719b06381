package auth

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Issuer is one entry of config.yaml's oidc. The same issuer may come with several
// audiences; a token for more than one of them gets the grants of all.
type Issuer struct {
	Issuer   string // its URL, exactly as in its tokens' iss
	Audience string // what a token's aud must hold
	Grants   []Grant
}

// check refuses what could never work or would make callers' names ambiguous (OpenID
// Connect Discovery 1.0 section 3: an issuer's URL has neither query nor fragment).
func (i Issuer) check() error {
	at, err := url.Parse(i.Issuer)
	if err != nil || at.Host == "" || at.User != nil || strings.ContainsAny(i.Issuer, "?#") ||
		at.Scheme != "https" && at.Scheme != "http" {
		return fmt.Errorf("auth: issuer %q: expected an https:// URL without user, query and fragment", i.Issuer)
	}
	if i.Audience == "" {
		return fmt.Errorf("auth: issuer %q: expected an audience", i.Issuer)
	}
	for n, grant := range i.Grants {
		if err := grant.check(); err != nil {
			return fmt.Errorf("auth: issuer %q: grant %d: %w", i.Issuer, n, err)
		}
	}
	return nil
}

// notBeforeLeeway allows for an issuer whose clock runs ahead of ours. go-oidc's own
// check allows five minutes, in which a token that is not valid yet would be taken.
const notBeforeLeeway = 10 * time.Second

// issuer verifies one issuer's tokens.
type issuer struct {
	url      string
	policies []Issuer // the entries of config.yaml with this URL
	keys     *keySet
	now      func() time.Time
}

func newIssuer(url string, client *http.Client, now func() time.Time, log *slog.Logger) *issuer {
	return &issuer{url: url, keys: newKeySet(url, clientFor(url, client), now, log.With("issuer", url)), now: now}
}

// judge verifies the token and returns its caller, and when it expires.
func (i *issuer) judge(ctx context.Context, claimed jwt) (Caller, time.Time, error) {
	keys, err := i.keys.find(ctx, claimed.keyID, claimed.algorithm)
	if err != nil {
		return Caller{}, time.Time{}, err
	}
	token, err := i.verify(ctx, claimed.raw, keys)
	if err != nil {
		return Caller{}, time.Time{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	claims, err := readClaims(token)
	if err != nil {
		return Caller{}, time.Time{}, err
	}
	if early := claims.NotBefore - float64(i.now().Add(notBeforeLeeway).Unix()); early > 0 {
		return Caller{}, time.Time{}, invalid("it is not valid yet")
	}
	caller, err := i.caller(token, claims.All)
	return caller, token.Expiry, err
}

// verify checks the signature, iss, exp and, roughly, nbf.
func (i *issuer) verify(ctx context.Context, raw string, keys []crypto.PublicKey) (*oidc.IDToken, error) {
	return oidc.NewVerifier(i.url, &oidc.StaticKeySet{PublicKeys: keys}, &oidc.Config{
		SkipClientIDCheck:    true, // caller() checks aud: there may be several audiences
		SupportedSigningAlgs: algorithms,
		Now:                  i.now,
	}).Verify(ctx, raw)
}

// caller checks aud and sub and adds up what the token is granted.
func (i *issuer) caller(token *oidc.IDToken, all claims) (Caller, error) {
	// RFC 7519 lets sub be anything; OpenID Connect Core section 2 says 255 characters.
	// It ends up in logs and in the database, which takes no NUL.
	sub := token.Subject
	if sub == "" || len(sub) > 255 || strings.ContainsFunc(sub, unicode.IsControl) {
		return Caller{}, invalid("expected a sub of 1 to 255 bytes without control characters")
	}
	var scopes []Scope
	meant := false
	for _, policy := range i.policies {
		if !slices.Contains(token.Audience, policy.Audience) {
			continue
		}
		meant = true
		for _, grant := range policy.Grants {
			if grant.matches(all) {
				scopes = append(scopes, grant.Scopes...)
			}
		}
	}
	if !meant {
		return Caller{}, invalid("it is meant for another audience")
	}
	return NewCaller("oidc:"+i.url+"#"+sub, scopes...), nil
}
