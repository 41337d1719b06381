package scim

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a PATCH: its operations, and the attributes that all of them write.
const (
	maxOperations = 1000
	maxSteps      = 10 * maxOperations
)

// Path is the target of a PATCH operation (RFC 7644, section 3.5.2).
type Path struct {
	AttributePath
	Filter Filter // nil without brackets; of comparisons with the attribute's values
}

// ParsePath reads attr, attr.sub, attr[filter], attr[filter].sub, each with a URN before it, or a
// URN alone. An unknown attribute is [InvalidPath], a bad filter [InvalidFilter].
func (t *ResourceType) ParsePath(text string) (Path, error) {
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
	if path.Filter, err = p.brackets(attribute); err != nil || p.rest == "" {
		return path, err
	}
	path.Sub = attribute.Attribute.Sub(strings.TrimPrefix(p.rest, "."))
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

// member returns an object's member, ignoring its name's case, or nil.
func member(object jsontext.Value, wanted string) jsontext.Value {
	if object.Kind() == '{' {
		for name, value := range members(object) {
			if strings.EqualFold(name, wanted) {
				return value
			}
		}
	}
	return nil
}

func lists(array jsontext.Value, urn string) bool {
	if array.Kind() == '[' {
		for element := range elements(array) {
			if element.Kind() == '"' && strings.EqualFold(unquote(element), urn) {
				return true
			}
		}
	}
	return false
}

// read adds one operation as the client wrote it.
func (p *Patch) read(v jsontext.Value) error {
	name, path, value := member(v, "op"), member(v, "path"), member(v, "value")
	op := ""
	if name.Kind() == '"' {
		op = strings.ToLower(unquote(name))
	}
	if op != opAdd && op != opReplace && op != opRemove {
		return Errorf(InvalidSyntax, "each operation must have an op: add, replace or remove")
	}
	if value == nil && op != opRemove {
		return Errorf(InvalidSyntax, "the operation %s must have a value", op)
	}
	switch {
	case path.Kind() == '"' && unquote(path) != "":
		return p.atPath(op, strings.TrimSpace(unquote(path)), value)
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
	path, err := p.types.ParsePath(text)
	if err != nil {
		return err
	}
	if path.Attribute == nil {
		return p.section(op, path.Extension, value)
	}
	if leaf := path.Leaf(); path.Attribute.Mutability == readOnly || leaf.Mutability == readOnly || leaf.Mutability == immutable {
		return Errorf(Mutability, "%s is %s", path, leaf.Mutability)
	}
	return p.add(op, path, value)
}

// members adds an operation for each member of a value that stands without a path, or at an
// extension's URN.
func (p *Patch) members(op string, extension *Schema, object jsontext.Value) error {
	for name, value := range members(object) {
		if extension != nil {
			name = extension.ID + ":" + name
		}
		path, err := p.types.ParsePath(name)
		switch {
		case err != nil:
			continue
		case path.Attribute == nil:
			err = p.section(op, path.Extension, value)
		case path.Attribute.Name == "id" && value.Kind() == '"':
			p.id = unquote(value)
		case path.Attribute.Mutability == readOnly || path.Leaf().Mutability != readWrite:
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

// add reads the value and adds the operation, or one for each member of a complex value: those
// that are not given stay (RFC 7644, sections 3.5.2.1 and 3.5.2.3).
func (p *Patch) add(op string, path Path, value jsontext.Value) error {
	a := path.Attribute
	if op == opRemove && path.Leaf().Required {
		return Errorf(Mutability, "%s is required and cannot be removed", path)
	}
	if op != opRemove && a.Type == Complex && !a.MultiValued && path.Sub == nil {
		if only := onlyElement(value); value.Kind() == '[' {
			value = only
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
	case a.MultiValued && path.Filter == nil:
		read, err = a.readList(value)
	default:
		read, err = a.readOne(value)
	}
	if err == nil && read == nil && op != opRemove && path.Leaf().Required {
		err = Errorf(InvalidValue, "%s is required and cannot be empty", path)
	}
	if len(p.operations) == maxSteps {
		return StatusError(413, "a PATCH may write at most %d attributes: send the rest in further requests", maxSteps)
	}
	p.operations = append(p.operations, operation{op, path, read})
	return err
}

func (p *Patch) subs(op string, path Path, object jsontext.Value) error {
	for name, value := range members(object) {
		path.Sub = path.Attribute.Sub(name)
		if path.Sub == nil || path.Sub.Mutability == readOnly {
			continue
		}
		if err := p.add(op, path, value); err != nil {
			return err
		}
	}
	return nil
}

// Written has the attributes that a request writes, by [AttributePath.String] without a Sub.
type Written map[string]bool

// Apply returns what the resource becomes, and which attributes the operations are about. The
// resource itself stays as it is; on an error nothing is applied.
func (p *Patch) Apply(resource Object) (Object, Written, error) {
	if p.id != "" && p.id != resource.text("id") {
		return nil, nil, Errorf(Mutability, "id is readOnly: the resource's is %s", quote(resource.text("id")))
	}
	after, _ := clone(resource).(Object)
	written := Written{}
	last := map[string]operation{}
	for _, op := range p.operations {
		if err := op.apply(after); err != nil {
			return nil, nil, err
		}
		last[AttributePath{op.path.Extension, op.path.Attribute, nil}.String()] = op
	}
	for name, op := range last {
		written[name] = true
		if list, ok := after.at(op.path.AttributePath).(List); ok {
			op.put(after, op.path.Attribute.normalize(list, true))
		}
	}
	return after, written, nil
}

func (op operation) put(resource Object, list List) {
	if len(list) == 0 {
		resource.put(op.path.AttributePath, nil)
		return
	}
	resource.put(op.path.AttributePath, list)
}

func (op operation) apply(resource Object) error {
	a, path := op.path.Attribute, op.path.AttributePath
	switch {
	case a.MultiValued:
		list, err := op.list(listOf(resource.at(path)))
		if err != nil {
			return err
		}
		if list = a.normalize(list, false); len(list) > a.maxValues {
			return a.tooMany()
		}
		op.put(resource, list)
	case path.Sub == nil:
		resource.put(path, op.assigned())
	default:
		object, _ := resource.at(path).(Object)
		if object == nil {
			object = Object{}
		}
		if setSub(object, path.Sub, op.assigned()); len(object) == 0 {
			resource.put(path, nil)
		} else {
			resource.put(path, object)
		}
	}
	return nil
}

// assigned returns what the target is set to: a removal unassigns it.
func (op operation) assigned() any {
	if op.op == opRemove {
		return nil
	}
	return clone(op.value)
}

func setSub(object Object, sub *Attribute, value any) {
	if value == nil {
		delete(object, sub.Name)
	} else {
		object[sub.Name] = value
	}
}

// list applies the operation to a multi-valued attribute.
func (op operation) list(list List) (List, error) {
	whole := op.path.Filter == nil && op.path.Sub == nil
	switch {
	case op.op == opRemove:
		return op.removed(list), nil
	case whole && op.op == opReplace:
		return listOf(clone(op.value)), nil
	case whole:
		values := listOf(clone(op.value))
		if slices.ContainsFunc(values, isPrimary) {
			clearPrimary(list)
		}
		return append(list, values...), nil
	case op.value == nil && op.path.Sub == nil:
		return op.removed(list), nil
	}
	return op.selected(list)
}

// removed removes the selected values: all, those that match the filter or, as Entra asks with a
// value, those that are equal to a given one. With a Sub it removes that from each.
func (op operation) removed(list List) List {
	meant := func(any) bool { return true }
	if given := listOf(op.value); len(given) > 0 {
		meant = op.path.Attribute.among(given)
	}
	return slices.DeleteFunc(list, func(element any) bool {
		if !op.selects(element) || !meant(element) {
			return false
		}
		if object, ok := element.(Object); ok && op.path.Sub != nil {
			delete(object, op.path.Sub.Name)
			return false
		}
		return true
	})
}

// among says whether a value is one of those given, whose type counts only where it is given.
func (a *Attribute) among(given List) func(any) bool {
	keys := make(map[string]bool, len(given))
	for _, each := range given {
		key, _ := a.identity(each)
		keys[key] = true
	}
	return func(element any) bool {
		key, _ := a.identity(element)
		object, ok := element.(Object)
		if keys[key] || !ok || a.Sub("value") == nil {
			return keys[key]
		}
		key, _ = a.identity(Object{"value": object["value"]})
		return keys[key]
	}
}

func (op operation) selects(element any) bool {
	return op.path.Filter == nil || op.path.Filter.match(element)
}

// selected adds to or replaces the values that match, or one Sub of them.
func (op operation) selected(list List) (List, error) {
	primary := isPrimary(op.value) || op.path.Sub != nil && op.path.Sub.Name == "primary" && op.value == true
	matched := false
	for i, element := range list {
		object, ok := element.(Object)
		switch {
		case !op.selects(element):
			if primary {
				clearPrimary(list[i : i+1])
			}
			continue
		case ok && op.path.Sub != nil:
			setSub(object, op.path.Sub, op.value)
		case ok && op.op == opAdd:
			value, _ := clone(op.value).(Object)
			maps.Copy(object, value)
		default:
			list[i] = clone(op.value)
		}
		matched = true
	}
	if matched || op.value == nil {
		return list, nil
	}
	return op.created(list)
}

// created appends the value that the filter asks for and the list lacks. RFC 7644, section
// 3.5.2.3, has noTarget; Entra counts on the creation (see the template's conditions).
func (op operation) created(list List) (List, error) {
	element := Object{}
	if !op.template(op.path.Filter, element) {
		return nil, Errorf(NoTarget, "no value of %s matches the path's filter", op.path.Attribute.Name)
	}
	if op.path.Sub != nil {
		element[op.path.Sub.Name] = op.value
	} else if value, ok := clone(op.value).(Object); ok {
		maps.Copy(element, value)
	}
	if primary := op.path.Attribute.Sub("primary"); primary != nil && element["primary"] == nil && len(list) == 0 && op.path.Filter != nil {
		element["primary"] = true
	}
	if isPrimary(element) {
		clearPrimary(list)
	}
	return append(list, element), nil
}

// template fills in what a filter asks a new value to have. An add needs a filter of nothing but
// eq, joined by and. A replace needs one eq on type with a canonical value, or primary eq true,
// and a sub-attribute after the filter.
func (op operation) template(f Filter, element Object) bool {
	switch f := f.(type) {
	case nil:
		return op.path.Sub != nil
	case And:
		for _, each := range f {
			if op.op != opAdd || !op.template(each, element) {
				return false
			}
		}
		return true
	case Compare:
		if f.Op != Equal || f.Path.Sub == nil {
			return false
		}
		value, known := f.Value, f.Path.Sub.Name == "primary" && f.Value == true
		if s, ok := value.(string); ok && f.Path.Sub.Name == "type" {
			if s, known = f.Path.Sub.canonical(s); known {
				value = s
			}
		}
		if op.op == opReplace && (op.path.Sub == nil || !known) {
			return false
		}
		element[f.Path.Sub.Name] = value
		return true
	}
	return false
}

func isPrimary(element any) bool {
	object, _ := element.(Object)
	return object["primary"] == true
}

func clearPrimary(list List) {
	for _, element := range list {
		if isPrimary(element) {
			element.(Object)["primary"] = false //nolint:forcetypeassert // isPrimary says so
		}
	}
}
