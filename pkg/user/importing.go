package user

import (
	"net/url"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	validation "github.com/go-ozzo/ozzo-validation/v4"
	"github.com/google/uuid"
)

// ImportMode says what a line of an import does.
type ImportMode string

// The modes of an import.
const (
	ImportCreate ImportMode = "create"
	ImportUpdate ImportMode = "update"
	ImportUpsert ImportMode = "upsert"
	ImportDelete ImportMode = "delete"
)

// Import is how an import is to be done.
type Import struct {
	Mode   ImportMode
	Match  string // the field that names the user
	DryRun bool
	// FailedOnly leaves results of lines that succeeded out of the answer.
	FailedOnly bool
}

var importParameters = parameters[Import]{
	"mode": oneOf(func(i *Import, v string) { i.Mode = ImportMode(v) },
		string(ImportCreate), string(ImportUpdate), string(ImportUpsert), string(ImportDelete)),
	"match":   oneOf(func(i *Import, v string) { i.Match = v }, "tag", "id", "externalId", "email", "userName"),
	"dryRun":  oneOf(func(i *Import, v string) { i.DryRun = v == "true" }, "true", "false"),
	"results": oneOf(func(i *Import, v string) { i.FailedOnly = v == "failed" }, "all", "failed"),
}

// ParseImport reads the parameters of an import; everything wrong with them is one [Invalid] error.
func ParseImport(values url.Values) (Import, error) {
	return importParameters.parse(Import{Mode: ImportCreate, Match: "tag"}, values, "an import")
}

// Upsert updates the user that its command names or, if there is none, creates it.
type Upsert struct {
	Create Create
	Update Update
}

// Validate implements [Change]. What a creation requires is checked only if it is one.
func (u Upsert) Validate() error { return u.Update.Validate() }

// IsEnd reports whether a line is the last one of an export, which tells that it is whole.
func IsEnd(line jsontext.Value) bool {
	n, end := 0, false
	for name := range Members(line) {
		n, end = n+1, name == "end"
	}
	return n == 1 && end
}

// Command returns the change that a line asks for, and whom it is about. The line is an object that
// [ParseBody] let through. What the service makes is ignored, so that an export can be imported: keys,
// groups, version, times, and credentials as a read shows them. An id is kept by a creation, and
// otherwise ignored unless it is what users are matched by.
func (i *Import) Command(line jsontext.Value) (Change, Ref, error) {
	patch, problems := decodePatch(line, true)
	if i.Mode == ImportCreate {
		return Create{patch, problems}, Ref{}, nil
	}
	ref, ok := patch.ref(i.Match)
	if !ok && !problems.has(i.Match) {
		problems.Add(i.Match, validation.ErrRequired.Code(), "is required: users are matched by it")
	}
	if i.Mode == ImportDelete {
		return Delete{slices.DeleteFunc(problems, func(p Problem) bool { return p.Field != i.Match && p.Code != codeUnknown })}, ref, nil
	}
	update := patch
	if i.Match != "id" {
		update.ID = Optional[uuid.UUID]{}
	}
	if i.Mode == ImportUpdate {
		return Update{update, problems}, ref, nil
	}
	return Upsert{Create{patch, nil}, Update{update, problems}}, ref, nil
}

// ref returns the user whom a patch names by one field.
func (p *Patch) ref(field string) (Ref, bool) {
	value := func(member Optional[*string]) string {
		if member.Value == nil {
			return ""
		}
		return *member.Value
	}
	var ref Ref
	switch field {
	case "id":
		ref.ID = p.ID.Value
	case "tag":
		ref.Tag = p.Tag.Value
	case "email":
		ref.Email = FoldAddress(value(p.Email))
	case "userName":
		ref.UserName = FoldAddress(value(p.UserName))
	case "externalId":
		ref.ExternalID = value(p.ExternalID)
	}
	return ref, ref != Ref{}
}
