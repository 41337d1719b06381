package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// The errors of [Authenticator.Authenticate]. Their texts are for the log: an answer tells the
// client no more than which of them it was.
var (
	// ErrUnauthenticated is matched by ErrMissing and ErrInvalid: answer 401.
	ErrUnauthenticated = errors.New("auth: unauthenticated")
	// ErrMissing: no Authorization header, or one of another scheme than Bearer.
	ErrMissing = fmt.Errorf("%w: no bearer token", ErrUnauthenticated)
	// ErrInvalid: a bearer token that is malformed, unknown, expired or forged.
	ErrInvalid = fmt.Errorf("%w: invalid bearer token", ErrUnauthenticated)
	// ErrExpired, an ErrInvalid: a token that was good until it expired.
	ErrExpired = invalid("it has expired")
	// ErrUnavailable: the issuer's keys cannot be fetched now, so the token can be neither accepted
	// nor refused: answer 503. It wraps the context's error if that ended the wait.
	ErrUnavailable = errors.New("auth: the token's issuer cannot be reached")
)

// invalid is ErrInvalid with a reason, which must not hold any part of the token.
func invalid(reason string) error { return fmt.Errorf("%w: %s", ErrInvalid, reason) }

// Options configure an Authenticator.
type Options struct {
	Tokens  []Token  // of tokens.json
	Issuers []Issuer // of config.yaml's oidc
	// Disabled lets everybody do everything: `auth: disabled` in config.yaml.
	Disabled bool
	// HTTPClient calls the issuers. The default trusts the system's certificates and,
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

// New returns an Authenticator. It contacts no issuer yet. It fails if nobody could ever be let in:
// without tokens and issuers, unless Disabled.
func New(o Options) (*Authenticator, error) {
	a := &Authenticator{disabled: o.Disabled, client: o.HTTPClient, now: o.Now, log: o.Log}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if !o.Disabled && len(o.Tokens) == 0 && len(o.Issuers) == 0 {
		return nil, errors.New("auth: nobody could call the service: write tokens into auth/tokens.json, an issuer under oidc, or auth: disabled")
	}
	a.SetTokens(o.Tokens)
	a.SetIssuers(o.Issuers)
	return a, nil
}

// SetTokens replaces all tokens. Every Authenticate that begins after it returns uses the new ones.
func (a *Authenticator) SetTokens(tokens []Token) { a.tokens.Store(newTokenSet(tokens)) }

// SetIssuers replaces all issuers, with their keys and the cache of verified tokens.
func (a *Authenticator) SetIssuers(issuers []Issuer) {
	a.federation.Store(newFederation(issuers, a.client, a.now, a.log))
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
	if known := a.tokens.Load().find(hash); known != nil {
		if !known.expiresAt.IsZero() && !a.now().Before(known.expiresAt) {
			return Caller{}, ErrExpired
		}
		caller := known.caller
		caller.Until = known.expiresAt
		return caller, nil
	}
	return a.federation.Load().authenticate(ctx, token, hash)
}

// maxHeader bounds the Authorization header, in bytes. The largest ID tokens seen, with
// hundreds of groups, are below it.
const maxHeader = 16 << 10

// bearer returns the token of an Authorization header (RFC 6750 section 2.1). The scheme ignores
// case (RFC 9110 section 11.1). Any visible ASCII is accepted, more than the grammar's b64token: an
// operator's own token is known by its hash, whatever its characters.
func bearer(header string) (string, error) {
	if len(header) > maxHeader {
		return "", invalid("the header is over 16 KiB")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	token = strings.Trim(token, " ")
	if token == "" {
		return "", invalid("the token is empty")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", invalid("the token holds a character other than visible ASCII")
		}
	}
	return token, nil
}
