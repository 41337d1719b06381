package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scope is one permission, as tokens.json, config.yaml and the routes spell it.
type Scope string

// The scopes. A route asks for exactly one of them; [Admin] satisfies every route.
const (
	UsersRead       Scope = "users:read"       // every GET but the reveal, the audit log and the history of all users
	UsersWrite      Scope = "users:write"      // POST, PUT, PATCH, DELETE
	CredentialsRead Scope = "credentials:read" // reveal one credential
	EventsSend      Scope = "events:send"      // CloudEvents in
	KeysWrite       Scope = "keys:write"       // create and revoke users' API keys
	AccessCheck     Scope = "access:check"     // ask whether a key may use a model
	SCIM            Scope = "scim"             // provision users as an identity provider
	AuditRead       Scope = "audit:read"       // the audit log and the history of all users
	Admin           Scope = "admin"            // all of the above
)

// scopes lists every scope, in the order of the documentation.
var scopes = []Scope{UsersRead, UsersWrite, CredentialsRead, EventsSend, KeysWrite, AccessCheck, SCIM, AuditRead, Admin}

// Scopes returns every scope, in the order of the documentation.
func Scopes() []Scope { return slices.Clone(scopes) }

// ParseScope returns the scope of that name. Its error lists the scopes and leaves out
// what was given, since that may be a secret in the wrong place.
func ParseScope(name string) (Scope, error) {
	if scope := Scope(name); slices.Contains(scopes, scope) {
		return scope, nil
	}
	return "", fmt.Errorf("must be one of %s", ScopeNames())
}

// ScopeNames lists every scope in one line, for messages.
func ScopeNames() string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, ", ")
}

// Caller is who sent a request. The zero Caller may do nothing.
type Caller struct {
	// Name goes into logs, history and idempotency keys: a token's name, or
	// "oidc:<issuer>#<sub>" with the issuer's whole URL. An issuer's URL has no "#" and a
	// token's name never starts with "oidc:", so that no two callers share a name.
	Name string
	// Until is when the caller's token expires; the zero time is never.
	Until  time.Time
	scopes []Scope // each once
}

// anonymous is the caller's name when authentication is disabled; no token may have it.
const anonymous = "anonymous"

// NewCaller returns a caller with the given scopes.
func NewCaller(name string, scopes ...Scope) Caller {
	return Caller{Name: name, scopes: slices.Compact(slices.Sorted(slices.Values(scopes)))}
}

// Can tells whether the caller has the scope, or [Admin], which includes every scope.
func (c Caller) Can(scope Scope) bool {
	return slices.Contains(c.scopes, scope) || slices.Contains(c.scopes, Admin)
}
