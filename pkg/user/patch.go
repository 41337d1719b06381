package user

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

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
	Name        Optional[string]
	Email       Optional[*string]
	Role        Optional[Role]
	Status      Optional[Status]
	Models      Optional[[]string]
	Limits      Optional[*LimitsPatch] // nil lifts every limit
	Credentials CredentialsPatch
	// Metadata is a merge patch (RFC 7396); the JSON null empties it.
	Metadata   Optional[jsontext.Value]
	ExternalID Optional[*string]
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

// parsePatch decodes an object that [ParseBody] let through, noting every member that is
// unknown, not a client's to write, or of the wrong type.
func parsePatch(body jsontext.Value) (Patch, Problems) {
	var (
		patch    Patch
		problems Problems
	)
	for name, value := range members(body) {
		if decode, ok := patchMembers[name]; ok {
			decode(&patch, &problems, name, value)
		} else if readOnly[name] {
			problems.Add(name, codeReadOnly, "is made by the service and cannot be written")
		} else {
			problems.Add(name, codeUnknown, "is not a field of a user")
			checkNUL(&problems, name, name)
		}
	}
	return patch, problems
}

var readOnly = map[string]bool{"version": true, "createdAt": true, "updatedAt": true}

type memberDecoder func(*Patch, *Problems, string, jsontext.Value)

var patchMembers = map[string]memberDecoder{
	"id": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		if s, ok := decodeString(problems, path, v); ok {
			p.ID = decodeID(problems, path, s)
		}
	},
	"tag": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		if s, ok := decodeString(problems, path, v); ok {
			p.Tag = Some(FoldTag(s))
		}
	},
	"name": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		if s, ok := decodeString(problems, path, v); ok {
			p.Name = Some(s)
		}
	},
	"email": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		p.Email = decodeNullableString(problems, path, v)
	},
	"role": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		if s, ok := decodeString(problems, path, v); ok {
			p.Role = Some(Role(s))
		}
	},
	"status": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		if s, ok := decodeString(problems, path, v); ok {
			p.Status = Some(Status(s))
		}
	},
	"externalId": func(p *Patch, problems *Problems, path string, v jsontext.Value) {
		p.ExternalID = decodeNullableString(problems, path, v)
	},
	"models":      decodeModels,
	"limits":      decodeLimits,
	"credentials": decodeCredentials,
	"metadata":    decodeMetadata,
}

func decodeID(problems *Problems, path, s string) Optional[uuid.UUID] {
	id, ok := ParseID(s)
	if !ok {
		problems.Add(path, "validation_is_uuid", "must be a valid UUID")
		return Optional[uuid.UUID]{}
	}
	return Some(id)
}

// ParseID reads a UUID in its canonical text form (RFC 9562, section 4) in either case;
// the nil UUID names nobody.
func ParseID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36 && id != uuid.Nil
}

// FoldTag lower-cases ASCII letters alone: a Unicode folding would turn a foreign letter
// such as the Kelvin sign into an allowed one.
func FoldTag(s string) string {
	folded := []byte(s)
	for i, b := range folded {
		if 'A' <= b && b <= 'Z' {
			folded[i] = b + 'a' - 'A'
		}
	}
	return string(folded)
}

func decodeString(problems *Problems, path string, v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '"':
		s := text(v)
		before := len(*problems)
		checkNUL(problems, path, s)
		return s, len(*problems) == before
	case 'n':
		problems.Add(path, codeNull, "must not be null")
	default:
		problems.Add(path, codeType, "must be a string")
	}
	return "", false
}

func decodeNullableString(problems *Problems, path string, v jsontext.Value) Optional[*string] {
	if v.Kind() == 'n' {
		return Some[*string](nil)
	}
	s, ok := decodeString(problems, path, v)
	if !ok {
		return Optional[*string]{} // no value, or the rules would complain of an empty one as well
	}
	return Some(&s)
}

func decodeModels(p *Patch, problems *Problems, path string, v jsontext.Value) {
	switch v.Kind() {
	case 'n':
		p.Models = Some[[]string](nil)
	case '[':
		models := []string{}
		for i, element := range elements(v) {
			s, ok := decodeString(problems, indexed(path, i), element)
			if !ok {
				s = "?" // stands in, so that the length rules speak of the other elements only
			}
			models = append(models, s)
		}
		p.Models = Some(models)
	default:
		problems.Add(path, codeType, "must be an array of strings, or null to allow all models")
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
	for name, value := range members(v) {
		field := path + "." + name
		switch name {
		case "requestsPerMinute":
			limits.RequestsPerMinute = decodeLimit[int64](problems, field, value, 0)
		case "tokensPerMinute":
			limits.TokensPerMinute = decodeLimit[int64](problems, field, value, 0)
		case "monthlyBudgetUSD":
			limits.MonthlyBudgetUSD = decodeLimit[Cents](problems, field, value, 2)
		default:
			problems.Add(field, codeUnknown, "is not a limit: use requestsPerMinute, tokensPerMinute or monthlyBudgetUSD")
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
	n, code := scaled(v, places)
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
	for provider, value := range members(v) {
		field := path + "." + provider
		checkNUL(problems, field, provider)
		if value.Kind() == 'n' {
			p.Credentials.Remove = append(p.Credentials.Remove, provider)
		} else if plain, ok := decodeString(problems, field, value); ok {
			p.Credentials.Set[provider] = secret.New(plain)
		}
	}
}

func decodeMetadata(p *Patch, problems *Problems, path string, v jsontext.Value) {
	if v.Kind() != '{' && v.Kind() != 'n' {
		problems.Add(path, codeType, "must be a JSON object, or null to empty it")
		return
	}
	checkMetadata(problems, path, v, 0)
	p.Metadata = Some(v)
}
