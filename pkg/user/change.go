package user

import (
	"bytes"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

// Stamp is what the service adds to a change.
type Stamp struct {
	Now   time.Time // see [Timestamp]
	KeyID string    // of the vault key that seals the change's secrets
	// Same says whether a credential already holds just this secret, so that writing it
	// again changes nothing. It may be nil where there is nothing to compare with.
	Same func(provider string, plain secret.Text) bool
}

// Create makes a user.
type Create struct {
	Patch
	problems Problems // found while decoding
}

// Update sets the members that its patch carries and merges limits, credentials and metadata.
type Update struct {
	Patch
	problems Problems
}

// Delete removes a user for good.
type Delete struct{ problems Problems }

// ParseCreate decodes the body of a creation. Malformed JSON is its error; what is wrong
// with the content is Validate's to say.
func ParseCreate(body []byte) (Create, error) {
	value, err := ParseBody(body)
	if err != nil {
		return Create{}, err
	}
	patch, problems := parsePatch(value)
	return Create{patch, problems}, nil
}

// ParseUpdate decodes the body of an update, like [ParseCreate].
func ParseUpdate(body []byte) (Update, error) {
	value, err := ParseBody(body)
	if err != nil {
		return Update{}, err
	}
	patch, problems := parsePatch(value)
	return Update{patch, problems}, nil
}

// Validate implements [Change].
func (c Create) Validate() error {
	problems := slices.Clone(c.problems)
	c.validate(&problems)
	requireSet(&problems, "tag", c.Tag)
	requireSet(&problems, "name", c.Name)
	return problems.Err()
}

// Validate implements [Change].
func (u Update) Validate() error {
	problems := slices.Clone(u.problems)
	u.validate(&problems)
	return problems.Err()
}

// For notes a problem when the body names another user than the one addressed.
func (u *Update) For(id uuid.UUID) {
	if u.ID.Set && u.ID.Value != id {
		u.problems.Add("id", codeMismatch, mustBeAddressed)
	}
}

const mustBeAddressed = "must be the id of the user addressed, or left out"

// Validate implements [Change].
func (d Delete) Validate() error { return d.problems.Err() }

// Apply makes the user; a problem of the whole (metadata too large) is an [Invalid] error.
func (c Create) Apply(stamp Stamp) (*User, error) {
	id := c.ID.Value
	if !c.ID.Set {
		id = NewID()
	}
	u := &User{ID: id, Role: Member, Status: Active, Metadata: emptyObject,
		Version: 1, CreatedAt: stamp.Now, UpdatedAt: stamp.Now}
	return u, c.applyTo(u, stamp)
}

// NewID makes a UUID of version 7 (RFC 9562, section 5.7), which grows with time.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// Apply returns what before becomes. An update that changes nothing returns before itself.
func (u Update) Apply(before *User, stamp Stamp) (*User, error) {
	after := *before
	if err := u.applyTo(&after, stamp); err != nil {
		return nil, err
	}
	if len(Differences(before, &after)) == 0 {
		return before, nil
	}
	after.Version++
	after.UpdatedAt = stamp.Now
	return &after, nil
}

func (p *Patch) applyTo(u *User, stamp Stamp) error {
	set(&u.Tag, p.Tag)
	set(&u.Name, p.Name)
	set(&u.Email, p.Email)
	set(&u.Role, p.Role)
	set(&u.Status, p.Status)
	set(&u.Models, p.Models)
	set(&u.ExternalID, p.ExternalID)
	u.Limits = p.limits(u.Limits)
	u.Credentials = p.Credentials.applyTo(u.Credentials, stamp)
	u.Metadata = p.metadata(u.Metadata)

	var problems Problems
	if len(u.Credentials) > maxCredentials {
		problems.Add("credentials", codeSize, "a user can hold at most %d credentials", maxCredentials)
	}
	if len(u.Metadata) > maxMetadataBytes {
		problems.Add("metadata", codeSize, "must be at most 16 KiB encoded, with all that is stored; it has %d bytes", len(u.Metadata))
	}
	if depthOf(u.Metadata) > maxMetadataDepth {
		problems.Add("metadata", codeDepth, "must be at most %d levels deep", maxMetadataDepth)
	}
	return problems.Err()
}

func set[T any](field *T, member Optional[T]) {
	if member.Set {
		*field = member.Value
	}
}

func (p *Patch) limits(current Limits) Limits {
	if !p.Limits.Set {
		return current
	}
	if p.Limits.Value == nil {
		return Limits{}
	}
	set(&current.RequestsPerMinute, p.Limits.Value.RequestsPerMinute)
	set(&current.TokensPerMinute, p.Limits.Value.TokensPerMinute)
	set(&current.MonthlyBudgetUSD, p.Limits.Value.MonthlyBudgetUSD)
	return current
}

func (p *Patch) metadata(current jsontext.Value) jsontext.Value {
	if !p.Metadata.Set {
		return current
	}
	if p.Metadata.Value.Kind() == 'n' {
		return emptyObject
	}
	return mergePatch(current, p.Metadata.Value)
}

func (c CredentialsPatch) applyTo(current []Credential, stamp Stamp) []Credential {
	if c.empty() {
		return current
	}
	var kept []Credential
	for _, credential := range current {
		plain, written := c.Set[credential.Provider]
		same := written && stamp.Same != nil && stamp.Same(credential.Provider, plain)
		if same || !written && !c.Clear && !slices.Contains(c.Remove, credential.Provider) {
			kept = append(kept, credential)
		}
	}
	for _, provider := range sortedKeys(c.Set) {
		if !slices.ContainsFunc(kept, func(k Credential) bool { return k.Provider == provider }) {
			kept = append(kept, Credential{provider, Hint(c.Set[provider]), stamp.KeyID, stamp.Now})
		}
	}
	slices.SortFunc(kept, func(a, b Credential) int { return bytes.Compare([]byte(a.Provider), []byte(b.Provider)) })
	return kept
}
