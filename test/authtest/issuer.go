// Package authtest is an OpenID Connect issuer for tests: a real HTTP server with
// discovery, keys and signed tokens. No binary may import it.
package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience is the aud of tokens that do not name another.
const Audience = "ai-admin"

// Issuer signs tokens with a key each of RS256, ES256 and EdDSA. Its methods may be
// called at the same time.
type Issuer struct {
	URL string

	fetches atomic.Int64 // of the keys
	fault   atomic.Pointer[http.HandlerFunc]
	mu      sync.Mutex
	serial  int
	person  Claims          // of who signs in; nil: nobody
	codes   map[string]flow // that were given out
	keys    map[jose.SignatureAlgorithm]jose.JSONWebKey
}

// NewIssuer starts an issuer that the test's end stops.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{}
	i.Rotate(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.jwks)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	server := httptest.NewServer(i.orFault(mux))
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func (i *Issuer) orFault(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := i.fault.Load(); fault != nil {
			(*fault)(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys",
		"authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "EdDSA"}})
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	i.fetches.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, key := range i.keys {
		set.Keys = append(set.Keys, key.Public())
	}
	answer(w, set)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// Fetches counts how often the keys were asked for.
func (i *Issuer) Fetches() int { return int(i.fetches.Load()) }

// Fail answers everything by h, from now on; nil ends that.
func (i *Issuer) Fail(h http.HandlerFunc) {
	if h == nil {
		i.fault.Store(nil)
		return
	}
	i.fault.Store(&h)
}

// Down answers 503 to everything until Fail(nil).
func (i *Issuer) Down() {
	i.Fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

// An RSA key takes a tenth of a second and more: tests share the first one.
var firstRSA = sync.OnceValue(newRSA)

func newRSA() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// Rotate replaces all keys, with key ids of their own: earlier tokens are worthless.
func (i *Issuer) Rotate(t testing.TB) {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	rs := firstRSA()
	if i.keys != nil {
		rs = newRSA()
	}
	i.serial++
	i.keys = map[jose.SignatureAlgorithm]jose.JSONWebKey{
		jose.RS256: i.key(jose.RS256, rs), jose.ES256: i.key(jose.ES256, ec), jose.EdDSA: i.key(jose.EdDSA, ed)}
}

func (i *Issuer) key(algorithm jose.SignatureAlgorithm, private crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{Key: private, KeyID: fmt.Sprintf("%s-%d", algorithm, i.serial),
		Algorithm: string(algorithm), Use: "sig"}
}

// Replace replaces all keys and keeps their key ids, as an issuer must not and some do.
func (i *Issuer) Replace(t testing.TB) {
	t.Helper()
	i.mu.Lock()
	i.serial--
	i.mu.Unlock()
	i.Rotate(t)
}

// Key returns the current private key of an algorithm.
func (i *Issuer) Key(algorithm jose.SignatureAlgorithm) jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[algorithm]
}

// Claims are a token's claims.
type Claims map[string]any

// Token signs a token by ES256: of subject "alice" for Audience, valid for an hour. The
// given claims are set; one that is nil is left out.
func (i *Issuer) Token(t testing.TB, set Claims) string {
	t.Helper()
	return i.Sign(t, jose.ES256, set)
}

// Sign is Token by another algorithm.
func (i *Issuer) Sign(t testing.TB, algorithm jose.SignatureAlgorithm, set Claims) string {
	t.Helper()
	return SignWith(t, algorithm, i.Key(algorithm), i.Claims(set))
}

// Claims are those that Token signs.
func (i *Issuer) Claims(set Claims) Claims {
	now := time.Now()
	all := Claims{"iss": i.URL, "aud": Audience, "sub": "alice",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, set)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// SignWith signs a payload, Claims or ready JSON, with any key: forgeries too.
func SignWith(t testing.TB, algorithm jose.SignatureAlgorithm, key any, payload any) string {
	t.Helper()
	body, ready := payload.([]byte)
	if !ready {
		var err error
		if body, err = json.Marshal(payload); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
