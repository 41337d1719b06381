package user

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

// Stamp is what the service adds to a change.
type Stamp struct {
	Now   time.Time // see [Timestamp]
	KeyID string    // of the vault key that seals the change's secrets
	Actor string    // who asks for the change
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
	patch, problems, err := parsePatch(body)
	return Create{patch, problems}, err
}

// ParseUpdate decodes the body of an update, like [ParseCreate].
func ParseUpdate(body []byte) (Update, error) {
	patch, problems, err := parsePatch(body)
	return Update{patch, problems}, err
}

// ParseDelete decodes what an event says of the user to delete: an object with an id or a
// tag, or nothing at all. Malformed JSON is its error; what is wrong with the content is
// Validate's to say.
func ParseDelete(body []byte) (Delete, Ref, error) {
	if len(body) == 0 {
		return Delete{}, Ref{}, nil
	}
	value, err := ParseBody(body)
	if err != nil {
		return Delete{}, Ref{}, err
	}
	var (
		patch    Patch
		problems Problems
	)
	for name, value := range Members(value) {
		if name == "id" || name == "tag" {
			fieldByName[name].decode(&patch, &problems, name, value)
		} else {
			problems.Add(name, codeUnknown, "is an unknown field: identify the user by id or tag")
			checkNUL(&problems, name, name)
		}
	}
	return Delete{problems}, Ref{ID: patch.ID.Value, Tag: patch.Tag.Value}, nil
}

// Validate implements [Change].
func (c Create) Validate() error {
	problems := slices.Clone(c.problems)
	c.check(&problems)
	requireSet(&problems, "tag", c.Tag)
	requireSet(&problems, "name", c.Name)
	return problems.Err()
}

// Validate implements [Change].
func (u Update) Validate() error {
	problems := slices.Clone(u.problems)
	u.check(&problems)
	return problems.Err()
}

// Validate implements [Change].
func (d Delete) Validate() error { return d.problems.Err() }

const mustBeAddressed = "must be the id of the user addressed, or left out"

// For notes a problem when the body names another user than the one addressed.
func (d *Delete) For(id, named uuid.UUID) {
	if named != uuid.Nil && named != id {
		d.problems.Add("id", codeMismatch, mustBeAddressed)
	}
}

// For makes the creation one of the user with this id, as an event's subject asks for;
// naming another in the body is a problem.
func (c *Create) For(id uuid.UUID) {
	if !c.ID.Set {
		c.ID = Some(id)
	} else if c.ID.Value != id {
		c.problems.Add("id", codeMismatch, mustBeAddressed)
	}
}

// Apply makes the user, at the version after former: 0, or the last version of a deleted user with
// the same id. A problem of the whole (metadata too large) is an [Invalid] error.
func (c Create) Apply(former int64, stamp Stamp) (*User, error) {
	id := c.ID.Value
	if !c.ID.Set {
		id = NewID()
	}
	u := &User{ID: id, Role: Member, Status: Active, Metadata: emptyObject, SCIM: emptyObject,
		Version: former + 1, CreatedAt: stamp.Now, UpdatedAt: stamp.Now}
	return u, c.applyTo(u, stamp)
}

// NewID makes a UUID of version 7 (RFC 9562, section 5.7), which grows with time.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// Apply implements [Modification].
func (u Update) Apply(before *User, stamp Stamp) (*User, error) {
	if u.ID.Set && u.ID.Value != before.ID {
		problems := slices.Clone(u.problems)
		u.check(&problems)
		problems.Add("id", codeMismatch, mustBeAddressed)
		return nil, problems.Err()
	}
	after := *before
	if err := u.applyTo(&after, stamp); err != nil {
		return nil, err
	}
	return revised(before, &after, stamp), nil
}

// revised returns after as the next version of before, or before itself when nothing changed.
func revised(before, after *User, stamp Stamp) *User {
	if len(differencesOf(before, after)) == 0 {
		return before
	}
	after.Version = before.Version + 1
	after.UpdatedAt = stamp.Now
	return after
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
	for _, provider := range slices.Sorted(maps.Keys(c.Set)) {
		if !slices.ContainsFunc(kept, func(k Credential) bool { return k.Provider == provider }) {
			kept = append(kept, Credential{provider, hintOf(c.Set[provider]), stamp.KeyID, stamp.Now})
		}
	}
	slices.SortFunc(kept, func(a, b Credential) int { return strings.Compare(a.Provider, b.Provider) })
	return kept
}
