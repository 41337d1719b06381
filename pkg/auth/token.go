package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"aiadmin/pkg/secret"
)

// Token is a bearer token as the service knows it: by the hash of its bytes. Tokens are long and
// random, so a plain SHA-256 cannot be reversed by trying them all.
type Token struct {
	Name   string
	SHA256 [32]byte
	Scopes []Scope
	// ExpiresAt is when the token stops being accepted; the zero time is never.
	ExpiresAt time.Time
}

// tokenPrefix starts every token made here, so that scanners for leaked secrets find it.
const tokenPrefix = "aia_"

// NewToken makes a token of 32 random bytes, returned once, and its entry. It fails when
// the name cannot be a token's, or no scope is given.
func NewToken(name string, scopes ...Scope) (secret.Text, Token, error) {
	if err := CheckTokenName(name); err != nil {
		return secret.Text{}, Token{}, err
	}
	if len(scopes) == 0 {
		return secret.Text{}, Token{}, errors.New("a token needs at least one scope")
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	plain := tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return secret.New(plain), Token{Name: name, SHA256: sha256.Sum256([]byte(plain)), Scopes: scopes}, nil
}

// MarshalJSON writes the token's entry in tokens.json, its expiry in RFC 3339 and UTC.
func (t Token) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name      string    `json:"name"`
		SHA256    string    `json:"sha256"`
		Scopes    []Scope   `json:"scopes"`
		ExpiresAt time.Time `json:"expiresAt,omitzero"`
	}{t.Name, hex.EncodeToString(t.SHA256[:]), t.Scopes, t.ExpiresAt.UTC()})
}

// maxName bounds a token's name, in characters.
const maxName = 200

// CheckTokenName checks that a name prints on one line and cannot be another caller's.
func CheckTokenName(name string) error {
	length := utf8.RuneCountInString(name)
	switch {
	case length < 1 || length > maxName:
		return errors.New("must be 1 to 200 characters")
	case strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("must have no control characters, and no space at either end")
	case strings.HasPrefix(name, "oidc:") || name == anonymous:
		return errors.New(`must be a name other than "anonymous" and "oidc:…", which other callers have`)
	}
	return nil
}

// tokenSet is an immutable snapshot of the known tokens.
type tokenSet []knownToken

type knownToken struct {
	hash      [32]byte
	caller    Caller
	expiresAt time.Time // zero: never
}

func newTokenSet(tokens []Token) *tokenSet {
	set := make(tokenSet, len(tokens))
	for i, token := range tokens {
		set[i] = knownToken{token.SHA256, NewCaller(token.Name, token.Scopes...), token.ExpiresAt}
	}
	return &set
}

// find compares hash with every token's, without an early exit, so that its time reveals nothing
// about a match. It returns nil when none matches.
func (s tokenSet) find(hash [32]byte) *knownToken {
	found := -1
	for i := range s {
		equal := subtle.ConstantTimeCompare(s[i].hash[:], hash[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return nil
	}
	return &s[found]
}
