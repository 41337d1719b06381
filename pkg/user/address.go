package user

import "github.com/google/uuid"

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
	for name, value := range members(value) {
		if name == "id" || name == "tag" {
			patchMembers[name](&patch, &problems, name, value)
		} else {
			problems.Add(name, codeUnknown, "is not how a user to delete is named: give id or tag")
			checkNUL(&problems, name, name)
		}
	}
	return Delete{problems}, patch.Ref(), nil
}

// Ref is the user that the body names, zero when it names none.
func (p *Patch) Ref() Ref { return Ref{ID: p.ID.Value, Tag: p.Tag.Value} }

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
