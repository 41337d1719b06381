package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// federation is an immutable snapshot of the issuers, with their keys and the answers
// given under them.
type federation struct {
	issuers map[string]*issuer // by the exact iss
	cache   *verdicts
}

func newFederation(configured []Issuer, client *http.Client, now func() time.Time, log *slog.Logger) (*federation, error) {
	f := &federation{issuers: map[string]*issuer{}, cache: newVerdicts(now)}
	var problems []error
	for _, one := range configured {
		if err := one.check(); err != nil {
			problems = append(problems, err)
			continue
		}
		known, ok := f.issuers[one.Issuer]
		if !ok {
			known = newIssuer(one.Issuer, client, now, log)
			f.issuers[one.Issuer] = known
		}
		known.policies = append(known.policies, one)
	}
	return f, errors.Join(problems...)
}

// authenticate judges a token that is none of tokens.json's.
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
	from, ok := f.issuers[claimed.issuer]
	if !ok {
		return Caller{}, invalid("its issuer is not configured")
	}
	caller, expiry, err := from.judge(ctx, claimed)
	if err != nil {
		return Caller{}, err
	}
	f.cache.add(hash, caller, expiry)
	return caller, nil
}
