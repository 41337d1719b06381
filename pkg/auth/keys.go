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
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// publicKey is one key of a JWKS (RFC 7517) that may verify a signature.
type publicKey struct {
	id, algorithm string // either may be ""
	key           crypto.PublicKey
}

// matching returns the keys of that id and algorithm. A key without an algorithm may be
// of any; a token without a key id may be signed by any key (RFC 7515 section 4.1.4).
func (k *keys) matching(id, algorithm string) []crypto.PublicKey {
	if k == nil {
		return nil
	}
	var found []crypto.PublicKey
	for _, one := range k.list {
		if (id == "" || one.id == id) && (one.algorithm == "" || one.algorithm == algorithm) {
			found = append(found, one.key)
		}
	}
	return found
}

// fetchKeys asks the issuer where its keys are (OpenID Connect Discovery 1.0 section 4)
// and gets them. It asks anew every time, so that an issuer may move them.
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

// parseJWKS leaves out what is no public signature key of ours, as RFC 7517 section 5
// asks. A set without any is refused, so that the last good one stays in use.
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
		if key.UnmarshalJSON(raw) != nil || key.Use != "" && key.Use != "sig" {
			continue
		}
		switch key.Key.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
			list = append(list, publicKey{key.KeyID, key.Algorithm, key.Key})
		}
	}
	if len(list) == 0 {
		return nil, errors.New("expected a JSON Web Key Set with at least one public signature key")
	}
	return list, nil
}

// shorten keeps an issuer's error page, which go-oidc quotes whole, out of the log.
func shorten(err error) error {
	const most = 300
	if text := err.Error(); len(text) > most {
		return errors.New(strings.ToValidUTF8(text[:most], "") + "…")
	}
	return err
}
