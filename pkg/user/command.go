package user

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

// Command asks for one change, whichever transport it came by.
type Command struct {
	Change Change
	// User says whom an Update or a Delete is about; a Create has its id in its patch.
	User Ref
	Origin
	Preconditions
	// Audit, when not nil, is an entry of the audit log that is written with the change if there is one.
	Audit *AuditEntry
	// Claim, when not nil, makes the change happen at most once.
	Claim *Claim
}

// Origin is where a command comes from.
type Origin struct {
	// Actor is who asks, as shown in the history.
	Actor string
	// Cause is the id of the request or event that asks; outgoing events carry it on.
	Cause string
	// SourceIP is the address of the client, for the audit log; empty where there is none.
	SourceIP string
	// TraceParent is the W3C trace context that outgoing events carry on; empty for none.
	TraceParent string
}

// Change is what a command does: a [Create], a [Delete] or a [Modification].
type Change interface {
	// Validate reports all that is wrong with the change by itself, as an [Invalid] error.
	Validate() error
}

// Modification is a change of a user that there is: an [Update], or a change of its keys.
type Modification interface {
	Change
	// Apply returns what before becomes: before itself when nothing changes. It does no I/O, and
	// leaves before as it is.
	Apply(before *User, stamp Stamp) (*User, error)
}

// Ref names a user: by id or, where the id is not known, by one other value that is unique. Whoever
// has that value when the command is carried out is meant.
type Ref struct {
	ID         uuid.UUID
	Tag        string // lower-cased
	Email      string // in comparison form, see [FoldAddress]
	UserName   string // the effective one, in comparison form
	ExternalID string
}

// ParseRef reads the text that names a user in a path: an id, or tag:, email:, userName: or externalId:
// and the value. It reports whether the text can name anybody: a value that is longer than any user's is
// refused before its form is computed, which takes time that grows with the square of the length.
func ParseRef(text string) (Ref, bool) {
	kind, value, named := strings.Cut(text, ":")
	if !named {
		id, ok := ParseID(text)
		return Ref{ID: id}, ok
	}
	if value == "" || utf8.RuneCountInString(value) > maxValue || strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
		return Ref{}, false
	}
	switch kind {
	case "tag":
		return Ref{Tag: FoldTag(value)}, true
	case "email":
		return Ref{Email: FoldAddress(value)}, true
	case "userName":
		return Ref{UserName: FoldAddress(value)}, true
	case "externalId":
		return Ref{ExternalID: value}, true
	default:
		return Ref{}, false
	}
}

// Precondition is an If-Match header's meaning (RFC 9110, section 13.1.1): any current
// version, or one of those listed.
type Precondition struct {
	Any      bool
	Versions []int64
}

// Holds says whether a user or group at this version meets the precondition; a nil one always holds.
func (p *Precondition) Holds(version int64) bool {
	return p == nil || p.Any || slices.Contains(p.Versions, version)
}

// Preconditions are what a change is asked for on condition of. IfMatch, when not nil, must hold for the
// version of what is to be changed; IfNoneMatch, when not nil, must not.
type Preconditions struct{ IfMatch, IfNoneMatch *Precondition }

// Allow reports whether the preconditions let something at this version be changed; 0 stands for what is not
// there yet.
func (p *Preconditions) Allow(version int64) bool {
	return p.IfMatch.Holds(version) && (p.IfNoneMatch == nil || version == 0 || !p.IfNoneMatch.Holds(version))
}

// Claim identifies a request that may be delivered more than once. The first that
// succeeds records it in the transaction of its change; a later one gets its answer.
type Claim struct {
	Kind ClaimKind
	// Scope and ID identify the request: a CloudEvent's source and id, or a caller and its
	// Idempotency-Key.
	Scope, ID string
	// Digest, when not nil, is the SHA-256 of the body. A repetition of a request must bring the same;
	// one of an event that does not is logged.
	Digest []byte
	// Secret is what the first answer shows and no event does: that of a new key. It is kept sealed
	// with the claim, so that a repetition can show it again.
	Secret secret.Text
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

// Outcome is what a command came to.
type Outcome struct {
	// Before is the user before the change; nil before a creation and in a replay.
	Before *User
	// User is the user after the change; nil after a deletion and in a replay.
	User *User
	// Event is what was recorded; nil when nothing was changed.
	Event *Event
	// UserID is the user's id, also in a replay.
	UserID uuid.UUID
	// Replayed says that an earlier delivery made the change, and that this is its answer.
	Replayed bool
	// Secret is the one that was kept with the replayed claim.
	Secret secret.Text
}

// Result is what became of one command among several: its outcome, or why it was refused.
type Result struct {
	Outcome
	Err error
}
