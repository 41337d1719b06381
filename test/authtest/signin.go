package authtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/go-jose/go-jose/v4"
)

// flow is a sign-in between its two requests.
type flow struct{ client, redirect, nonce, challenge string }

// Person says who signs in from now on, by the claims of the ID token. A nonce among them replaces the one
// that was asked for.
func (i *Issuer) Person(claims Claims) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.person = claims
}

// authorize sends the person back with a code, as if a password had been asked for (OpenID Connect Core 1.0,
// section 3.1.2). PKCE is required.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("state") == "" || q.Get("nonce") == "" {
		http.Error(w, "expected a code flow with PKCE, state and nonce", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	i.mu.Lock()
	if i.codes == nil {
		i.codes = map[string]flow{}
	}
	i.codes[code] = flow{q.Get("client_id"), q.Get("redirect_uri"), q.Get("nonce"), q.Get("code_challenge")}
	i.mu.Unlock()
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// token gives an ID token for a code, once (OAuth 2.0, section 4.1.3; RFC 7636, section 4.6).
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	i.mu.Lock()
	begun, ok := i.codes[code]
	delete(i.codes, code)
	claims := Claims{"aud": begun.client, "nonce": begun.nonce}
	for name, value := range i.person {
		claims[name] = value
	}
	i.mu.Unlock()
	proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || r.PostFormValue("redirect_uri") != begun.redirect || r.PostFormValue("client_id") != begun.client ||
		base64.RawURLEncoding.EncodeToString(proof[:]) != begun.challenge {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"})
		return
	}
	signed, err := i.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600, "id_token": signed})
}

func (i *Issuer) sign(set Claims) (string, error) {
	body, err := json.Marshal(i.Claims(set))
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.Key(jose.ES256)}, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(body)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
