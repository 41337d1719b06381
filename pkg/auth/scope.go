package auth

import (
	"fmt"
	"strings"
)

// Scope is one permission, as tokens.json, config.yaml and the routes spell it.
type Scope string

// The scopes. A route asks for exactly one of them; [Admin] satisfies every route.
const (
	UsersRead       Scope = "users:read"       // every GET but the reveal
	UsersWrite      Scope = "users:write"      // POST, PUT, PATCH, DELETE
	CredentialsRead Scope = "credentials:read" // reveal one credential
	EventsSend      Scope = "events:send"      // CloudEvents in
	Admin           Scope = "admin"            // all of the above
)

// Scopes lists every scope, in the order of the documentation.
func Scopes() []Scope {
	return []Scope{UsersRead, UsersWrite, CredentialsRead, EventsSend, Admin}
}

// ParseScope returns the scope of that name. Its error lists the scopes and leaves out
// what was given, since that may be a secret in the wrong place.
func ParseScope(name string) (Scope, error) {
	for _, scope := range Scopes() {
		if string(scope) == name {
			return scope, nil
		}
	}
	return "", fmt.Errorf("expected one of %s", scopeNames())
}

func scopeNames() string {
	names := make([]string, 0, len(Scopes()))
	for _, scope := range Scopes() {
		names = append(names, string(scope))
	}
	return strings.Join(names, ", ")
}

// scopeSet has a bit per scope, so that a Caller is copied and cached without sharing.
type scopeSet uint8

func setOf(scopes ...Scope) scopeSet {
	var set scopeSet
	for _, scope := range scopes {
		for i, known := range Scopes() {
			if scope == known {
				set |= 1 << i
			}
		}
	}
	return set
}
