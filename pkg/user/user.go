package user

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Role is what a user may do with the organization's AI.
type Role string

// The roles.
const (
	Admin   Role = "admin"
	Member  Role = "member"
	Viewer  Role = "viewer"
	Service Role = "service"
)

// Status says whether a user may use the organization's AI at present.
type Status string

// The statuses.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
)

// User is a person or a program that may use the organization's AI. Its fields are declared
// in the table of [Fields].
type User struct {
	ID       uuid.UUID
	Tag      string // lower case, unique
	Name     string
	Email    *string // as written; unique by EmailKey
	UserName *string // as written; nil where no identity provider gave one
	Role     Role
	Status   Status
	// ExpiresAt is when the user may use nothing any more; nil is never.
	ExpiresAt *time.Time
	// Models is the allow-list of model names and globs; nil allows all, an empty one none.
	Models      []string
	Limits      Limits
	Credentials []Credential // by provider, ascending
	Keys        []Key        // newest first
	// Groups are those that the user is a member of when it is read. They are no part of its version.
	Groups []GroupRef
	// Metadata is a JSON object in canonical form: compact, members sorted.
	Metadata   jsontext.Value
	ExternalID *string
	// SCIM holds the attributes that an identity provider wrote and that the product has no
	// field for, as a JSON object in canonical form.
	SCIM jsontext.Value
	// Version is 1 at creation and grows by one with every change that changed something.
	Version              int64
	CreatedAt, UpdatedAt time.Time // UTC, microseconds

	// EmailKey and UserNameKey are the comparison forms that are unique: of the e-mail address
	// (empty without one) and of the effective userName. Before a migration resolves a conflict
	// they may carry a suffix, and then stay as they are until their field changes.
	EmailKey, UserNameKey string
}

// EffectiveUserName returns the name that an identity provider knows the user by: the userName as
// written, else the e-mail address, else the tag.
func (u *User) EffectiveUserName() string {
	switch {
	case u.UserName != nil:
		return *u.UserName
	case u.Email != nil:
		return *u.Email
	default:
		return u.Tag
	}
}

// SetForms computes the comparison forms that are unique.
func (u *User) SetForms() {
	u.EmailKey, u.UserNameKey = emailKey(u.Email), FoldAddress(u.EffectiveUserName())
}

func emailKey(email *string) string {
	if email == nil {
		return ""
	}
	return FoldAddress(*email)
}

// Limits bound what a user may spend; nil is unlimited.
type Limits struct {
	RequestsPerMinute *int64
	TokensPerMinute   *int64
	MonthlyBudgetUSD  *Cents
}

// Credential says that a user holds a secret for a provider. The secret itself is sealed
// elsewhere.
type Credential struct {
	Provider  string    `json:"provider"`
	Hint      *string   `json:"hint"`  // the secret's last four characters; nil for a short secret
	KeyID     string    `json:"keyId"` // of the vault key that sealed it; empty for the old function's
	UpdatedAt time.Time `json:"updatedAt"`
}

// GroupRef names a group that a user is a member of.
type GroupRef struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
}

// Credential returns the user's credential for a provider, or nil.
func (u *User) Credential(provider string) *Credential {
	i := slices.IndexFunc(u.Credentials, func(c Credential) bool { return c.Provider == provider })
	if i < 0 {
		return nil
	}
	return &u.Credentials[i]
}

// Key returns the user's key with an id, or nil.
func (u *User) Key(id uuid.UUID) *Key {
	i := slices.IndexFunc(u.Keys, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return nil
	}
	return &u.Keys[i]
}

// Timestamp truncates t to what is stored and shown: UTC, microseconds.
func Timestamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
