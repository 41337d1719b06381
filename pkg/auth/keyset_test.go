package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"aiadmin/pkg/auth"
	"aiadmin/test/authtest"
)

// clock is the real time plus what a test adds to it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// setup returns an issuer, an Authenticator that trusts it, and that one's clock.
func setup(t *testing.T) (*authtest.Issuer, *auth.Authenticator, *clock) {
	t.Helper()
	issuer, c := authtest.NewIssuer(t), &clock{}
	o := trust(issuer, grant("sub", "alice", auth.UsersRead))
	o.Now = c.Now
	return issuer, newAuth(t, o), c
}

func expect(t *testing.T, a *auth.Authenticator, token string, want error) {
	t.Helper()
	if _, err := a.Authenticate(t.Context(), "Bearer "+token); !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("got %v, want %v", err, want)
	}
}

// forged has a key id that the issuer never had.
func forged(t *testing.T, i *authtest.Issuer, id string) string {
	t.Helper()
	return authtest.SignWith(t, jose.ES256, jose.JSONWebKey{Key: i.Key(jose.ES256).Key, KeyID: id}, i.Claims(nil))
}

func TestRotatedKeyIsAcceptedAtOnce(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	old := issuer.Token(t, nil)
	expect(t, a, old, nil)
	for range 3 {
		issuer.Rotate(t)
		expect(t, a, issuer.Sign(t, jose.RS256, nil), nil)
		expect(t, a, issuer.Token(t, nil), nil)
	}
	expect(t, a, issuer.Token(t, nil), nil)
	if issuer.Fetches() != 4 {
		t.Errorf("%d fetches for four sets of keys", issuer.Fetches())
	}
	stale := authtest.SignWith(t, jose.ES256, jose.JSONWebKey{Key: issuer.Key(jose.ES256).Key, KeyID: "ES256-1"}, issuer.Claims(nil))
	expect(t, a, stale, auth.ErrInvalid)
}

func TestMadeUpKeyIDsDoNotHammerTheIssuer(t *testing.T) {
	t.Parallel()
	issuer, a, c := setup(t)
	for i := range 200 {
		expect(t, a, forged(t, issuer, fmt.Sprint(i)), auth.ErrInvalid)
	}
	if got := issuer.Fetches(); got < 2 || got > 8 { // real time goes on a little
		t.Errorf("%d fetches for 200 tokens", got)
	}
	expect(t, a, issuer.Token(t, nil), nil)
	before := issuer.Fetches()
	c.Advance(3 * time.Second)
	issuer.Rotate(t)
	expect(t, a, issuer.Token(t, nil), nil)
	if issuer.Fetches() != before+1 {
		t.Errorf("%d fetches after the rotation", issuer.Fetches()-before)
	}
}

func TestCrowdMakesOneFetch(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	asked, release := make(chan struct{}), make(chan struct{})
	issuer.Fail(func(w http.ResponseWriter, r *http.Request) { // hold the first request back
		issuer.Fail(nil)
		close(asked)
		<-release
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	})
	token := issuer.Token(t, nil)
	var crowd sync.WaitGroup
	crowd.Go(func() { expect(t, a, token, nil) })
	<-asked
	for range 50 {
		crowd.Go(func() { expect(t, a, token, nil) })
	}
	close(release)
	crowd.Wait()
	if issuer.Fetches() != 1 {
		t.Errorf("%d fetches", issuer.Fetches())
	}
}

func TestIssuerDownThenUp(t *testing.T) {
	t.Parallel()
	issuer, a, c := setup(t)
	issuer.Down()
	token := issuer.Token(t, nil)
	expect(t, a, token, auth.ErrUnavailable)
	if _, err := a.Authenticate(t.Context(), "Bearer "+token); errors.Is(err, auth.ErrUnauthenticated) {
		t.Error("a token that cannot be judged must not count as refused")
	}
	expect(t, a, "unknown", auth.ErrInvalid)
	expect(t, a, token[:len(token)/2], auth.ErrInvalid)
	issuer.Fail(nil)
	c.Advance(time.Second) // past the first wait
	expect(t, a, token, nil)
}

func TestFailedFetchesAreSpacedOut(t *testing.T) {
	t.Parallel()
	issuer, a, c := setup(t)
	var asked atomic.Int64
	issuer.Fail(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(http.StatusBadGateway) })
	token := issuer.Token(t, nil)
	for range 100 {
		expect(t, a, token, auth.ErrUnavailable)
	}
	if got := asked.Load(); got > 3 {
		t.Errorf("%d requests in no time", got)
	}
	asked.Store(0)
	for range 600 { // a minute
		c.Advance(100 * time.Millisecond)
		expect(t, a, token, auth.ErrUnavailable)
	}
	if got := asked.Load(); got < 3 || got > 20 {
		t.Errorf("%d requests in a minute", got)
	}
}

func TestKnownKeysOutliveTheIssuersOutage(t *testing.T) {
	t.Parallel()
	issuer, a, c := setup(t)
	expect(t, a, issuer.Token(t, nil), nil)
	issuer.Down()
	expect(t, a, issuer.Token(t, authtest.Claims{"jti": "a"}), nil)
	c.Advance(30 * time.Minute) // the keys are due for renewal
	expect(t, a, issuer.Token(t, authtest.Claims{"jti": "b"}), nil)
	expect(t, a, forged(t, issuer, "x"), auth.ErrUnavailable)
}

func TestWithdrawnKeyIsDropped(t *testing.T) {
	t.Parallel()
	issuer, a, c := setup(t)
	old := issuer.Token(t, nil)
	expect(t, a, old, nil)
	issuer.Rotate(t)
	expect(t, a, old, nil) // nothing has told us yet
	c.Advance(11 * time.Minute)
	expect(t, a, old, auth.ErrInvalid)
}

func TestWaitingEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	issuer.Fail(func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { close(asked) })
		<-release
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	token := issuer.Token(t, nil)
	var first sync.WaitGroup
	first.Go(func() { expect(t, a, token, auth.ErrUnavailable) })
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := a.Authenticate(ctx, "Bearer "+token)
	if !errors.Is(err, auth.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second request: %v", err)
	}
	close(release)
	first.Wait()
}

// A client that hangs up must not take the keys away from the ones that wait.
func TestGoneClientDoesNotCancelTheFetch(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 8 { // either way of a select is right; both must leave things whole
		_, err := a.Authenticate(ctx, "Bearer "+issuer.Token(t, nil))
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	expect(t, a, issuer.Token(t, nil), nil)
	if issuer.Fetches() != 1 {
		t.Errorf("%d fetches", issuer.Fetches())
	}
}

func TestBadIssuers(t *testing.T) {
	t.Parallel()
	respond := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	for name, misbehave := range map[string]func(*authtest.Issuer) http.HandlerFunc{
		"an error page": func(*authtest.Issuer) http.HandlerFunc { return http.NotFound },
		"no JSON":       func(*authtest.Issuer) http.HandlerFunc { return respond("<html>") },
		"another issuer's": func(*authtest.Issuer) http.HandlerFunc {
			return respond(`{"issuer":"https://x","jwks_uri":"https://x"}`)
		},
		"an endless document":     func(*authtest.Issuer) http.HandlerFunc { return endless },
		"redirects without end":   func(i *authtest.Issuer) http.HandlerFunc { return redirect(i.URL) },
		"no jwks_uri":             func(i *authtest.Issuer) http.HandlerFunc { return respond(`{"issuer":"` + i.URL + `"}`) },
		"a jwks_uri that is none": func(i *authtest.Issuer) http.HandlerFunc { return withKeys(i, ":", nil) },
		"an error for keys":       func(i *authtest.Issuer) http.HandlerFunc { return withKeys(i, "", http.NotFound) },
		"endless keys":            func(i *authtest.Issuer) http.HandlerFunc { return withKeys(i, "", endless) },
		"keys that are no JSON":   func(i *authtest.Issuer) http.HandlerFunc { return withKeys(i, "", respond("keys")) },
		"no keys":                 func(i *authtest.Issuer) http.HandlerFunc { return withKeys(i, "", respond(`{"keys":[]}`)) },
		"no usable keys":          func(i *authtest.Issuer) http.HandlerFunc { return withKeys(i, "", respond(unusable)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer, a, _ := setup(t)
			issuer.Fail(misbehave(issuer))
			expect(t, a, issuer.Token(t, nil), auth.ErrUnavailable)
		})
	}
}

// unusable: a shared secret, a key for encryption, an unknown type, one without content.
const unusable = `{"keys":[{"kty":"oct","kid":"ES256-1","k":"c2VjcmV0"},{"kty":"XYZ"},{"kty":"RSA"},
{"kty":"EC","use":"enc","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`

func endless(w http.ResponseWriter, _ *http.Request) {
	chunk := []byte(`{"a":"` + strings.Repeat("x", 1<<16))
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to+r.URL.Path, http.StatusFound) }
}

// withKeys answers discovery with a jwks_uri, by default one that keys answers.
func withKeys(i *authtest.Issuer, uri string, keys http.HandlerFunc) http.HandlerFunc {
	if uri == "" {
		uri = i.URL + "/keys"
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			keys(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, uri)
	}
}

// One strange key must not take the others away, and no key id means: try them all.
func TestKeysAmongStrangers(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	key := issuer.Key(jose.ES256)
	public := jose.JSONWebKey{Key: key.Public().Key}
	encoded, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	set := strings.TrimSuffix(unusable, "]}") + "," + string(encoded) + "]}"
	issuer.Fail(withKeys(issuer, "", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) }))
	expect(t, a, authtest.SignWith(t, jose.ES256, key.Key, issuer.Claims(nil)), nil)
	expect(t, a, issuer.Token(t, nil), auth.ErrInvalid) // its key id is not in the set
}
