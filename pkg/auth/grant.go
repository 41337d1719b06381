package auth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Grant gives scopes to the tokens of which Claim is Value. A claim that is a list holds
// each of its elements; true, false and numbers are compared by their JSON text; objects
// and null match nothing. Claim is a claim's name or, where there is none of that name, a
// path into nested objects: realm_access.roles, or kubernetes.io.namespace.
type Grant struct {
	Claim, Value string
	Scopes       []Scope
}

func (g Grant) check() error {
	if g.Claim == "" {
		return errors.New("expected a claim")
	}
	if len(g.Scopes) == 0 {
		return errors.New("expected at least one scope")
	}
	for _, scope := range g.Scopes {
		if _, err := ParseScope(string(scope)); err != nil {
			return fmt.Errorf("scope: %w", err)
		}
	}
	return nil
}

func (g Grant) matches(all claims) bool {
	value := all.find(g.Claim)
	if value.Kind() != '[' {
		return scalarIs(value, g.Value)
	}
	var elements []jsontext.Value
	if json.Unmarshal(value, &elements) != nil {
		return false
	}
	for _, element := range elements {
		if scalarIs(element, g.Value) {
			return true
		}
	}
	return false
}

func scalarIs(value jsontext.Value, want string) bool {
	switch value.Kind() {
	case '"':
		var text string
		return json.Unmarshal(value, &text) == nil && text == want
	case 't', 'f', '0':
		return string(value) == want
	}
	return false
}

// claims are the members of a JSON object, a token's or one nested in it.
type claims map[string]jsontext.Value

// find returns the member of that name or, at the longest prefix up to a dot that names
// an object, what the rest of the path finds in it; nil when there is none.
func (c claims) find(path string) jsontext.Value {
	if value, ok := c[path]; ok {
		return value
	}
	for dot := strings.LastIndexByte(path, '.'); dot >= 0; dot = strings.LastIndexByte(path[:dot], '.') {
		value := c[path[:dot]]
		if value.Kind() != '{' {
			continue
		}
		var nested claims
		if json.Unmarshal(value, &nested) != nil {
			continue
		}
		if found := nested.find(path[dot+1:]); found != nil {
			return found
		}
	}
	return nil
}

// verifiedClaims are a verified token's claims, beside what go-oidc reads of them.
type verifiedClaims struct {
	NotBefore float64 // seconds since 1970; 0 without nbf
	All       claims
}

// readClaims is strict where go-oidc is not: a claim that is there twice (RFC 7519
// section 4), or a nbf that is no number, is refused.
func readClaims(token *oidc.IDToken) (verified verifiedClaims, err error) {
	var payload jsontext.Value
	if err := token.Claims(&payload); err != nil {
		return verified, invalid("its payload is not a JSON object")
	}
	if err := json.Unmarshal(payload, &verified.All); err != nil {
		return verified, invalid("its payload is not a strict JSON object")
	}
	if nbf, ok := verified.All["nbf"]; ok && json.Unmarshal(nbf, &verified.NotBefore) != nil {
		return verified, invalid("its nbf is not a number")
	}
	return verified, nil
}
