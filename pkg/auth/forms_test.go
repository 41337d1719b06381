package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"aiadmin/pkg/auth"
	"aiadmin/test/authtest"
)

// signES256 signs a header and a payload as they are written, whatever they hold.
func signES256(t testing.TB, key jose.JSONWebKey, header, payload string) string {
	t.Helper()
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key.Key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestFormsOfTokens plays the forms of RFC 7515, 7519, 7797 and 8725. Each is signed by the
// issuer's own key: only the form decides.
func TestFormsOfTokens(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	a := newAuth(t, trust(issuer, grant("sub", "alice", auth.UsersRead)))
	key := issuer.Key(jose.ES256)
	now := time.Now().Unix()
	const header = `{"alg":"ES256","kid":"ES256-1"}`
	head := func(members string) string { return `{"alg":"ES256","kid":"ES256-1",` + members + `}` }
	required := fmt.Sprintf(`"iss":%q,"aud":"ai-admin","sub":"alice"`, issuer.URL)
	claims := fmt.Sprintf(`%s,"exp":%d`, required, now+600)
	nested := signES256(t, key, header, "{"+claims+"}")
	for _, test := range []struct {
		name, header, payload string
		ok                    bool
	}{
		{"as it should be", header, "{" + claims + "}", true},
		{"typ JWT", head(`"typ":"JWT"`), "{" + claims + "}", true},
		{"typ in lower case", head(`"typ":"jwt"`), "{" + claims + "}", true},
		{"typ of an access token (RFC 9068)", head(`"typ":"at+jwt"`), "{" + claims + "}", true},
		{"typ written out", head(`"typ":"application/at+jwt"`), "{" + claims + "}", true},
		{"a header nobody knows", head(`"x":{"y":[1]}`), "{" + claims + "}", true},
		{"no kid", `{"alg":"ES256"}`, "{" + claims + "}", true},
		{"a claim nobody knows", header, "{" + claims + `,"x":{"exp":1}}`, true},
		{"white space in JSON", " {\n\"alg\" : \"ES256\" }", "\n{ " + claims + " }", true},
		{"escaped names", header, strings.Replace("{"+claims+"}", `"sub"`, `"s\u0075b"`, 1), true},
		{"exp with a fraction", header, fmt.Sprintf(`{%s,"exp":%d.5}`, required, now+600), true},
		{"exp with an exponent", header, fmt.Sprintf(`{%s,"exp":%.3fe9}`, required, float64(now+100_000_000)/1e9), true},

		{"typ of a logout token", head(`"typ":"logout+jwt"`), "{" + claims + "}", false},
		{"typ of a security event", head(`"typ":"secevent+jwt"`), "{" + claims + "}", false},
		{"typ JOSE", head(`"typ":"JOSE"`), "{" + claims + "}", false},
		{"typ that is no string", head(`"typ":["JWT"]`), "{" + claims + "}", false},
		{"an empty crit", head(`"crit":[]`), "{" + claims + "}", false},
		{"crit of nothing", head(`"crit":null`), "{" + claims + "}", false},
		{"crit of an extension", head(`"crit":["x"],"x":1`), "{" + claims + "}", false},
		{"crit of a registered name", head(`"crit":["alg"]`), "{" + claims + "}", false},
		{"crit of an absent name", head(`"crit":["exp"]`), "{" + claims + "}", false},
		{"b64 false, critical", head(`"b64":false,"crit":["b64"]`), "{" + claims + "}", false},
		{"b64 false, not critical", head(`"b64":false`), "{" + claims + "}", false},
		{"b64 true", head(`"b64":true`), "{" + claims + "}", false},
		{"a nested token", head(`"cty":"JWT"`), nested, false},
		{"cty JWT around claims", head(`"cty":"jwt"`), "{" + claims + "}", false},
		{"a kid that is a number", `{"alg":"ES256","kid":1}`, "{" + claims + "}", false},
		{"a kid that is a path", `{"alg":"ES256","kid":"../../etc/passwd"}`, "{" + claims + "}", false},
		{"alg twice", `{"alg":"none","alg":"ES256"}`, "{" + claims + "}", false},
		{"alg in lower case", `{"alg":"es256"}`, "{" + claims + "}", false},
		{"ALG", `{"ALG":"ES256"}`, "{" + claims + "}", false},
		{"no alg", `{"kid":"ES256-1"}`, "{" + claims + "}", false},
		{"alg of another kind of key", `{"alg":"EdDSA","kid":"ES256-1"}`, "{" + claims + "}", false},
		{"a header that is a list", `["ES256"]`, "{" + claims + "}", false},
		{"a header that is null", `null`, "{" + claims + "}", false},
		{"data after the header", header + "{}", "{" + claims + "}", false},
		{"a header of invalid UTF-8", head("\"x\":\"\xff\""), "{" + claims + "}", false},

		{"Exp alone", header, fmt.Sprintf(`{%s,"Exp":%d}`, required, now+600), false},
		{"EXP beside an exp of the past", header, fmt.Sprintf(`{%s,"exp":%d,"EXP":%d}`, required, now-600, now+600), false},
		{"an Exp of the past beside exp", header, fmt.Sprintf(`{%s,"Exp":%d}`, claims, now-600), true},
		{"an Exp of text beside exp", header, fmt.Sprintf(`{%s,"Exp":"x"}`, claims), true},
		{"AUD alone", header, strings.Replace("{"+claims+"}", `"aud"`, `"AUD"`, 1), false},
		{"AUD beside another's aud", header, strings.Replace("{"+claims+`,"AUD":"ai-admin"}`, `"aud":"ai-admin"`, `"aud":"x"`, 1), false},
		{"ISS alone", header, strings.Replace("{"+claims+"}", `"iss"`, `"ISS"`, 1), false},
		{"a long s in iss", header, strings.Replace("{"+claims+"}", `"iss"`, `"i\u017f\u017f"`, 1), false},
		{"SUB beside sub", header, "{" + claims + `,"SUB":"root"}`, true},
		{"Nbf of the future", header, fmt.Sprintf(`{%s,"Nbf":%d}`, claims, now+600), true},
		{"exp that is text", header, fmt.Sprintf(`{%s,"exp":"%d"}`, required, now+600), false},
		{"exp that is null", header, `{` + required + `,"exp":null}`, false},
		{"exp that is true", header, `{` + required + `,"exp":true}`, false},
		{"exp that is a list", header, fmt.Sprintf(`{%s,"exp":[%d]}`, required, now+600), false},
		{"exp in milliseconds", header, fmt.Sprintf(`{%s,"exp":%d000}`, required, now+600), false},
		{"exp below zero", header, `{` + required + `,"exp":-1}`, false},
		{"no exp", header, `{` + required + `}`, false},
		{"nbf that is text", header, fmt.Sprintf(`{%s,"nbf":"%d"}`, claims, now), false},
		{"nbf that is null", header, fmt.Sprintf(`{%s,"nbf":null}`, claims), false},
		{"iat that is text", header, fmt.Sprintf(`{%s,"iat":"%d"}`, claims, now), false},
		{"iat of the future", header, fmt.Sprintf(`{%s,"iat":%d}`, claims, now+600), true},
		{"aud with a number in it", header, strings.Replace("{"+claims+"}", `"aud":"ai-admin"`, `"aud":["ai-admin",1]`, 1), false},
		{"aud that is an object", header, strings.Replace("{"+claims+"}", `"aud":"ai-admin"`, `"aud":{"ai-admin":1}`, 1), false},
		{"sub that is a number", header, strings.Replace("{"+claims+"}", `"sub":"alice"`, `"sub":7`, 1), false},
		{"iss that is a list", header, fmt.Sprintf(`{"iss":[%q],"aud":"ai-admin","sub":"alice","exp":%d}`, issuer.URL, now+600), false},
		{"exp twice", header, fmt.Sprintf(`{%s,"exp":%d}`, claims, now+900), false},
		{"iss twice, once escaped", header, "{" + claims + `,"i\u0073s":"https://x"}`, false},
		{"a payload that is null", header, `null`, false},
		{"an empty payload", header, ``, false},
		{"data after the payload", header, "{" + claims + "}{}", false},
		{"a payload of invalid UTF-8", header, "{" + claims + ",\"x\":\"\xff\"}", false},
	} {
		_, err := a.Authenticate(t.Context(), "Bearer "+signES256(t, key, test.header, test.payload))
		if test.ok && err != nil || !test.ok && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestEncodingsOfTokens: any encoding but the compact form is refused.
func TestEncodingsOfTokens(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	a := newAuth(t, trust(issuer, grant("sub", "alice", auth.UsersRead)))
	good := issuer.Sign(t, jose.RS256, nil)
	part := strings.Split(good, ".")
	text, err := base64.RawURLEncoding.DecodeString(part[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"a padded header":             base64.URLEncoding.EncodeToString(append(text, ' ')) + "." + part[1] + "." + part[2],
		"the standard alphabet":       base64.RawStdEncoding.EncodeToString([]byte(`{"alg":"RS256","x":"???>>>~~~"}`)) + "." + part[1] + "." + part[2],
		"bits that mean nothing":      base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256" }`))[:21] + "F." + part[1] + "." + part[2],
		"a padded signature":          good + "=",
		"a detached payload":          part[0] + ".." + part[2],
		"flattened JSON":              `{"protected":"` + part[0] + `","payload":"` + part[1] + `","signature":"` + part[2] + `"}`,
		"an unprotected header":       `{"header":{"alg":"RS256"},"payload":"` + part[1] + `","signature":"` + part[2] + `"}`,
		"encrypted (JWE)":             "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0.." + part[1] + "." + part[2] + "." + part[2],
		"15 KiB of dots":              strings.Repeat(".", 15<<10),
		"15 KiB of brackets":          base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","x":`+strings.Repeat("[", 11<<10))) + "." + part[1] + ".x",
		"a header that is all of it":  strings.Repeat("A", 15<<10) + ".e30.e30",
		"a payload that is all of it": part[0] + "." + strings.Repeat("A", 14<<10) + "." + part[2],
	} {
		if _, err := a.Authenticate(t.Context(), "Bearer "+token); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), "Bearer "+good); err != nil {
		t.Error(err)
	}
}

func jwk(t *testing.T, key jose.JSONWebKey, members string) string {
	t.Helper()
	public := key.Public()
	text, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "}") + members + "}"
}

// TestKeysOfOtherUses: keys too short, or not for signatures of ours, verify nothing.
func TestKeysOfOtherUses(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1536)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		algorithm jose.SignatureAlgorithm
		key       any // nil: the issuer's own
		members   string
		want      error
	}{
		{"key_ops verify", jose.ES256, nil, `,"key_ops":["verify"]`, nil},
		{"key_ops sign", jose.ES256, nil, `,"key_ops":["sign"]`, auth.ErrUnavailable}, // no usable key at all
		{"no key_ops", jose.ES256, nil, `,"key_ops":[]`, auth.ErrUnavailable},
		{"an RSA key of 1536 bits", jose.RS256, short, ``, auth.ErrUnavailable},
		{"a P-384 key", jose.ES384, p384, ``, auth.ErrInvalid},
	} {
		issuer, a, _ := setup(t)
		key := issuer.Key(test.algorithm)
		if test.key != nil {
			key = jose.JSONWebKey{Key: test.key, KeyID: "k"}
		}
		key.Use, key.Algorithm = "", ""
		set := `{"keys":[` + jwk(t, key, test.members) + `]}`
		issuer.Fail(withKeys(issuer, "", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) }))
		t.Log(test.name)
		expect(t, a, authtest.SignWith(t, test.algorithm, key, issuer.Claims(nil)), test.want)
	}
}

// TestKeyReplacedUnderItsID: the next token is accepted, and the old ones end with their
// remembered verdicts. Forgeries under a known key id cannot be turned against the issuer.
func TestKeyReplacedUnderItsID(t *testing.T) {
	t.Parallel()
	issuer, a, c := setup(t)
	expect(t, a, issuer.Token(t, nil), nil)
	stale := issuer.Token(t, authtest.Claims{"jti": "unseen"})
	issuer.Replace(t)
	expect(t, a, issuer.Token(t, nil), nil)
	expect(t, a, issuer.Sign(t, jose.RS256, nil), nil)
	expect(t, a, stale, auth.ErrInvalid)
	stranger := authtest.NewIssuer(t)
	before := issuer.Fetches()
	for i := range 200 {
		forgery := authtest.SignWith(t, jose.ES256, stranger.Key(jose.ES256), issuer.Claims(authtest.Claims{"jti": i}))
		expect(t, a, forgery, auth.ErrInvalid)
	}
	if got := issuer.Fetches() - before; got > 8 { // real time goes on a little
		t.Errorf("%d fetches for 200 forgeries", got)
	}
	c.Advance(3 * time.Second)
	issuer.Replace(t)
	expect(t, a, issuer.Token(t, nil), nil)
}

// TestVerdictsAreBounded: whatever tokens come, what is remembered of them stays small.
func TestVerdictsAreBounded(t *testing.T) {
	issuer, a, _ := setup(t)
	used := func() uint64 {
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		return now.HeapAlloc
	}
	expect(t, a, issuer.Token(t, nil), nil)
	before := used()
	for i := range 6000 {
		sub := fmt.Sprintf("%0255d", i)
		expect(t, a, issuer.Sign(t, jose.EdDSA, authtest.Claims{"sub": sub, "x": strings.Repeat("x", 2000)}), nil)
	}
	if grown := int64(used()) - int64(before); grown > 4<<20 {
		t.Errorf("6000 tokens of other callers left %d bytes behind", grown)
	}
	runtime.KeepAlive(a)
}

// FuzzTokenClaims: whatever is signed, no panic, no caller but the one named, and work in
// proportion to the token.
func FuzzTokenClaims(f *testing.F) {
	issuer := authtest.NewIssuer(f)
	a := newAuth(f, trust(issuer, grant("a.b.c.d", "x", auth.Admin)))
	key := issuer.Key(jose.ES256)
	good, err := json.Marshal(issuer.Claims(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"iss":"x","exp":1e400}`))
	f.Add(bytes.Repeat([]byte(`{"a":`), 2000))
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := signES256(t, key, `{"alg":"ES256"}`, string(payload))
		began := time.Now()
		caller, err := a.Authenticate(t.Context(), "Bearer "+token)
		if took := time.Since(began); took > 100*time.Millisecond+time.Duration(len(payload))*10*time.Microsecond {
			t.Errorf("%d bytes took %v", len(payload), took)
		}
		if err == nil && !strings.HasPrefix(caller.Name, "oidc:"+issuer.URL+"#") {
			t.Errorf("%q is a caller", caller.Name)
		}
	})
}
