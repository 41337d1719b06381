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

// User is somebody, or something, that may use the organization's AI.
type User struct {
	ID     uuid.UUID
	Tag    string // lower case, unique
	Name   string
	Email  *string // as written; unique ignoring case
	Role   Role
	Status Status
	// Models is the allow-list of model names and globs; nil allows all, an empty one none.
	Models      []string
	Limits      Limits
	Credentials []Credential // by provider, ascending
	// Metadata is a JSON object in canonical form: compact, members sorted.
	Metadata   jsontext.Value
	ExternalID *string
	// Version is 1 at creation and grows by one with every change that changed something.
	Version              int64
	CreatedAt, UpdatedAt time.Time // UTC, microseconds
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

// Credential returns the user's credential for a provider, or nil.
func (u *User) Credential(provider string) *Credential {
	i := slices.IndexFunc(u.Credentials, func(c Credential) bool { return c.Provider == provider })
	if i < 0 {
		return nil
	}
	return &u.Credentials[i]
}

// Timestamp truncates t to what is stored and shown: UTC, microseconds.
func Timestamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
