package auth

// Caller is who sent a request. The zero Caller may do nothing.
type Caller struct {
	// Name goes into logs, history and idempotency keys: a token's name, or
	// "oidc:<issuer>#<sub>" with the issuer's whole URL. An issuer's URL has no "#" and a
	// token's name never starts with "oidc:", so that no two callers share a name.
	Name   string
	scopes scopeSet
}

// anonymous is the caller's name when authentication is disabled; no token may have it.
const anonymous = "anonymous"

// NewCaller returns a caller with the given scopes.
func NewCaller(name string, scopes ...Scope) Caller {
	return Caller{Name: name, scopes: setOf(scopes...)}
}

// Can tells whether the caller has the scope, or [Admin], which includes every scope.
func (c Caller) Can(scope Scope) bool {
	return c.scopes&setOf(scope, Admin) != 0
}
