package vault

import (
	"errors"
	"fmt"
)

// ErrRefused is matched by every error of [KeyRing.Open].
var ErrRefused = errors.New("vault: stored value refused")

// The ways in which a stored value is refused. None carries any part of the value.
var (
	// ErrTampered: no key here opens it, or it has neither of the two stored forms.
	ErrTampered = fmt.Errorf("%w: changed since it was sealed, or sealed by a key that is not here", ErrRefused)
	// ErrWrongRow: it was sealed for another user or provider, so it was copied here.
	ErrWrongRow = fmt.Errorf("%w: sealed for another row", ErrRefused)
	// ErrNotText: it opens, but its content is not text that JSON can carry.
	ErrNotText = fmt.Errorf("%w: sealed by the old function, and not UTF-8 text", ErrRefused)
	// ErrUnknownKey: it names a key id that is not in the ring.
	ErrUnknownKey = fmt.Errorf("%w: sealed by a key id that is not here", ErrRefused)
)
