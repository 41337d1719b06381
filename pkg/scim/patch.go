package scim

import (
	"strings"

	"aiadmin/pkg/user"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a PATCH: its operations, the attributes that all of them write, and the bytes of multi-valued
// attributes that they go through, which takes half a second where each character has to be folded.
const (
	maxOperations = 1000
	maxSteps      = 10 * maxOperations
	maxPatchWork  = 8 << 20
)

// Path is the target of a PATCH operation (RFC 7644, section 3.5.2).
type Path struct {
	AttributePath
	Filter Filter // nil without brackets; of comparisons with the attribute's values

	comparisons int // of the filter
}

// parsePath reads attr, attr.sub, attr[filter], attr[filter].sub, each with a URN before it, or a
// URN alone. An unknown attribute is [InvalidPath], a bad filter [InvalidFilter].
func (t *ResourceType) parsePath(text string) (Path, error) {
	p, err := newParser(t, text)
	if err != nil {
		return Path{}, err
	}
	name := p.word("[")
	attribute, ok := t.ParseAttribute(name)
	path := Path{AttributePath: attribute}
	if !ok {
		return path, Errorf(InvalidPath, "unknown attribute %s: /Schemas lists those of a %s", quote(name), t.Name)
	}
	if p.rest == "" {
		return path, nil
	}
	if attribute.Attribute == nil || !attribute.Attribute.MultiValued || attribute.Sub != nil || p.rest[0] != '[' {
		return path, Errorf(InvalidPath, "the path %s must be attr, attr.sub, attr[filter] or attr[filter].sub of a multi-valued attr", quote(text))
	}
	path.Filter, err = p.brackets(attribute)
	if path.comparisons = p.term; err != nil || p.rest == "" {
		return path, err
	}
	path.Sub = attribute.Attribute.sub(strings.TrimPrefix(p.rest, "."))
	if path.Sub == nil || p.rest[0] != '.' {
		return path, Errorf(InvalidPath, "unknown sub-attribute %s of %s", quote(p.rest), attribute)
	}
	return path, nil
}

// The operations of a PATCH.
const (
	opAdd     = "add"
	opReplace = "replace"
	opRemove  = "remove"
)

// operation is one step, with a path and a value of its type.
type operation struct {
	op   string
	path Path
	// value is what Path's leaf or, without a Sub, its attribute reads; nil unassigns. Of a
	// multi-valued attribute as a whole it is a List.
	value any
}

// Patch is a PATCH request whose operations fit the schema.
type Patch struct {
	types      *ResourceType
	operations []operation
	id         string // which the request says the resource has, or ""
}

// ParsePatch reads the body of a PATCH (RFC 7644, section 3.5.2). An operation without a path is
// read as one for each member of its value, whose name may be any path; there, and there alone,
// unknown and readOnly attributes are ignored. Attributes that are taken and not stored
// (password, photos) are ignored everywhere.
func (t *ResourceType) ParsePatch(body []byte) (*Patch, error) {
	value, err := t.parse(body)
	if err != nil {
		return nil, err
	}
	schemas, operations := member(value, "schemas"), member(value, "Operations")
	if !lists(schemas, PatchOpURN) {
		return nil, Errorf(InvalidSyntax, "schemas must be [%q]", PatchOpURN)
	}
	if operations.Kind() != '[' {
		return nil, Errorf(InvalidSyntax, "Operations must be a list of at least one operation")
	}
	patch, n := &Patch{types: t}, 0
	for each := range elements(operations) {
		if n++; n > maxOperations {
			return nil, StatusError(413, "a PATCH may have at most %d operations", maxOperations)
		}
		if err := patch.read(each); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, Errorf(InvalidSyntax, "Operations must be a list of at least one operation")
	}
	return patch, nil
}

// read adds one operation as the client wrote it.
func (p *Patch) read(v jsontext.Value) error {
	name, path, value := member(v, "op"), member(v, "path"), member(v, "value")
	op := ""
	if name.Kind() == '"' {
		op = strings.ToLower(user.Unquote(name))
	}
	if op != opAdd && op != opReplace && op != opRemove {
		return Errorf(InvalidSyntax, "each operation must have an op: add, replace or remove")
	}
	if value == nil && op != opRemove {
		return Errorf(InvalidValue, "the operation %s must have a value", op)
	}
	switch {
	case path.Kind() == '"' && user.Unquote(path) != "":
		return p.atPath(op, strings.TrimSpace(user.Unquote(path)), value)
	case path != nil && path.Kind() != '"' && path.Kind() != 'n':
		return Errorf(InvalidPath, "path must be a string")
	case op == opRemove:
		return Errorf(NoTarget, "the operation remove must have a path")
	case value.Kind() != '{':
		return Errorf(InvalidValue, "without a path, value must be an object of attributes")
	}
	return p.members(op, nil, value)
}

func (p *Patch) atPath(op, text string, value jsontext.Value) error {
	if p.types.isUnpublished(text) || strings.EqualFold(text, "schemas") {
		return nil
	}
	path, err := p.types.parsePath(text)
	if err != nil {
		return err
	}
	if path.Attribute == nil {
		return p.section(op, path.Extension, value)
	}
	if m := path.mutability(); m != readWrite {
		return Errorf(Mutability, "%s is %s", path, m)
	}
	return p.add(op, path, value)
}

// members adds an operation for each member of a value without a path, or of one at an extension's
// URN.
func (p *Patch) members(op string, extension *Schema, object jsontext.Value) error {
	for name, value := range user.Members(object) {
		if extension != nil {
			name = extension.ID + ":" + name
		}
		path, err := p.types.parsePath(name)
		switch {
		case err != nil:
			continue
		case path.Attribute == nil:
			err = p.section(op, path.Extension, value)
		case path.Attribute.Name == "id" && value.Kind() == '"':
			p.id = user.Unquote(value)
		case path.mutability() != readWrite:
		default:
			err = p.add(op, path, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// section adds the operations on an extension as a whole or, with nil, on the core schema.
func (p *Patch) section(op string, extension *Schema, value jsontext.Value) error {
	if extension == nil {
		extension = p.types.Schema
	}
	if value.Kind() == '{' && op != opRemove {
		return p.members(op, extension, value)
	}
	if op != opRemove && value.Kind() != 'n' {
		return Errorf(InvalidValue, "the value of %s must be an object of attributes", extension.ID)
	}
	for _, a := range extension.Attributes {
		path := Path{AttributePath: AttributePath{Attribute: a}}
		if extension != p.types.Schema {
			path.Extension = extension
		}
		if a.Mutability == readOnly {
			continue
		}
		if err := p.add(opRemove, path, nil); err != nil {
			return err
		}
	}
	return nil
}

// add reads the value and adds the operation, or one for each member of a complex value: members
// that are not given stay (RFC 7644, sections 3.5.2.1 and 3.5.2.3).
func (p *Patch) add(op string, path Path, value jsontext.Value) error {
	a := path.Attribute
	if op == opRemove && path.leaf().Required {
		return Errorf(Mutability, "%s is required and cannot be removed", path)
	}
	if op != opRemove && a.Type == Complex && !a.MultiValued && path.Sub == nil {
		if value.Kind() == '[' {
			value = onlyElement(value)
		}
		if value.Kind() == '{' {
			return p.subs(op, path, value)
		}
	}
	var (
		read any
		err  error
	)
	switch {
	case value == nil, op == opRemove && !(a.MultiValued && path.Sub == nil):
	case path.Sub != nil:
		if read, err = path.Sub.readOne(value); err != nil {
			err = inAttribute(a, err)
		}
		if role, ok := read.(string); ok && a.Name == "roles" && path.Sub.Name == "value" {
			read = unpackRole(Object{"value": role})["value"]
		}
	case a.MultiValued && path.Filter == nil:
		var list List
		if list, err = a.readList(value); err == nil && len(list) == 0 && op == opRemove && value.Kind() == '[' {
			return nil // it names no value to remove: removing all would be far more than was asked
		}
		read = list
	default:
		read, err = a.readOne(value)
	}
	if err == nil && read == nil && op != opRemove && path.leaf().Required {
		err = Errorf(InvalidValue, "%s is required and cannot be empty", path)
	}
	if len(p.operations) == maxSteps {
		return StatusError(413, "a PATCH may write at most %d attributes: send the rest in further requests", maxSteps)
	}
	p.operations = append(p.operations, operation{op, path, read})
	return err
}

func (p *Patch) subs(op string, path Path, object jsontext.Value) error {
	for name, value := range user.Members(object) {
		path.Sub = path.Attribute.sub(name)
		if path.Sub == nil || path.Sub.Mutability == readOnly {
			continue
		}
		if err := p.add(op, path, value); err != nil {
			return err
		}
	}
	return nil
}
