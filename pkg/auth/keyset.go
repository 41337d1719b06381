package auth

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"
)

const (
	maxKeysAge    = 10 * time.Minute // after which a key that the issuer withdrew is noticed
	refreshBurst  = 5                // fetches for unknown key ids in a row,
	refreshEvery  = 2 * time.Second  // and then one in each of these
	retryFirst    = 200 * time.Millisecond
	retryMost     = 15 * time.Second
	fetchDeadline = 5 * time.Second
)

// keySet holds one issuer's public keys, fetched when they are first needed. It stands in
// for go-oidc's own remote key set, which fetches on every token with a made-up key id,
// keeps a withdrawn key for ever, and does not tell a bad token from an unreachable issuer.
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

// find returns the keys that may have signed a token, fetching them when they are not
// known; none when the issuer has no such key. It fails with [ErrUnavailable].
func (s *keySet) find(ctx context.Context, id, algorithm string) ([]crypto.PublicKey, error) {
	arrival := s.begun.Load()
	known := s.current.Load()
	found := known.matching(id, algorithm)
	if len(found) > 0 {
		if s.now().Sub(known.at) >= maxKeysAge {
			return s.renewed(ctx, known, id, algorithm), nil
		}
		return found, nil
	}
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if found := s.current.Load().matching(id, algorithm); len(found) > 0 {
		return found, nil // the wait brought them
	}
	fresh, err := s.since(ctx, arrival)
	if err != nil {
		return nil, err
	}
	return fresh.matching(id, algorithm), nil
}

// renewed replaces keys that are too old, unless another goroutine is at it or the issuer
// is away: then the old ones stay in use.
func (s *keySet) renewed(ctx context.Context, old *keys, id, algorithm string) []crypto.PublicKey {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	default:
		return old.matching(id, algorithm)
	}
	fresh, err := s.since(ctx, old.fetch)
	if err != nil {
		fresh = old
	}
	return fresh.matching(id, algorithm)
}

// since returns keys whose fetch began after the given one, or the current keys when it
// is too early for another fetch. The caller holds the lock.
func (s *keySet) since(ctx context.Context, arrival uint64) (*keys, error) {
	now, current := s.now(), s.current.Load()
	switch {
	case current != nil && current.fetch > arrival:
		return current, nil
	case now.Before(s.retryAt):
		return nil, fmt.Errorf("%w: the last try failed, the next waits", ErrUnavailable)
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
		s.log.Warn("the issuer's keys cannot be fetched", "error", err, "retryIn", wait)
		return nil, fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	s.retry.Reset()
	s.retryAt = time.Time{}
	fresh := &keys{list: list, at: now, fetch: number}
	s.current.Store(fresh)
	s.log.Info("the issuer's keys were fetched", "keys", len(list))
	return fresh, nil
}
