package auth_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"aiadmin/pkg/auth"
	"aiadmin/test/authtest"
)

func grant(claim, value string, scopes ...auth.Scope) auth.Grant {
	return auth.Grant{Claim: claim, Value: value, Scopes: scopes}
}

func trust(i *authtest.Issuer, grants ...auth.Grant) auth.Options {
	return auth.Options{Issuers: []auth.Issuer{{Issuer: i.URL, Audience: authtest.Audience, Grants: grants}}}
}

func TestOIDCAlgorithms(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	a := newAuth(t, trust(issuer, grant("sub", "alice", auth.UsersRead)))
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		caller, err := a.Authenticate(t.Context(), "Bearer "+issuer.Sign(t, algorithm, nil))
		if err != nil || caller.Name != "oidc:"+issuer.URL+"#alice" || !caller.Can(auth.UsersRead) || caller.Can(auth.UsersWrite) {
			t.Errorf("%s: %+v, %v", algorithm, caller, err)
		}
	}
	if issuer.Fetches() != 1 {
		t.Errorf("the keys were fetched %d times", issuer.Fetches())
	}
}

func segment(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// publicForms are the bytes that a careless verifier may take for an HMAC secret.
func publicForms(t *testing.T, public *rsa.PublicKey) [][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return [][]byte{der, text, bytes.TrimSpace(text), public.N.Bytes()}
}

func TestOIDCForgeries(t *testing.T) {
	t.Parallel()
	issuer, stranger := authtest.NewIssuer(t), authtest.NewIssuer(t)
	a := newAuth(t, trust(issuer, grant("sub", "alice", auth.Admin)))
	good := issuer.Token(t, nil)
	part := strings.Split(good, ".")
	rsaKey := issuer.Key(jose.RS256)
	private := rsaKey.Key.(*rsa.PrivateKey)
	claims := issuer.Claims(nil)
	claimed := segment(t, claims)
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]string{
		"alg none":                         segment(t, map[string]string{"alg": "none"}) + "." + claimed + ".",
		"alg None with the good signature": segment(t, map[string]string{"alg": "None"}) + "." + claimed + "." + part[2],
		"alg none, kid of a key":           segment(t, map[string]string{"alg": "none", "kid": "RS256-1"}) + "." + claimed + "." + part[2],
		"no signature":                     part[0] + "." + part[1] + ".",
		"two parts":                        part[0] + "." + part[1],
		"four parts":                       good + "." + part[2],
		"five parts, as a JWE":             good + "." + part[1] + "." + part[2],
		"another payload":                  part[0] + "." + segment(t, issuer.Claims(authtest.Claims{"sub": "root"})) + "." + part[2],
		"a tampered signature":             part[0] + "." + part[1] + "." + flip(part[2]),
		"another token's signature":        part[0] + "." + part[1] + "." + strings.Split(issuer.Token(t, authtest.Claims{"x": 1}), ".")[2],
		"a stranger's key":                 authtest.SignWith(t, jose.ES256, stranger.Key(jose.ES256), claims),
		"a stranger's key under our kid":   authtest.SignWith(t, jose.RS256, jose.JSONWebKey{Key: small, KeyID: "RS256-1"}, claims),
		"a stranger's token":               stranger.Token(t, nil),
		"PS256 by the right key":           authtest.SignWith(t, jose.PS256, private, claims),
		"RS512 by the right key":           authtest.SignWith(t, jose.RS512, private, claims),
		"RS256 under the kid of ES256":     authtest.SignWith(t, jose.RS256, jose.JSONWebKey{Key: private, KeyID: "ES256-1"}, claims),
		"its own key in the header":        embedded(t, small, claims),
		"a payload that is no JSON":        authtest.SignWith(t, jose.ES256, issuer.Key(jose.ES256), []byte("x")),
		"a payload that is a list":         authtest.SignWith(t, jose.ES256, issuer.Key(jose.ES256), []byte("[]")),
		"JSON serialization":               `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
		"a base64 header that is no JSON":  "e30x." + part[1] + "." + part[2],
		"dots":                             "..",
	}
	for i, secret := range publicForms(t, &private.PublicKey) {
		forged["HS256 by the public key, form "+string(rune('0'+i))] =
			authtest.SignWith(t, jose.HS256, jose.JSONWebKey{Key: secret, KeyID: rsaKey.KeyID}, claims)
	}
	for name, token := range forged {
		caller, err := a.Authenticate(t.Context(), "Bearer "+token)
		if !errors.Is(err, auth.ErrInvalid) || !reflect.DeepEqual(caller, auth.Caller{}) {
			t.Errorf("%s: %+v, %v", name, caller, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), "Bearer "+good); err != nil {
		t.Errorf("the genuine token: %v", err)
	}
}

func flip(signature string) string {
	first := byte('A')
	if signature[0] == first {
		first = 'B'
	}
	return string(first) + signature[1:]
}

func embedded(t *testing.T, key *rsa.PrivateKey, claims authtest.Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestOIDCClaims(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	a := newAuth(t, trust(issuer))
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, test := range []struct {
		name string
		set  authtest.Claims
		ok   bool
	}{
		{"as it should be", nil, true},
		{"expired a second ago", authtest.Claims{"exp": in(-time.Second)}, false},
		{"expired an hour ago", authtest.Claims{"exp": in(-time.Hour)}, false},
		{"no exp", authtest.Claims{"exp": nil}, false},
		{"exp that is text", authtest.Claims{"exp": "tomorrow"}, false},
		{"exp beyond all numbers", authtest.Claims{"exp": 1e300}, false},
		{"valid in a minute", authtest.Claims{"nbf": in(time.Minute)}, false},
		{"valid in an hour", authtest.Claims{"nbf": in(time.Hour)}, false},
		{"valid in a fraction's time", authtest.Claims{"nbf": float64(in(time.Minute)) + 0.5}, false},
		{"nbf beyond all numbers", authtest.Claims{"nbf": 1e300}, false},
		{"nbf that is text", authtest.Claims{"nbf": "0"}, false},
		{"an issuer's clock 2 s ahead", authtest.Claims{"nbf": in(2 * time.Second), "iat": in(2 * time.Second)}, true},
		{"no nbf", authtest.Claims{"nbf": nil}, true},
		{"another audience", authtest.Claims{"aud": "other"}, false},
		{"an audience that starts like ours", authtest.Claims{"aud": authtest.Audience + "-2"}, false},
		{"ours among the audiences", authtest.Claims{"aud": []string{"other", authtest.Audience}}, true},
		{"ours not among the audiences", authtest.Claims{"aud": []string{"other", "another"}}, false},
		{"no audience", authtest.Claims{"aud": nil}, false},
		{"an empty audience", authtest.Claims{"aud": []string{}}, false},
		{"another issuer", authtest.Claims{"iss": "https://id.example.com"}, false},
		{"the issuer with a slash", authtest.Claims{"iss": issuer.URL + "/"}, false},
		{"no issuer", authtest.Claims{"iss": nil}, false},
		{"issuer of another type", authtest.Claims{"iss": 7}, false},
		{"no sub", authtest.Claims{"sub": nil}, false},
		{"an empty sub", authtest.Claims{"sub": ""}, false},
		{"a sub with a NUL", authtest.Claims{"sub": "a\x00"}, false},
		{"a sub with a line break", authtest.Claims{"sub": "a\nb"}, false},
		{"a long sub", authtest.Claims{"sub": strings.Repeat("s", 256)}, false},
		{"the longest sub", authtest.Claims{"sub": strings.Repeat("s", 255)}, true},
	} {
		caller, err := a.Authenticate(t.Context(), "Bearer "+issuer.Token(t, test.set))
		if test.ok != (err == nil) || !test.ok && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, scope := range auth.Scopes() {
			if caller.Can(scope) {
				t.Errorf("%s: without a grant the caller can %s", test.name, scope)
			}
		}
	}
}

func TestOIDCRefusesAClaimThatIsThereTwice(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	a := newAuth(t, trust(issuer))
	payload, err := json.Marshal(issuer.Claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	twice := append(payload[:len(payload)-1], `,"sub":"root"}`...)
	token := authtest.SignWith(t, jose.ES256, issuer.Key(jose.ES256), twice)
	if _, err := a.Authenticate(t.Context(), "Bearer "+token); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	const knative = "system:serviceaccount:knative-eventing:mt-broker-filter-oidc"
	issuer := authtest.NewIssuer(t)
	nested := func(path ...string) any {
		var value any = []any{"ai-admins", 7, true}
		for i := len(path) - 1; i >= 0; i-- {
			value = map[string]any{path[i]: value}
		}
		return value
	}
	for _, test := range []struct {
		name, claim, value string
		token              authtest.Claims
		want               bool
	}{
		{"Knative's sender", "sub", knative, authtest.Claims{"sub": knative}, true},
		{"another service account", "sub", knative, authtest.Claims{"sub": knative + "2"}, false},
		{"a string", "role", "boss", authtest.Claims{"role": "boss"}, true},
		{"a string of another case", "role", "boss", authtest.Claims{"role": "Boss"}, false},
		{"a string that needs unescaping", "role", "ü\"/", authtest.Claims{"role": "ü\"/"}, true},
		{"one of a list", "groups", "b", authtest.Claims{"groups": []string{"a", "b"}}, true},
		{"none of a list", "groups", "c", authtest.Claims{"groups": []string{"a", "b"}}, false},
		{"a list in a list", "groups", "a", authtest.Claims{"groups": []any{[]string{"a"}}}, false},
		{"no such claim", "groups", "a", nil, false},
		{"no such claim, empty value", "groups", "", nil, false},
		{"null", "groups", "null", authtest.Claims{"groups": json.RawMessage("null")}, false},
		{"true", "email_verified", "true", authtest.Claims{"email_verified": true}, true},
		{"a number", "tenant", "42", authtest.Claims{"tenant": 42}, true},
		{"a negative number in a list", "tenant", "-1", authtest.Claims{"tenant": []int{1, -1}}, true},
		{"an object", "tenant", "{}", authtest.Claims{"tenant": map[string]any{}}, false},
		{"a path", "realm_access.roles", "ai-admins", authtest.Claims{"realm_access": nested("roles")}, true},
		{"a path past its end", "realm_access.roles.x", "ai-admins", authtest.Claims{"realm_access": nested("roles")}, false},
		{"a path into a string", "sub.x", "a", nil, false},
		{"a name with dots", "https://x.example.com/groups", "ai-admins", authtest.Claims{"https://x.example.com/groups": nested()}, true},
		{"a name with dots, then a path", "kubernetes.io.serviceaccount.name", "ai-admins", authtest.Claims{"kubernetes.io": nested("serviceaccount", "name")}, true},
		{"a name before a path", "a.b", "top", authtest.Claims{"a.b": "top", "a": map[string]any{"b": "nested"}}, true},
		{"a path behind a name", "a.b", "nested", authtest.Claims{"a.b": "top", "a": map[string]any{"b": "nested"}}, false},
	} {
		a := newAuth(t, trust(issuer, grant(test.claim, test.value, auth.EventsSend)))
		caller, err := a.Authenticate(t.Context(), "Bearer "+issuer.Token(t, test.token))
		if err != nil || caller.Can(auth.EventsSend) != test.want || caller.Can(auth.UsersRead) {
			t.Errorf("%s: %+v, %v", test.name, caller, err)
		}
	}
}

func TestSeveralIssuersAndAudiences(t *testing.T) {
	t.Parallel()
	one, two := authtest.NewIssuer(t), authtest.NewIssuer(t)
	entry := func(i *authtest.Issuer, audience string, scope auth.Scope) auth.Issuer {
		return auth.Issuer{Issuer: i.URL, Audience: audience, Grants: []auth.Grant{grant("sub", "alice", scope)}}
	}
	a := newAuth(t, auth.Options{Tokens: []auth.Token{token("plain", "a.b.c", auth.Admin)}, Issuers: []auth.Issuer{
		entry(one, "x", auth.UsersRead), entry(one, "y", auth.UsersWrite), entry(two, "x", auth.EventsSend)}})
	for _, test := range []struct {
		token string
		want  []auth.Scope
	}{
		{one.Token(t, authtest.Claims{"aud": "x"}), []auth.Scope{auth.UsersRead}},
		{one.Token(t, authtest.Claims{"aud": "y"}), []auth.Scope{auth.UsersWrite}},
		{one.Token(t, authtest.Claims{"aud": []string{"x", "y"}}), []auth.Scope{auth.UsersRead, auth.UsersWrite}},
		{two.Token(t, authtest.Claims{"aud": "x"}), []auth.Scope{auth.EventsSend}},
		{"a.b.c", auth.Scopes()},
	} {
		caller, err := a.Authenticate(t.Context(), "Bearer "+test.token)
		caller.Until = time.Time{}
		if want := auth.NewCaller(caller.Name, test.want...); err != nil || caller.Name == "" || !reflect.DeepEqual(caller, want) && !caller.Can(auth.Admin) {
			t.Errorf("%+v, %v; want %v", caller, err, test.want)
		}
	}
	if _, err := a.Authenticate(t.Context(), "Bearer "+two.Token(t, authtest.Claims{"aud": "y"})); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("the second issuer for the first one's audience: %v", err)
	}
}

// Whatever the header, no panic, and nobody gets in.
func FuzzAuthenticate(f *testing.F) {
	issuer := authtest.NewIssuer(f)
	a := newAuth(f, trust(issuer, grant("sub", "alice", auth.Admin)))
	good := issuer.Token(f, nil)
	for _, seed := range []string{"", "Bearer", "Bearer ..", "Bearer e30.e30.", "Basic eA==", "Bearer " + good[:len(good)-20], "bearer " + issuer.Token(f, authtest.Claims{"sub": "x"})[:40]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if caller, err := a.Authenticate(t.Context(), header); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Fatalf("%q: %+v, %v", header, caller, err)
		}
	})
}
