package scim

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"aiadmin/pkg/user"

	"github.com/go-json-experiment/json/jsontext"
)

type (
	// Object is a resource or a complex value: values by attribute name, spelled as the schema
	// does. An extension's attributes are an Object under its URN. A value is a string, bool,
	// int64, Object or [List]; times are strings. What is unassigned is absent.
	Object map[string]any
	// List holds the values of a multi-valued attribute.
	List []any
)

// at returns the value of a path's attribute, disregarding Sub.
func (o Object) at(path AttributePath) any { return o.section(path)[path.Attribute.Name] }

// section returns the object that has the path's attribute, which may be nil.
func (o Object) section(path AttributePath) Object {
	if path.Extension == nil {
		return o
	}
	section, _ := o[path.Extension.ID].(Object)
	return section
}

// put sets the value of a path's attribute or, with nil or an empty one, removes it.
func (o Object) put(path AttributePath, value any) {
	if isEmpty(value) {
		section := o.section(path)
		if delete(section, path.Attribute.Name); path.Extension != nil && len(section) == 0 {
			delete(o, path.Extension.ID)
		}
		return
	}
	o.set(path, value)
}

// set sets the value of a path's attribute, be it nil.
func (o Object) set(path AttributePath, value any) {
	if o.section(path) == nil {
		o[path.Extension.ID] = Object{}
	}
	o.section(path)[path.Attribute.Name] = value
}

func isEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case List:
		return len(value) == 0
	case Object:
		return len(value) == 0
	}
	return false
}

// text returns a string attribute's value, or "".
func (o Object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// listOf returns the values of an attribute, be it multi-valued or not.
func listOf(value any) List {
	switch value := value.(type) {
	case nil:
		return nil
	case List:
		return value
	default:
		return List{value}
	}
}

func clone(value any) any {
	switch value := value.(type) {
	case Object:
		copied := make(Object, len(value))
		for name, member := range value {
			copied[name] = clone(member)
		}
		return copied
	case List:
		copied := make(List, len(value))
		for i, element := range value {
			copied[i] = clone(element)
		}
		return copied
	}
	return value
}

// Append appends the object as JSON: schemas and id come first, the rest by name. A nil value
// is written as null.
func (o Object) Append(dst []byte) []byte { return appendValue(dst, o) }

// MarshalJSON implements [encoding/json.Marshaler].
func (o Object) MarshalJSON() ([]byte, error) { return o.Append(nil), nil }

func appendValue(dst []byte, value any) []byte {
	switch value := value.(type) {
	case string:
		dst, _ = jsontext.AppendQuote(dst, value) // its error only reports replaced bytes
		return dst
	case bool:
		return strconv.AppendBool(dst, value)
	case int64:
		return strconv.AppendInt(dst, value, 10)
	case List:
		dst = append(dst, '[')
		for i, element := range value {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, element)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i, name := range value.names() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, _ = jsontext.AppendQuote(dst, name)
			dst = appendValue(append(dst, ':'), value[name])
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

func (o Object) names() []string {
	rank := func(name string) string {
		switch name {
		case "schemas":
			return ""
		case "id":
			return "\x00"
		}
		return name
	}
	return slices.SortedFunc(maps.Keys(o), func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
}

func stored(v jsontext.Value) any {
	switch v.Kind() {
	case '{':
		object := Object{}
		for name, member := range user.Members(v) {
			object[name] = stored(member)
		}
		return object
	case '[':
		list := List{}
		for element := range elements(v) {
			list = append(list, stored(element))
		}
		return list
	case '"':
		return user.Unquote(v)
	case 't', 'f':
		return v.Kind() == 't'
	case '0':
		n, _ := parseInteger(string(v))
		return n
	}
	return nil
}

// member returns an object's member, ignoring its name's case, or nil.
func member(object jsontext.Value, wanted string) jsontext.Value {
	if object.Kind() == '{' {
		for name, value := range user.Members(object) {
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
			if element.Kind() == '"' && strings.EqualFold(user.Unquote(element), urn) {
				return true
			}
		}
	}
	return false
}

// elements yields the elements of an array that user.ParseBody has checked, or any other value
// itself.
func elements(v jsontext.Value) iter.Seq[jsontext.Value] {
	return func(yield func(jsontext.Value) bool) {
		if v.Kind() != '[' {
			yield(v)
			return
		}
		for _, element := range user.Elements(v) {
			if !yield(element) {
				return
			}
		}
	}
}

// onlyElement returns the element of a list of one, null for an empty list, else the list.
func onlyElement(list jsontext.Value) jsontext.Value {
	only, n := jsontext.Value("null"), 0
	for element := range elements(list) {
		if n++; n > 1 {
			return list
		}
		only = element
	}
	return only
}
