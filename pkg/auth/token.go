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
	"unicode"
	"unicode/utf8"

	"aiadmin/pkg/secret"
)

// Token is a bearer token as the service knows it: by the hash of its bytes. The tokens
// are long and random, so that a plain SHA-256 cannot be searched backwards.
type Token struct {
	Name   string
	SHA256 [32]byte
	Scopes []Scope
}

// TokenPrefix starts every token made here, so that scanners for leaked secrets find it.
const TokenPrefix = "aia_"

// NewToken makes a token of 32 random bytes, returned once, and its entry. It fails when
// the name cannot be a token's, or no scope is given.
func NewToken(name string, scopes ...Scope) (secret.Text, Token, error) {
	if err := checkName(name); err != nil {
		return secret.Text{}, Token{}, err
	}
	if len(scopes) == 0 {
		return secret.Text{}, Token{}, errors.New("expected at least one scope")
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	plain := TokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return secret.New(plain), Token{name, sha256.Sum256([]byte(plain)), scopes}, nil
}

// MarshalJSON writes the token's entry in tokens.json.
func (t Token) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name   string  `json:"name"`
		SHA256 string  `json:"sha256"`
		Scopes []Scope `json:"scopes"`
	}{t.Name, hex.EncodeToString(t.SHA256[:]), t.Scopes})
}

// maxName bounds a token's name, in characters.
const maxName = 200

// checkName keeps names printable on one line, and apart from the other callers' names.
func checkName(name string) error {
	length := utf8.RuneCountInString(name)
	switch {
	case length < 1 || length > maxName:
		return errors.New("expected 1 to 200 characters")
	case strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("expected no control characters, and no space at either end")
	case strings.HasPrefix(name, "oidc:") || name == anonymous:
		return errors.New(`expected a name other than "anonymous" and "oidc:…", which other callers have`)
	}
	return nil
}

// tokenSet is an immutable snapshot of the known tokens.
type tokenSet []knownToken

type knownToken struct {
	hash   [32]byte
	caller Caller
}

func newTokenSet(tokens []Token) *tokenSet {
	set := make(tokenSet, len(tokens))
	for i, token := range tokens {
		set[i] = knownToken{token.SHA256, NewCaller(token.Name, token.Scopes...)}
	}
	return &set
}

// find compares with every token, without an early exit: how long it takes tells
// neither whether a token matched nor which, nor how much of a hash was right.
func (s tokenSet) find(hash [32]byte) (Caller, bool) {
	found := -1
	for i := range s {
		equal := subtle.ConstantTimeCompare(s[i].hash[:], hash[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return Caller{}, false
	}
	return s[found].caller, true
}
