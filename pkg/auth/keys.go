package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

const (
	maxKeysAge    = 10 * time.Minute // after which a key that the issuer withdrew is noticed
	refreshBurst  = 5                // fetches in a row for signatures that no key verifies,
	refreshEvery  = 2 * time.Second  // and then one in each of these
	retryFirst    = 200 * time.Millisecond
	retryMost     = 15 * time.Second
	fetchDeadline = 5 * time.Second
)

// keySet holds one issuer's public keys, fetched when they are first needed. It stands in
// for go-oidc's own remote key set, which fetches on every token with a made-up key id,
// keeps a withdrawn key forever, and does not tell a bad token from an unreachable issuer.
type keySet struct {
	fetch   func(context.Context) ([]publicKey, error)
	now     func() time.Time
	log     *slog.Logger
	current atomic.Pointer[keys]
	begun   atomic.Uint64 // fetches begun

	lock    chan struct{} // holds one element while a goroutine owns what follows
	limiter *rate.Limiter
	retry   *backoff.ExponentialBackOff
	retryAt time.Time // the zero time unless the last fetch failed
}

// keys are what one fetch brought.
type keys struct {
	list  []publicKey
	at    time.Time
	fetch uint64 // the value of begun
}

func newKeySet(issuer string, client *http.Client, now func() time.Time, log *slog.Logger) *keySet {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval, retry.Multiplier = retryFirst, retryMost, 2
	return &keySet{
		fetch:   func(ctx context.Context) ([]publicKey, error) { return fetchKeys(ctx, client, issuer) },
		now:     now,
		log:     log,
		lock:    make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Every(refreshEvery), refreshBurst),
		retry:   retry,
	}
}

// verify checks the token's signature. When no key at hand verifies it (an unknown key id,
// or a key that was replaced under its own id), the keys are fetched again, at a bounded
// rate. It fails with [ErrInvalid] or [ErrUnavailable].
func (s *keySet) verify(ctx context.Context, token jwt) error {
	arrival := s.begun.Load()
	held := s.current.Load()
	if held.verify(token) {
		if s.now().Sub(held.at) < maxKeysAge || s.renewed(ctx, held).verify(token) {
			return nil
		}
		return errSignature
	}
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if now := s.current.Load(); now != held && now.verify(token) {
		return nil // another request has fetched them meanwhile
	}
	fresh, err := s.since(ctx, arrival)
	if err != nil {
		return err
	}
	if fresh == held || !fresh.verify(token) {
		return errSignature
	}
	return nil
}

var errSignature = invalid("its signature is by none of the issuer's keys")

// renewed replaces keys that are too old. The old ones stay in use while another goroutine fetches
// new ones, or the issuer is away.
func (s *keySet) renewed(ctx context.Context, old *keys) *keys {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	default:
		return old
	}
	fresh, err := s.since(ctx, old.fetch)
	if err != nil {
		return old
	}
	return fresh
}

// since returns keys whose fetch began after the given one, or the current keys when it
// is too early for another fetch. The caller holds the lock.
func (s *keySet) since(ctx context.Context, arrival uint64) (*keys, error) {
	now, current := s.now(), s.current.Load()
	switch {
	case current != nil && current.fetch > arrival:
		return current, nil
	case now.Before(s.retryAt):
		return nil, fmt.Errorf("%w: the last fetch failed, and the next one is not due yet", ErrUnavailable)
	case current != nil && !s.limiter.AllowN(now, 1):
		return current, nil
	}
	number := s.begun.Add(1)
	// Not ctx: clients that hang up in a row would keep the keys from ever coming.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchDeadline)
	defer cancel()
	list, err := s.fetch(ctx)
	if err != nil {
		wait := s.retry.NextBackOff()
		s.retryAt = s.now().Add(wait)
		s.log.Warn("the issuer's keys cannot be fetched", "error", err, "retryIn", wait.String())
		return nil, fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	s.retry.Reset()
	s.retryAt = time.Time{}
	fresh := &keys{list: list, at: now, fetch: number}
	s.current.Store(fresh)
	s.log.Info("the issuer's keys were fetched", "keys", len(list))
	return fresh, nil
}

// publicKey is one key of a JWKS (RFC 7517) that may verify a signature.
type publicKey struct {
	id, algorithm string // either may be ""
	key           crypto.PublicKey
}

// verify tells whether one of the keys of the token's key id and algorithm made its
// signature. A key without an algorithm may be of any; a token without a key id may be
// signed by any key (RFC 7515 section 4.1.4).
func (k *keys) verify(token jwt) bool {
	if k == nil {
		return false
	}
	for _, one := range k.list {
		if (token.keyID == "" || one.id == token.keyID) && (one.algorithm == "" || one.algorithm == token.algorithm) {
			if _, err := token.signed.Verify(one.key); err == nil {
				return true
			}
		}
	}
	return false
}

// fetchKeys asks the issuer where its keys are (OpenID Connect Discovery 1.0 section 4) and gets
// them. It asks every time, since an issuer may move them.
func fetchKeys(ctx context.Context, client *http.Client, issuer string) ([]publicKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", shorten(err))
	}
	var document struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, fmt.Errorf("discovery: %w", shorten(err))
	}
	if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(document.JWKS, "https:") {
		return nil, errors.New("discovery: expected an https jwks_uri")
	}
	list, err := getJWKS(ctx, client, document.JWKS)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", shorten(err))
	}
	return list, nil
}

func getJWKS(ctx context.Context, client *http.Client, from string) ([]publicKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Cache-Control", "no-cache") // a proxy's old copy has no new key
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("expected status 200, got %d", response.StatusCode)
	}
	body, err := io.ReadAll(response.Body) // the client bounds it
	if err != nil {
		return nil, err
	}
	return parseJWKS(body)
}

// parseJWKS skips keys that are not public signature keys of a supported kind, as RFC 7517 section
// 5 asks. A set without any is refused, so that the last good one stays in use.
func parseJWKS(body []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("expected a JSON Web Key Set")
	}
	var list []publicKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && forSignatures(raw, key.Use) && isStrong(key.Key) {
			list = append(list, publicKey{key.KeyID, key.Algorithm, key.Key})
		}
	}
	if len(list) == 0 {
		return nil, errors.New("expected a JSON Web Key Set with at least one public signature key")
	}
	return list, nil
}

// forSignatures tells whether a key may verify signatures (RFC 7517 sections 4.2 and 4.3).
func forSignatures(raw json.RawMessage, use string) bool {
	var key struct {
		Operations []string `json:"key_ops"`
	}
	return json.Unmarshal(raw, &key) == nil && (use == "" || use == "sig") &&
		(key.Operations == nil || slices.Contains(key.Operations, "verify"))
}

// isStrong tells whether a key is public, and long enough (RFC 7518 section 3.3).
func isStrong(key any) bool {
	switch public := key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= 2048
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// shorten keeps an issuer's error page, which go-oidc quotes whole, out of the log.
func shorten(err error) error {
	const most = 300
	if text := err.Error(); len(text) > most {
		return errors.New(strings.ToValidUTF8(text[:most], "") + "…")
	}
	return err
}
