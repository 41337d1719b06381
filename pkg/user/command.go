package user

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
)

// Command asks for one change, whichever transport it came by.
type Command struct {
	Change Change
	// User says whom an Update or a Delete is about; a Create has its id in its patch.
	User Ref
	// Actor is who asks, as shown in the history.
	Actor string
	// Cause is the id of the request or event that asks; outgoing events carry it on.
	Cause string
	// IfMatch, when not nil, must hold for the user's version, or nothing is changed.
	IfMatch *Precondition
	// Claim, when not nil, makes the change happen at most once.
	Claim *Claim
}

// Change is what a command does: a [Create], an [Update] or a [Delete].
type Change interface {
	// Validate reports all that is wrong with the change by itself, as an [Invalid] error.
	Validate() error
}

// Ref names a user by id or, where the id is not known, by tag.
type Ref struct {
	ID  uuid.UUID
	Tag string
}

// Precondition is an If-Match header's meaning (RFC 9110, section 13.1.1): any current
// version, or one of those listed.
type Precondition struct {
	Any      bool
	Versions []int64
}

// Holds says whether a user at this version meets the precondition; a nil one always holds.
func (p *Precondition) Holds(version int64) bool {
	return p == nil || p.Any || slices.Contains(p.Versions, version)
}

// Claim identifies a request that may be delivered more than once. The first that
// succeeds records it in the transaction of its change; a later one gets its answer.
type Claim struct {
	Kind ClaimKind
	// Scope and ID identify the request: a CloudEvent's source and id, or a caller and its
	// Idempotency-Key.
	Scope, ID string
	// Digest, when not nil, is the SHA-256 of the body, which a repetition must bring again.
	Digest []byte
}

// ClaimKind says which retention applies to a claim.
type ClaimKind byte

// The kinds of claims.
const (
	EventClaim   ClaimKind = 'e'
	RequestClaim ClaimKind = 'r'
)

// Key is the claim's primary key: the SHA-256 of its kind, scope and id, with the scope's
// length before it so that no two pairs run together.
func (c *Claim) Key() [sha256.Size]byte {
	buf := make([]byte, 0, 9+len(c.Scope)+len(c.ID))
	buf = append(buf, byte(c.Kind))
	buf = binary.BigEndian.AppendUint64(buf, uint64(len(c.Scope)))
	buf = append(buf, c.Scope...)
	return sha256.Sum256(append(buf, c.ID...))
}
