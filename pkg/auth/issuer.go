package auth

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Issuer is one entry of config.yaml's oidc, which [aiadmin/pkg/config] has validated. The
// same issuer may come with several audiences; a token for more than one of them gets the
// grants of all.
type Issuer struct {
	Issuer   string // its URL, exactly as in its tokens' iss
	Audience string // what a token's aud must hold
	// ClientID is the console's at the issuer, a public client (OAuth 2.1 section 2.1); its ID tokens are
	// accepted as those for Audience are. Empty if nobody signs in with this issuer.
	ClientID string
	Grants   []Grant
}

// Grant gives scopes to tokens whose Claim is Value. A claim that is a list matches by each of its
// elements; true, false and numbers are compared by their JSON text; objects and null match
// nothing. Claim is a claim's name or, if the token has no claim of that name, a path into nested
// objects: realm_access.roles, or kubernetes.io.namespace.
type Grant struct {
	Claim, Value string
	Scopes       []Scope
}

// federation is an immutable snapshot of the issuers, with their keys and the answers
// given under them.
type federation struct {
	issuers map[string]*issuer // by the exact iss
	cache   *verdicts
}

func newFederation(configured []Issuer, client *http.Client, now func() time.Time, log *slog.Logger) *federation {
	f := &federation{issuers: map[string]*issuer{}, cache: newVerdicts(now)}
	for _, one := range configured {
		known, ok := f.issuers[one.Issuer]
		if !ok {
			url := one.Issuer
			known = &issuer{url: url, now: now, keys: newKeySet(url, clientFor(url, client), now, log.With("issuer", url))}
			f.issuers[url] = known
		}
		known.policies = append(known.policies, one)
	}
	return f
}

// authenticate judges a token that is not in tokens.json.
func (f *federation) authenticate(ctx context.Context, token string, hash [32]byte) (Caller, error) {
	if len(f.issuers) == 0 || strings.Count(token, ".") != 2 {
		return Caller{}, invalid("it is not a known token")
	}
	if caller, ok := f.cache.get(hash); ok {
		return caller, nil
	}
	claimed, err := parseJWT(token)
	if err != nil {
		return Caller{}, err
	}
	from, ok := f.issuers[claimed.claims.text("iss")]
	if !ok {
		return Caller{}, invalid("its issuer is not configured")
	}
	caller, expiry, err := from.judge(ctx, claimed)
	if err != nil {
		return Caller{}, err
	}
	caller.Until = expiry
	f.cache.add(hash, caller, expiry)
	return caller, nil
}

// issuer verifies one issuer's tokens.
type issuer struct {
	url      string
	policies []Issuer // the entries of config.yaml with this URL
	keys     *keySet
	now      func() time.Time
}

// judge verifies the token and returns its caller, and when it expires. The claims are checked
// before the signature: a token that can't be accepted costs no cryptography, and no request to the
// issuer.
func (i *issuer) judge(ctx context.Context, token jwt) (Caller, time.Time, error) {
	expiry, err := i.period(token.claims)
	if err != nil {
		return Caller{}, time.Time{}, err
	}
	caller, err := i.caller(token.claims)
	if err != nil {
		return Caller{}, time.Time{}, err
	}
	return caller, expiry, i.keys.verify(ctx, token)
}

// notBeforeLeeway allows for an issuer whose clock runs ahead of ours.
const notBeforeLeeway = 10 * time.Second

// period checks exp, nbf and iat (RFC 7519 sections 4.1.4 to 4.1.6). exp must be there.
func (i *issuer) period(all object) (expiry time.Time, err error) {
	expiry, given, err := all.time("exp")
	switch {
	case err != nil:
		return expiry, err
	case !given:
		return expiry, invalid("it has no exp")
	case !i.now().Before(expiry):
		return expiry, ErrExpired
	}
	notBefore, _, err := all.time("nbf")
	if err != nil {
		return expiry, err
	}
	if i.now().Add(notBeforeLeeway).Before(notBefore) {
		return expiry, invalid("it is not valid yet")
	}
	_, _, err = all.time("iat")
	return expiry, err
}

// caller checks aud and sub and collects the scopes that the token is granted.
func (i *issuer) caller(all object) (Caller, error) {
	// RFC 7519 lets sub be anything; OpenID Connect Core section 2 says 255 characters.
	// It ends up in logs and in the database, which takes no NUL.
	sub := all.text("sub")
	if sub == "" || len(sub) > 255 || strings.ContainsFunc(sub, unicode.IsControl) {
		return Caller{}, invalid("its sub is not 1 to 255 bytes without control characters")
	}
	var granted []Scope
	meant, audience := false, all.audience()
	for _, policy := range i.policies {
		if !slices.Contains(audience, policy.Audience) && (policy.ClientID == "" || !slices.Contains(audience, policy.ClientID)) {
			continue
		}
		meant = true
		for _, grant := range policy.Grants {
			if grant.matches(all) {
				granted = append(granted, grant.Scopes...)
			}
		}
	}
	if !meant {
		return Caller{}, invalid("it is meant for another audience")
	}
	return NewCaller("oidc:"+i.url+"#"+sub, granted...), nil
}

// Verifying a JWT takes 50 µs or more, a cache lookup under one.
const (
	verdictsKept = 4096             // tokens; each entry is at most 255 bytes of sub, the issuer's URL and 250 bytes
	verdictTTL   = 60 * time.Second // how long a withdrawn key's tokens may go on
)

// verdicts caches the callers of verified tokens, by the tokens' hash. Refusals are not cached:
// they would evict valid callers.
//
// It is the plain LRU with a time in the entry; the library's expiring one starts a
// goroutine that never ends, and cannot honour each token's own exp.
type verdicts struct {
	kept *lru.Cache[[32]byte, verdict]
	now  func() time.Time
}

type verdict struct {
	caller Caller
	until  time.Time
}

func newVerdicts(now func() time.Time) *verdicts {
	kept, err := lru.New[[32]byte, verdict](verdictsKept)
	if err != nil {
		panic(err) // only a size below 1 can do that
	}
	return &verdicts{kept, now}
}

func (v *verdicts) get(hash [32]byte) (Caller, bool) {
	known, ok := v.kept.Get(hash)
	if !ok || !v.now().Before(known.until) {
		return Caller{}, false
	}
	return known.caller, true
}

func (v *verdicts) add(hash [32]byte, caller Caller, expiry time.Time) {
	until := v.now().Add(verdictTTL)
	if expiry.Before(until) {
		until = expiry
	}
	v.kept.Add(hash, verdict{caller, until})
}
