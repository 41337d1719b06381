package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// Options configure an Authenticator.
type Options struct {
	Tokens  []Token  // of ParseTokens
	Issuers []Issuer // of config.yaml's oidc
	// Disabled lets everybody do everything: `auth: disabled` in config.yaml.
	Disabled bool
	// HTTPClient reaches the issuers. The default trusts the system's certificates and,
	// in a cluster, the Kubernetes API server.
	HTTPClient *http.Client
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default: nothing is logged
}

// Authenticator judges bearer tokens. Its methods may be called at the same time.
type Authenticator struct {
	disabled   bool
	client     *http.Client // nil: the default
	now        func() time.Time
	log        *slog.Logger
	tokens     atomic.Pointer[tokenSet]
	federation atomic.Pointer[federation]
}

// New returns an Authenticator; it reaches for no issuer. It fails on issuers that cannot
// be right, and when nobody could ever be let in: neither tokens nor issuers, and not
// Disabled.
func New(o Options) (*Authenticator, error) {
	a := &Authenticator{disabled: o.Disabled, client: o.HTTPClient, now: o.Now, log: o.Log}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if !o.Disabled && len(o.Tokens) == 0 && len(o.Issuers) == 0 {
		return nil, errors.New("auth: expected tokens in auth/tokens.json, an issuer under oidc, or auth: disabled")
	}
	a.SetTokens(o.Tokens)
	if err := a.SetIssuers(o.Issuers); err != nil {
		return nil, err
	}
	return a, nil
}

// SetTokens replaces all tokens, for every Authenticate that begins after it returns.
func (a *Authenticator) SetTokens(tokens []Token) { a.tokens.Store(newTokenSet(tokens)) }

// SetIssuers replaces all issuers, their keys and what is remembered of verified tokens.
// On an error, which joins one problem each, the old ones stay.
func (a *Authenticator) SetIssuers(issuers []Issuer) error {
	f, err := newFederation(issuers, a.client, a.now, a.log)
	if err != nil {
		return err
	}
	a.federation.Store(f)
	return nil
}

// Authenticate judges the value of an Authorization header, "" when there is none. It
// fails with [ErrMissing], [ErrInvalid] or [ErrUnavailable]. It may wait for an issuer,
// for a few seconds at most and no longer than ctx.
func (a *Authenticator) Authenticate(ctx context.Context, authorizationHeader string) (Caller, error) {
	if a.disabled {
		return NewCaller(anonymous, Admin), nil
	}
	token, err := bearer(authorizationHeader)
	if err != nil {
		return Caller{}, err
	}
	hash := sha256.Sum256([]byte(token))
	if caller, ok := a.tokens.Load().find(hash); ok {
		return caller, nil
	}
	return a.federation.Load().authenticate(ctx, token, hash)
}
