package user

import (
	"bytes"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	validation "github.com/go-ozzo/ozzo-validation/v4"
	"github.com/google/uuid"
)

// KeyStatus says whether a key works at present.
type KeyStatus string

// The statuses of a key.
const (
	KeyActive   KeyStatus = "active"
	KeyDisabled KeyStatus = "disabled"
)

// Key is an API key that a user's programs present at a gateway. The secret itself is nowhere: the
// database has its hash.
type Key struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	Hint      string    `json:"hint"`
	Models    []string  `json:"models"` // narrows the user's; nil allows all that the user may use
	Status    KeyStatus `json:"status"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	// ExpiresAt is when the key stops working; nil is never.
	ExpiresAt *time.Time `json:"expiresAt"`
	// PreviousValidUntil is how long the secret from before the last rotation works; nil is not at all.
	PreviousValidUntil *time.Time `json:"previousValidUntil"`

	// Hash is that of a secret which the change at hand gives the key; nil keeps the one it has.
	Hash []byte `json:"-"`
}

// Expired reports whether the key has stopped working by now.
func (k *Key) Expired(now time.Time) bool { return k.ExpiresAt != nil && !now.Before(*k.ExpiresAt) }

// maxKeys bounds the keys of one user.
const maxKeys = 100

// maxOverlap is the longest that a rotated key's former secret goes on working.
const maxOverlap = 720 * time.Hour

// KeyPatch is what a body says of a key: the members that it carried.
type KeyPatch struct {
	Name      Optional[string]
	Models    Optional[[]string]
	Status    Optional[KeyStatus]
	ExpiresAt Optional[*time.Time]
	// Overlap is how long the former secret goes on working after a rotation.
	Overlap Optional[time.Duration]

	problems Problems
}

// ParseKeyPatch decodes a body that may carry the members named; an empty body is one without members.
func ParseKeyPatch(body []byte, allowed ...string) (KeyPatch, error) {
	var p KeyPatch
	if len(body) == 0 {
		return p, nil
	}
	value, err := ParseBody(body)
	if err != nil {
		return p, err
	}
	for name, value := range Members(value) {
		if !slices.Contains(allowed, name) {
			p.problems.Add(name, codeUnknown, "is not a field that can be written here")
			checkNUL(&p.problems, name, name)
			continue
		}
		p.decode(name, value)
	}
	return p, nil
}

func (p *KeyPatch) decode(name string, v jsontext.Value) {
	switch name {
	case "name":
		p.Name = decodeName(&p.problems, name, v)
	case "models":
		p.Models = decodeModels(&p.problems, name, v)
	case "status":
		p.Status = decodeText[KeyStatus](&p.problems, name, v)
	case "expiresAt":
		p.ExpiresAt = decodeNullableTime(&p.problems, name, v)
	case "overlap":
		p.Overlap = decodeOverlap(&p.problems, name, v)
	}
}

func decodeOverlap(problems *Problems, path string, v jsontext.Value) Optional[time.Duration] {
	s := decodeString(problems, path, v)
	if !s.Set {
		return Optional[time.Duration]{}
	}
	overlap, err := time.ParseDuration(s.Value)
	if err != nil || overlap < 0 || overlap > maxOverlap {
		problems.Add(path, codeRange, "must be a duration from 0s to 720h, such as 24h")
		return Optional[time.Duration]{}
	}
	return Some(overlap)
}

var (
	keyNameRules   = []validation.Rule{validation.Required, validation.RuneLength(1, 100), validation.By(oneVisibleLine)}
	keyStatusRules = []validation.Rule{validation.Required, validation.In(KeyActive, KeyDisabled).Error("must be active or disabled")}
)

func (p *KeyPatch) check(problems *Problems) {
	if p.Name.Set {
		problems.check("name", p.Name.Value, keyNameRules...)
	}
	if p.Status.Set {
		problems.check("status", p.Status.Value, keyStatusRules...)
	}
	checkModels(problems, "models", p.Models.Value)
}

// NewSecret is what the service makes for a key that is issued or rotated: the hash that is stored and
// the hint that is shown.
type NewSecret struct {
	Hash []byte
	Hint string
}

// IssueKey gives a user a key.
type IssueKey struct {
	KeyPatch
	KeyID  uuid.UUID // of the new key
	Secret NewSecret
}

// Validate implements [Change].
func (c IssueKey) Validate() error {
	problems := slices.Clone(c.problems)
	c.check(&problems)
	requireSet(&problems, "name", c.Name)
	return problems.Err()
}

// Apply implements [Modification].
func (c IssueKey) Apply(before *User, stamp Stamp) (*User, error) {
	if len(before.Keys) >= maxKeys {
		problems := Problems{}
		problems.Add("keys", codeSize, "a user can hold at most %d keys: revoke one first", maxKeys)
		return nil, problems.Err()
	}
	if err := nameTaken(before, c.Name.Value, uuid.Nil); err != nil {
		return nil, err
	}
	key := Key{ID: c.KeyID, Name: c.Name.Value, Hint: c.Secret.Hint, Hash: c.Secret.Hash, Models: c.Models.Value,
		Status: KeyActive, CreatedAt: stamp.Now, CreatedBy: stamp.Actor, ExpiresAt: c.ExpiresAt.Value}
	after := *before
	after.Keys = append([]Key{key}, before.Keys...)
	return revised(before, &after, stamp), nil
}

// UpdateKey sets the members of a key that its patch carries.
type UpdateKey struct {
	KeyPatch
	KeyID uuid.UUID
}

// Validate implements [Change].
func (c UpdateKey) Validate() error {
	problems := slices.Clone(c.problems)
	c.check(&problems)
	return problems.Err()
}

// Apply implements [Modification].
func (c UpdateKey) Apply(before *User, stamp Stamp) (*User, error) {
	return changeKey(before, c.KeyID, stamp, func(k *Key) error {
		if c.ExpiresAt.Set && k.Expired(stamp.Now) {
			return expiredKey("the key has expired: rotate it, with a new expiresAt, instead")
		}
		if c.Name.Set {
			if err := nameTaken(before, c.Name.Value, k.ID); err != nil {
				return err
			}
		}
		set(&k.Name, c.Name)
		set(&k.Models, c.Models)
		set(&k.Status, c.Status)
		set(&k.ExpiresAt, c.ExpiresAt)
		return nil
	})
}

// RotateKey gives a key a new secret. The former one goes on working for the patch's Overlap.
type RotateKey struct {
	KeyPatch
	KeyID  uuid.UUID
	Secret NewSecret
}

// defaultOverlap is how long a rotated key's former secret works unless the request says.
const defaultOverlap = 24 * time.Hour

// Validate implements [Change].
func (c RotateKey) Validate() error { return slices.Clone(c.problems).Err() }

// Apply implements [Modification].
func (c RotateKey) Apply(before *User, stamp Stamp) (*User, error) {
	return changeKey(before, c.KeyID, stamp, func(k *Key) error {
		expired := k.Expired(stamp.Now)
		if set(&k.ExpiresAt, c.ExpiresAt); k.Expired(stamp.Now) {
			return expiredKey("the new secret would have expired: give the key an expiresAt in the future, or null")
		}
		k.Hash, k.Hint = c.Secret.Hash, c.Secret.Hint
		k.PreviousValidUntil = c.FormerUntil(stamp.Now, expired)
		return nil
	})
}

// FormerUntil returns how long the former secret works after a rotation at that time; nil is not at all,
// as of a key that had expired: its secret is not revived.
func (c RotateKey) FormerUntil(at time.Time, expired bool) *time.Time {
	overlap := defaultOverlap
	set(&overlap, c.Overlap)
	if overlap == 0 || expired {
		return nil
	}
	until := at.Add(overlap)
	return &until
}

// RevokeKeys takes keys away from a user for good.
type RevokeKeys struct {
	KeyID uuid.UUID // [uuid.Nil]: all keys
}

// Validate implements [Change].
func (RevokeKeys) Validate() error { return nil }

// Apply implements [Modification].
func (c RevokeKeys) Apply(before *User, stamp Stamp) (*User, error) {
	after := *before
	after.Keys = slices.DeleteFunc(slices.Clone(before.Keys), func(k Key) bool { return c.KeyID == uuid.Nil || k.ID == c.KeyID })
	if c.KeyID != uuid.Nil && len(after.Keys) == len(before.Keys) {
		return nil, ErrNoSuchKey
	}
	return revised(before, &after, stamp), nil
}

// ErrNoSuchKey refuses what is about a key that the user does not have.
var ErrNoSuchKey error = Errorf(NotFound, "the user has no such key")

func changeKey(before *User, id uuid.UUID, stamp Stamp, change func(*Key) error) (*User, error) {
	after := *before
	after.Keys = slices.Clone(before.Keys)
	key := after.Key(id)
	if key == nil {
		return nil, ErrNoSuchKey
	}
	if err := change(key); err != nil {
		return nil, err
	}
	return revised(before, &after, stamp), nil
}

func nameTaken(u *User, name string, by uuid.UUID) error {
	if slices.ContainsFunc(u.Keys, func(k Key) bool { return k.Name == name && k.ID != by }) {
		return Errorf(DuplicateKeyName, "the user has a key with this name")
	}
	return nil
}

func expiredKey(message string) error {
	problems := Problems{}
	problems.Add("expiresAt", "validation_expired", "%s", message)
	return problems.Err()
}

// AppendKeys appends keys as they are stored with their user: all but secrets, hashes and use.
func AppendKeys(dst []byte, keys []Key) []byte { return appendList(dst, keys, appendStoredKey) }

func appendStoredKey(dst []byte, k *Key) []byte {
	dst = appendKeyStart(dst, k)
	dst = appendTime(append(dst, `,"createdAt":`...), k.CreatedAt)
	dst = appendString(append(dst, `,"createdBy":`...), k.CreatedBy)
	dst = appendOptionalTime(append(dst, `,"previousValidUntil":`...), k.PreviousValidUntil)
	return append(dst, '}')
}

// appendShownKey appends a key as its user shows it.
func appendShownKey(dst []byte, k *Key) []byte { return append(appendKeyStart(dst, k), '}') }

func appendKeyStart(dst []byte, k *Key) []byte {
	dst = appendQuotedUUID(append(dst, `{"id":`...), k.ID)
	dst = appendString(append(dst, `,"name":`...), k.Name)
	dst = appendString(append(dst, `,"hint":`...), k.Hint)
	dst = appendText(append(dst, `,"status":`...), k.Status)
	dst = appendModels(append(dst, `,"models":`...), k.Models)
	return appendOptionalTime(append(dst, `,"expiresAt":`...), k.ExpiresAt)
}

// SameAs reports whether two keys are stored alike, but for a secret that one of them brings.
func (k *Key) SameAs(other *Key) bool {
	return bytes.Equal(appendStoredKey(nil, k), appendStoredKey(nil, other))
}
