package user

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	validation "github.com/go-ozzo/ozzo-validation/v4"
	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

// Secrets returns the secrets that the patch sets, by provider.
func (p Patch) Secrets() map[string]secret.Text { return p.Credentials.Set }

// parsePatch decodes a body, noting every member that is unknown, not a client's to write, or of the
// wrong type.
func parsePatch(body []byte) (Patch, Problems, error) {
	value, err := ParseBody(body)
	if err != nil {
		return Patch{}, nil, err
	}
	patch, problems := decodePatch(value, false)
	return patch, problems, nil
}

// decodePatch decodes an object that [ParseBody] let through. An import ignores the members of an export that the
// service makes.
func decodePatch(object jsontext.Value, imported bool) (patch Patch, problems Problems) {
	for name, value := range Members(object) {
		switch f := fieldByName[name]; {
		case f == nil:
			problems.Add(name, codeUnknown, "is not a field of a user")
			checkNUL(&problems, name, name)
		case imported && (f.decode == nil || name == "credentials" && areShown(value)):
		case f.decode == nil:
			problems.Add(name, codeReadOnly, "is made by the service and cannot be written")
		default:
			f.decode(&patch, &problems, name, value)
		}
	}
	return patch, problems
}

// areShown reports whether a value is a list of credentials as a read shows them. A list with anything else in it,
// such as secrets, is refused like any other mistake.
func areShown(v jsontext.Value) bool {
	var shown []Credential
	return v.Kind() == '[' && json.Unmarshal(v, &shown, json.RejectUnknownMembers(true)) == nil
}

// check notes every rule that a member of the patch breaks by itself; what depends on
// the user that it is applied to is Apply's to say.
func (p *Patch) check(problems *Problems) {
	for i := range fields {
		if check := fields[i].check; check != nil {
			check(p, problems)
		}
	}
}

func (p *Patch) applyTo(u *User, stamp Stamp) error {
	for i := range fields {
		if apply := fields[i].apply; apply != nil {
			apply(u, p, stamp)
		}
	}
	if p.Email.Set {
		u.EmailKey = emailKey(u.Email)
	}
	if p.Email.Set || p.UserName.Set || p.Tag.Set {
		u.UserNameKey = FoldAddress(u.EffectiveUserName())
	}
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

func set[T any](value *T, member Optional[T]) {
	if member.Set {
		*value = member.Value
	}
}

func decodeID(p *Patch, problems *Problems, path string, v jsontext.Value) {
	s := decodeString(problems, path, v)
	if !s.Set {
		return
	}
	id, ok := ParseID(s.Value)
	if !ok {
		problems.Add(path, "validation_is_uuid", "must be a valid UUID")
		return
	}
	p.ID = Some(id)
}

// ParseID reads a UUID in its canonical text form (RFC 9562, section 4) in either case;
// the nil UUID names nobody.
func ParseID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36 && id != uuid.Nil
}

func decodeTag(problems *Problems, path string, v jsontext.Value) Optional[string] {
	s := decodeString(problems, path, v)
	s.Value = FoldTag(s.Value)
	return s
}

func decodeName(problems *Problems, path string, v jsontext.Value) Optional[string] {
	s := decodeString(problems, path, v)
	s.Value = strings.TrimSpace(s.Value)
	return s
}

func decodeText[T ~string](problems *Problems, path string, v jsontext.Value) Optional[T] {
	s := decodeString(problems, path, v)
	return Optional[T]{s.Set, T(s.Value)}
}

// decodeString reads a string; anything else is a problem, and the member is not set.
func decodeString(problems *Problems, path string, v jsontext.Value) Optional[string] {
	switch v.Kind() {
	case '"':
		s := Unquote(v)
		before := len(*problems)
		checkNUL(problems, path, s)
		if len(*problems) == before {
			return Some(s)
		}
	case 'n':
		problems.Add(path, codeNull, "must not be null")
	default:
		problems.Add(path, codeType, "must be a string")
	}
	return Optional[string]{}
}

func decodeNullableString(problems *Problems, path string, v jsontext.Value) Optional[*string] {
	if v.Kind() == 'n' {
		return Some[*string](nil)
	}
	s := decodeString(problems, path, v)
	if !s.Set {
		return Optional[*string]{} // no value, or the rules would complain of an empty one as well
	}
	return Some(&s.Value)
}

func decodeNullableTime(problems *Problems, path string, v jsontext.Value) Optional[*time.Time] {
	if v.Kind() == 'n' {
		return Some[*time.Time](nil)
	}
	s := decodeString(problems, path, v)
	if !s.Set {
		return Optional[*time.Time]{}
	}
	at, err := ParseTime(s.Value)
	if err != nil {
		problems.Add(path, codeFormat, "must be an RFC 3339 time such as 2026-01-31T00:00:00Z, or null")
		return Optional[*time.Time]{}
	}
	at = Timestamp(at)
	return Some(&at)
}

func decodeModels(problems *Problems, path string, v jsontext.Value) Optional[[]string] {
	switch v.Kind() {
	case 'n':
		return Some[[]string](nil)
	case '[':
		models := []string{}
		for i, element := range Elements(v) {
			if len(models) > maxModels { // the rule tells how many are too many
				break
			}
			s := decodeString(problems, indexed(path, i), element)
			if !s.Set {
				s.Value = "?" // stands in, so that the length rules speak of the other elements only
			}
			models = append(models, s.Value)
		}
		return Some(models)
	default:
		problems.Add(path, codeType, "must be an array of strings, or null to allow all models")
		return Optional[[]string]{}
	}
}

func decodeLimits(p *Patch, problems *Problems, path string, v jsontext.Value) {
	if v.Kind() == 'n' {
		p.Limits = Some[*LimitsPatch](nil)
		return
	}
	if v.Kind() != '{' {
		problems.Add(path, codeType, "must be an object, or null to lift every limit")
		return
	}
	var limits LimitsPatch
	for name, value := range Members(v) {
		path := path + "." + name
		switch name {
		case "requestsPerMinute":
			limits.RequestsPerMinute = decodeLimit[int64](problems, path, value, 0)
		case "tokensPerMinute":
			limits.TokensPerMinute = decodeLimit[int64](problems, path, value, 0)
		case "monthlyBudgetUSD":
			limits.MonthlyBudgetUSD = decodeLimit[Cents](problems, path, value, 2)
		default:
			problems.Add(path, codeUnknown, "is not a limit: use requestsPerMinute, tokensPerMinute or monthlyBudgetUSD")
		}
	}
	p.Limits = Some(&limits)
}

func decodeLimit[T ~int64](problems *Problems, path string, v jsontext.Value, places int32) Optional[*T] {
	if v.Kind() == 'n' {
		return Some[*T](nil)
	}
	if v.Kind() != '0' {
		problems.Add(path, codeType, "must be a number, or null for no limit")
		return Optional[*T]{}
	}
	n, code := Scaled(v, places)
	if code != "" {
		problems.Add(path, code, "must be %s", wantedNumber(places))
		return Optional[*T]{}
	}
	value := T(n)
	return Some(&value)
}

func wantedNumber(places int32) string {
	if places == 0 {
		return "an integer from 0 to 9007199254740991"
	}
	return "a decimal from 0 to 90071992547409.91 with at most 2 places"
}

// limits merges the patch's limits into the current ones, member by member.
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

// decodeCredentials names no provider that breaks the rules: whoever swaps a name and its value
// sends a secret in the name's place, and problems are shown.
func decodeCredentials(p *Patch, problems *Problems, path string, v jsontext.Value) {
	if v.Kind() == 'n' {
		p.Credentials = CredentialsPatch{Clear: true}
		return
	}
	if v.Kind() != '{' {
		problems.Add(path, codeType, "must be an object of secrets by provider, or null to remove them all")
		return
	}
	p.Credentials.Set = map[string]secret.Text{}
	for provider, value := range Members(v) {
		path := path + "." + provider
		if !IsProvider(provider) {
			path = "credentials.*"
			problems.addOnce(path, validation.ErrMatchInvalid.Code(), "a provider must be 1 to 63 of a-z 0-9 - _")
		}
		if value.Kind() == 'n' {
			p.Credentials.Remove = append(p.Credentials.Remove, provider)
		} else if plain := decodeString(problems, path, value); plain.Set {
			p.Credentials.Set[provider] = secret.New(strings.TrimSpace(plain.Value))
		}
	}
}

func decodeMetadata(p *Patch, problems *Problems, path string, v jsontext.Value) {
	switch size := compactSize(v); {
	case v.Kind() != '{' && v.Kind() != 'n':
		problems.Add(path, codeType, "must be a JSON object, or null to empty it")
	case size > maxMetadataPatch: // refused before its members are looked at
		problems.Add(path, codeSize, "a change of metadata must be at most 32 KiB, whitespace and needless escapes not counted; this one has %d bytes", size)
	default:
		checkMetadata(problems, nil, v, 0)
		p.Metadata = Some(v)
	}
}

// metadata merges the patch's metadata into the current one (RFC 7396).
func (p *Patch) metadata(current jsontext.Value) jsontext.Value {
	if !p.Metadata.Set {
		return current
	}
	if p.Metadata.Value.Kind() == 'n' {
		return emptyObject
	}
	return mergePatch(current, p.Metadata.Value)
}
