package scim

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// Read makes a resource from the body of a POST or PUT (RFC 7644, sections 3.3 and 3.5.1).
// Attributes that are readOnly or unknown are dropped, as are unknown schemas; null, [] and ""
// are absent (RFC 7643, section 2.5). Core attributes may stand under the core schema's URN.
// Of several primary values the last one stays, and of equal ones (type and value) the first.
// A body over the type's MaxBytes is a 413.
func (t *ResourceType) Read(body []byte) (Object, error) {
	value, err := t.parse(body)
	if err != nil {
		return nil, err
	}
	resource := Object{}
	if err := t.readInto(resource, nil, value); err != nil {
		return nil, err
	}
	for _, a := range t.Schema.Attributes {
		if a.Required && resource[a.Name] == nil {
			return nil, Errorf(InvalidValue, "%s is required", a.Name)
		}
	}
	return resource, nil
}

// parse checks a body's size and syntax.
func (t *ResourceType) parse(body []byte) (jsontext.Value, error) {
	if len(body) > t.MaxBytes {
		return nil, StatusError(413, "the body has %d bytes; at most %d are read", len(body), t.MaxBytes)
	}
	value, err := user.ParseBody(body)
	if err != nil {
		return nil, ErrorOf(err)
	}
	return value, nil
}

// readInto reads an object's members as attributes of the resource: those of the body, or those
// under the URN of a schema.
func (t *ResourceType) readInto(resource Object, under *Schema, object jsontext.Value) error {
	for name, value := range user.Members(object) {
		if under != nil {
			name = under.ID + ":" + name
		}
		if under == nil && strings.EqualFold(name, "schemas") {
			if err := t.checkSchemas(value); err != nil {
				return err
			}
			continue
		}
		path, ok := t.ParseAttribute(name)
		switch {
		case !ok || path.Sub != nil:
		case path.Attribute == nil && value.Kind() == '{' && under == nil:
			section := path.Extension
			if section == nil {
				section = t.Schema
			}
			if err := t.readInto(resource, section, value); err != nil {
				return err
			}
		case path.Attribute != nil && path.Attribute.Mutability != readOnly:
			read, err := path.Attribute.read(value)
			if err != nil {
				return err
			}
			resource.put(path, read)
		}
	}
	return nil
}

// checkSchemas refuses schemas without the type's own. If there are none, the endpoint decides the
// type.
func (t *ResourceType) checkSchemas(value jsontext.Value) error {
	if value.Kind() == 'n' || string(onlyElement(value)) == "null" || lists(value, t.Schema.ID) {
		return nil
	}
	return Errorf(InvalidSyntax, "schemas must be a list that has %s", t.Schema.ID)
}

// read reads a value of the attribute; nil is unassigned.
func (a *Attribute) read(v jsontext.Value) (any, error) {
	if !a.MultiValued {
		return a.readOne(v)
	}
	list, err := a.readList(v)
	prune := a.maxValues != maxMembers // a member without a value is an error, not a member less
	return a.normalize(list, prune), err
}

// readList reads the values of a multi-valued attribute; one that stands alone is a list of one.
func (a *Attribute) readList(v jsontext.Value) (List, error) {
	var list List
	for element := range elements(v) {
		value, err := a.readOne(element)
		if err != nil {
			return nil, err
		}
		if value == nil {
			if a.maxValues != maxMembers || v.Kind() != '[' && v.Kind() != '{' {
				continue
			}
			value = Object{} // a member without a value: dropped, it could leave nobody in the group
		}
		if list = append(list, value); len(list) > a.maxValues {
			return nil, a.tooMany()
		}
	}
	return list, nil
}

func (a *Attribute) tooMany() error {
	if a.maxValues == maxMembers {
		return tooManyMembers()
	}
	return Errorf(InvalidValue, "%s may have at most %d values", a.Name, a.maxValues)
}

// readOne reads a single value. Entra puts some of them into a list of one, as in a manager.
func (a *Attribute) readOne(v jsontext.Value) (any, error) {
	kind := v.Kind()
	if kind == '[' {
		if v = onlyElement(v); v.Kind() != '[' {
			return a.readOne(v)
		}
	}
	if kind == 'n' {
		return nil, nil
	}
	var s string
	if kind == '"' {
		if s = user.Unquote(v); s == "" {
			return nil, nil
		}
	}
	switch a.Type {
	case String, Reference, DateTime:
		if kind == '"' {
			return a.readText(s)
		}
	case Boolean:
		if kind == 't' || kind == 'f' {
			return kind == 't', nil
		}
		if value, ok := parseBool(s); ok {
			return value, nil
		}
	case Integer:
		if kind == '0' {
			s = string(v)
		}
		if n, ok := parseInteger(s); ok {
			return n, nil
		}
	case Complex:
		if kind == '{' {
			return a.readComplex(v)
		}
		if value := a.sub("value"); value != nil && kind == '"' {
			return a.fromText(value, s)
		}
	}
	return nil, Errorf(InvalidValue, "%s must be of type %s", a.Name, a.Type)
}

// maxEmail is the product's bound on an e-mail address, which holds for those that it does not use as well: in characters.
const maxEmail = 254

func (a *Attribute) readText(s string) (any, error) {
	if strings.ContainsRune(s, 0) {
		return nil, Errorf(InvalidValue, "%s must not contain a NUL character", a.Name)
	}
	if n := utf8.RuneCountInString(s); a.address && a.Name == "value" && n > maxEmail {
		return nil, Errorf(InvalidValue, "%s must be at most %d characters, not %d", a.Name, maxEmail, n)
	}
	if a.closed {
		canonical, ok := a.canonical(s)
		if !ok {
			return nil, Errorf(InvalidValue, "%s must be one of %s, not %s", a.Name, strings.Join(a.CanonicalValues, ", "), quote(s))
		}
		return canonical, nil
	}
	return s, nil
}

// readComplex reads an object; one with no known member that has a value is unassigned.
func (a *Attribute) readComplex(v jsontext.Value) (any, error) {
	object := Object{}
	for name, member := range user.Members(v) {
		sub := a.sub(name)
		if sub == nil || sub.Mutability == readOnly {
			continue
		}
		value, err := sub.readOne(member)
		if err != nil {
			return nil, inAttribute(a, err)
		}
		if value != nil {
			object[sub.Name] = value
		}
	}
	if a.Name == "roles" {
		object = unpackRole(object)
	}
	if len(object) == 0 {
		return nil, nil
	}
	return object, nil
}

// inAttribute puts the attribute's name before the name that an error begins with.
func inAttribute(a *Attribute, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		inner := *e
		inner.Detail = a.Name + "." + inner.Detail
		return &inner
	}
	return err
}

// fromText reads a string that stands for a complex value: Entra sends a manager's id that way.
func (a *Attribute) fromText(value *Attribute, s string) (any, error) {
	read, err := value.readText(s)
	if err != nil {
		return nil, inAttribute(a, err)
	}
	object := Object{value.Name: read}
	if a.Name == "roles" {
		object = unpackRole(object)
	}
	return object, nil
}

// unpackRole replaces a role's value that is itself JSON, as Entra's AppRoleAssignmentsComplex
// sends it: {"id", "value", "displayName"} in a string.
func unpackRole(role Object) Object {
	packed := role.text("value")
	if !strings.HasPrefix(packed, "{") {
		return role
	}
	object, err := user.ParseBody([]byte(packed))
	if err != nil {
		return role
	}
	for name, member := range user.Members(object) {
		if member.Kind() != '"' || strings.ContainsRune(user.Unquote(member), 0) {
			continue
		}
		switch s := user.Unquote(member); strings.ToLower(name) {
		case "value":
			role["value"] = s
		case "displayname":
			if role["display"] == nil && s != "" {
				role["display"] = s
			}
		}
	}
	return role
}

// normalize merges equal values into the first of them and clears all primary marks but the last.
// With prune it drops values that have no more than a type and a primary mark.
func (a *Attribute) normalize(list List, prune bool) List {
	seen := make(map[string]any, len(list))
	kept := list[:0]
	for _, element := range list {
		key, meaningful := a.identity(element)
		if first, ok := seen[key]; ok {
			merge(first, element)
		} else if meaningful || !prune {
			seen[key] = element
			kept = append(kept, element)
		}
	}
	primary := false
	for _, element := range slices.Backward(kept) {
		if object, ok := element.(Object); ok && object["primary"] == true {
			if primary {
				object["primary"] = false
			}
			primary = true
		}
	}
	return kept
}

// merge copies the other sub-attributes of an equal value.
func merge(first, second any) {
	into, ok := first.(Object)
	from, _ := second.(Object)
	for name, value := range from {
		if ok && name != "value" && name != "type" {
			into[name] = value
		}
	}
}

// identity is the same for equal values: those with the same type and value (RFC 7643, section
// 2.4) or, where there is no value, with the same sub-attributes. It also says whether there is
// more than a type and a primary mark.
func (a *Attribute) identity(element any) (key string, meaningful bool) {
	object, ok := element.(Object)
	if !ok {
		return string(appendValue(nil, element)), true
	}
	value := a.sub("value")
	if value == nil || object["value"] == nil {
		rest := maps.Clone(object)
		delete(rest, "primary")
		key = string(rest.Append(nil))
		delete(rest, "type")
		return key, len(rest) > 0
	}
	return user.Fold(object.text("type")) + "\x00" + value.fold(object.text("value")), true
}
