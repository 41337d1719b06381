package auth

import (
	"errors"
	"fmt"
)

// What [Authenticator.Authenticate] fails with. The texts are for the log: an answer to
// the client says no more than which of the three it was.
var (
	// ErrUnauthenticated is matched by ErrMissing and ErrInvalid: answer 401.
	ErrUnauthenticated = errors.New("auth: unauthenticated")
	// ErrMissing: no Authorization header, or one of another scheme than Bearer.
	ErrMissing = fmt.Errorf("%w: no bearer token", ErrUnauthenticated)
	// ErrInvalid: a bearer token that is malformed, unknown, expired or forged.
	ErrInvalid = fmt.Errorf("%w: invalid bearer token", ErrUnauthenticated)
	// ErrUnavailable: the issuer's keys cannot be had now, so that the token can be
	// neither accepted nor refused: answer 503. It wraps the context's error when that
	// is what ended the wait.
	ErrUnavailable = errors.New("auth: the token's issuer cannot be reached")
)

// invalid is ErrInvalid with a reason, which must not hold any part of the token.
func invalid(reason string) error { return fmt.Errorf("%w: %s", ErrInvalid, reason) }
