package user

import (
	"bytes"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	validation "github.com/go-ozzo/ozzo-validation/v4"
	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

// field declares one field of a user, once: how a body carries it, which rules its value obeys, how a
// patch changes it, how it is written as JSON, and who may see it.
type field struct {
	name string
	// decode reads the member of a body into the patch; nil where the service makes the value.
	decode func(p *Patch, problems *Problems, path string, v jsontext.Value)
	// check notes the rules that the patch's value breaks by itself; nil for none.
	check func(p *Patch, problems *Problems)
	// apply changes the user as the patch says; nil where a patch cannot.
	apply func(u *User, p *Patch, stamp Stamp)
	// encode appends the user's value as JSON.
	encode func(dst []byte, u *User) []byte
	// stored appends the value as it is stored, where that says more than what is shown; nil otherwise.
	stored func(dst []byte, u *User) []byte

	personal bool // erased from the event log after the user's deletion
	recorded bool // a difference makes a version, a history entry and an event
	hidden   bool // in no JSON of a user, and unknown in a body
	live     bool // true when read, so that no event carries it
}

// fields are all fields, in the order in which JSON shows them.
var fields = []field{
	{name: "id", decode: decodeID, encode: func(dst []byte, u *User) []byte { return appendQuotedUUID(dst, u.ID) }},
	personal(plain("tag", func(u *User) *string { return &u.Tag }, func(p *Patch) *Optional[string] { return &p.Tag },
		decodeTag, appendString, tagRules...)),
	personal(plain("name", func(u *User) *string { return &u.Name }, func(p *Patch) *Optional[string] { return &p.Name },
		decodeName, appendString, nameRules...)),
	personal(plain("email", func(u *User) **string { return &u.Email }, func(p *Patch) *Optional[*string] { return &p.Email },
		decodeNullableString, appendOptional, optional(emailRules...))),
	personal(plain("userName", func(u *User) **string { return &u.UserName }, func(p *Patch) *Optional[*string] { return &p.UserName },
		decodeNullableString, appendOptional, optional(userNameRules...))),
	plain("role", func(u *User) *Role { return &u.Role }, func(p *Patch) *Optional[Role] { return &p.Role },
		decodeText[Role], appendText[Role], roleRules...),
	plain("status", func(u *User) *Status { return &u.Status }, func(p *Patch) *Optional[Status] { return &p.Status },
		decodeText[Status], appendText[Status], statusRules...),
	plain("expiresAt", func(u *User) **time.Time { return &u.ExpiresAt }, func(p *Patch) *Optional[*time.Time] { return &p.ExpiresAt },
		decodeNullableTime, appendOptionalTime),
	{name: "models", recorded: true,
		decode: func(p *Patch, problems *Problems, path string, v jsontext.Value) {
			p.Models = decodeModels(problems, path, v)
		},
		check:  func(p *Patch, problems *Problems) { checkModels(problems, "models", p.Models.Value) },
		apply:  func(u *User, p *Patch, _ Stamp) { set(&u.Models, p.Models) },
		encode: func(dst []byte, u *User) []byte { return appendModels(dst, u.Models) }},
	{name: "limits", recorded: true, decode: decodeLimits,
		apply:  func(u *User, p *Patch, _ Stamp) { u.Limits = p.limits(u.Limits) },
		encode: func(dst []byte, u *User) []byte { return u.Limits.appendJSON(dst) }},
	{name: "credentials", recorded: true, decode: decodeCredentials,
		check:  func(p *Patch, problems *Problems) { p.Credentials.check(problems) },
		apply:  func(u *User, p *Patch, stamp Stamp) { u.Credentials = p.Credentials.applyTo(u.Credentials, stamp) },
		encode: func(dst []byte, u *User) []byte { return AppendCredentials(dst, u.Credentials) }},
	{name: "keys", recorded: true,
		encode: func(dst []byte, u *User) []byte { return appendList(dst, u.Keys, appendShownKey) },
		stored: func(dst []byte, u *User) []byte { return AppendKeys(dst, u.Keys) }},
	{name: "groups", live: true,
		encode: func(dst []byte, u *User) []byte { return appendList(dst, u.Groups, appendGroupRef) }},
	{name: "metadata", recorded: true, personal: true, decode: decodeMetadata,
		apply:  func(u *User, p *Patch, _ Stamp) { u.Metadata = p.metadata(u.Metadata) },
		encode: func(dst []byte, u *User) []byte { return appendObject(dst, u.Metadata) }},
	personal(plain("externalId", func(u *User) **string { return &u.ExternalID }, func(p *Patch) *Optional[*string] { return &p.ExternalID },
		decodeNullableString, appendOptional, optional(externalIDRules...))),
	{name: "scim", recorded: true, personal: true, hidden: true,
		apply:  func(u *User, p *Patch, _ Stamp) { set(&u.SCIM, p.SCIM) },
		encode: func(dst []byte, u *User) []byte { return appendObject(dst, u.SCIM) }},
	{name: "version", encode: func(dst []byte, u *User) []byte { return strconv.AppendInt(dst, u.Version, 10) }},
	{name: "createdAt", encode: func(dst []byte, u *User) []byte { return appendTime(dst, u.CreatedAt) }},
	{name: "updatedAt", encode: func(dst []byte, u *User) []byte { return appendTime(dst, u.UpdatedAt) }},
}

// Optional is a member that a body may carry or leave out.
type Optional[T any] struct {
	Set   bool // the body carried the member
	Value T
}

// Some is a member that was carried.
func Some[T any](value T) Optional[T] { return Optional[T]{true, value} }

// Patch is what a body says of a user: the members it carried, each of the right type.
// Where a member is nullable, nil stands for null.
type Patch struct {
	ID          Optional[uuid.UUID]
	Tag         Optional[string] // lower-cased
	Name        Optional[string] // trimmed
	Email       Optional[*string]
	UserName    Optional[*string]
	Role        Optional[Role]
	Status      Optional[Status]
	ExpiresAt   Optional[*time.Time]
	Models      Optional[[]string]
	Limits      Optional[*LimitsPatch] // nil lifts every limit
	Credentials CredentialsPatch
	// Metadata is a merge patch (RFC 7396); the JSON null empties it.
	Metadata   Optional[jsontext.Value]
	ExternalID Optional[*string]
	// SCIM replaces the attributes kept for an identity provider: an object in canonical form,
	// written by the SCIM API alone.
	SCIM Optional[jsontext.Value]
}

// LimitsPatch sets the limits that it carries; nil lifts one.
type LimitsPatch struct {
	RequestsPerMinute Optional[*int64]
	TokensPerMinute   Optional[*int64]
	MonthlyBudgetUSD  Optional[*Cents]
}

// CredentialsPatch sets or removes secrets by provider.
type CredentialsPatch struct {
	Clear bool // the body carried null: every credential goes
	Set   map[string]secret.Text
	// Remove names providers whose credential goes.
	Remove []string
}

func (c CredentialsPatch) empty() bool { return !c.Clear && len(c.Set) == 0 && len(c.Remove) == 0 }

// plain declares a field whose value in a body replaces the user's.
func plain[T any](name string, of func(*User) *T, in func(*Patch) *Optional[T],
	decode func(*Problems, string, jsontext.Value) Optional[T], encode func([]byte, T) []byte, rules ...validation.Rule,
) field {
	return field{
		name:     name,
		recorded: true,
		decode: func(p *Patch, problems *Problems, path string, v jsontext.Value) {
			*in(p) = decode(problems, path, v)
		},
		check: func(p *Patch, problems *Problems) {
			if member := in(p); member.Set {
				problems.check(name, member.Value, rules...)
			}
		},
		apply:  func(u *User, p *Patch, _ Stamp) { set(of(u), *in(p)) },
		encode: func(dst []byte, u *User) []byte { return encode(dst, *of(u)) },
	}
}

func personal(f field) field {
	f.personal = true
	return f
}

// fieldByName finds what a member of a body may name.
var fieldByName = func() map[string]*field {
	byName := make(map[string]*field, len(fields))
	for i := range fields {
		if !fields[i].hidden {
			byName[fields[i].name] = &fields[i]
		}
	}
	return byName
}()

// Fields returns the names of the fields that a read shows, in their order.
func Fields() []string { return names(func(f *field) bool { return !f.hidden }) }

// EventFields returns the names of the fields that an event shows, in their order.
func EventFields() []string { return names(func(f *field) bool { return !f.hidden && !f.live }) }

// PersonalFields returns the names of the fields that are erased from the event log once a user was deleted.
func PersonalFields() []string { return names(func(f *field) bool { return f.personal }) }

// RecordedFields returns the names that history entries and events list as changed.
func RecordedFields() []string { return names(func(f *field) bool { return f.recorded }) }

// WritableFields returns the names of the fields that a body may carry.
func WritableFields() []string { return names(func(f *field) bool { return f.decode != nil }) }

func names(wanted func(*field) bool) (found []string) {
	for i := range fields {
		if wanted(&fields[i]) {
			found = append(found, fields[i].name)
		}
	}
	return found
}

// fieldChange is one field's values before and after a change, as JSON.
type fieldChange struct {
	Field    string
	From, To jsontext.Value
}

// differencesOf lists the recorded fields in which after differs from before, in their order. For
// a creation (before is nil) these are the fields that hold a value.
func differencesOf(before, after *User) []fieldChange {
	creation := before == nil
	if creation {
		before = &User{}
	}
	var changes []fieldChange
	for i := range fields {
		f := &fields[i]
		if !f.recorded {
			continue
		}
		from, to := jsontext.Value(f.encode(nil, before)), jsontext.Value(f.encode(nil, after))
		if bytes.Equal(from, to) && (f.stored == nil || bytes.Equal(f.stored(nil, before), f.stored(nil, after))) {
			continue
		}
		if creation {
			from = jsontext.Value("null")
		}
		changes = append(changes, fieldChange{f.name, from, to})
	}
	return changes
}

// MarshalJSON implements [encoding/json.Marshaler].
func (u *User) MarshalJSON() ([]byte, error) { return u.AppendJSON(nil), nil }

// AppendJSON appends the user as clients read it. Given room in dst, it allocates nothing: every
// read passes through it.
func (u *User) AppendJSON(dst []byte) []byte {
	return u.appendFields(dst, func(f *field) bool { return !f.hidden })
}

func (u *User) appendFields(dst []byte, shown func(*field) bool) []byte {
	separator := byte('{')
	for i := range fields {
		f := &fields[i]
		if !shown(f) {
			continue
		}
		dst = append(append(dst, separator, '"'), f.name...)
		dst = f.encode(append(dst, '"', ':'), u)
		separator = ','
	}
	return append(dst, '}')
}

func appendQuotedUUID(dst []byte, id uuid.UUID) []byte {
	return append(appendUUID(append(dst, '"'), id), '"')
}

func appendGroupRef(dst []byte, g *GroupRef) []byte {
	dst = appendQuotedUUID(append(dst, `{"id":`...), g.ID)
	return append(appendString(append(dst, `,"name":`...), g.Name), '}')
}
