package scim

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Filter is a condition on a resource: an [And], [Or], [Not], [Compare], [ValuePath] or [Constant]. Its
// attributes exist in the schema, and its values have their attributes' types.
type Filter interface {
	// match judges a resource or, within a value path, one value of the attribute.
	match(value any) bool
}

type (
	// And holds when all of its two or more conditions hold.
	And []Filter
	// Or holds when any of its two or more conditions holds.
	Or []Filter
	// Not holds when its condition does not.
	Not struct{ Filter Filter }
	// Constant holds for every resource or for none: what a comparison of an attribute that the type does not
	// have comes to.
	Constant bool
)

// Operator is a comparison (RFC 7644, section 3.4.2.2), in lower case.
type Operator string

// The operators.
const (
	Equal          Operator = "eq"
	NotEqual       Operator = "ne"
	Contains       Operator = "co"
	StartsWith     Operator = "sw"
	EndsWith       Operator = "ew"
	Present        Operator = "pr"
	Greater        Operator = "gt"
	GreaterOrEqual Operator = "ge"
	Less           Operator = "lt"
	LessOrEqual    Operator = "le"
)

// Compare compares an attribute with a value. Within a [ValuePath], Path still begins with the
// value path's attribute, and the comparison is with one of its values.
//
// A multi-valued attribute matches when any of its values does. An attribute with no value
// matches [NotEqual] alone, and a multi-valued one not even that. The parser rewrites "eq null"
// and "ne null" as not present and present.
type Compare struct {
	Path AttributePath // its leaf is never complex, unless Op is Present
	Op   Operator
	// Value is nil for Present, else a string, bool, int64 or time.Time by the leaf's type. A
	// string is as written: compare foldings unless the leaf is CaseExact.
	Value any

	within bool   // a value path
	folded string // Value, as the leaf compares strings
}

// ValuePath holds when one value of a complex attribute meets the filter: emails[type eq "work"].
// The form emails[type eq "work"].value eq "x", which Entra sends, is read as
// emails[type eq "work" and value eq "x"].
type ValuePath struct {
	Path   AttributePath // with no Sub
	Filter Filter        // of comparisons with the attribute's values
}

// Matches reports whether a resource meets the filter.
func Matches(f Filter, resource Object) bool { return f.match(resource) }

func (f And) match(value any) bool {
	return !slices.ContainsFunc(f, func(each Filter) bool { return !each.match(value) })
}

func (f Or) match(value any) bool {
	return slices.ContainsFunc(f, func(each Filter) bool { return each.match(value) })
}

func (f Not) match(value any) bool { return !f.Filter.match(value) }

func (f Constant) match(any) bool { return bool(f) }

func (f ValuePath) match(value any) bool {
	resource, _ := value.(Object)
	return slices.ContainsFunc(listOf(resource.at(f.Path)), f.Filter.match)
}

func (f Compare) match(value any) bool {
	if f.within {
		return f.one(value)
	}
	resource, _ := value.(Object)
	value = resource.at(f.Path)
	if f.Path.Attribute.MultiValued {
		return slices.ContainsFunc(listOf(value), f.one)
	}
	return f.one(value)
}

// one judges one value of the attribute.
func (f Compare) one(value any) bool {
	if f.Path.Sub != nil {
		object, _ := value.(Object)
		value = object[f.Path.Sub.Name]
	}
	switch {
	case f.Op == Present:
		return value != nil
	case value == nil:
		return f.Op == NotEqual
	}
	switch wanted := f.Value.(type) {
	case bool:
		return (value == wanted) == (f.Op == Equal)
	case int64:
		n, _ := value.(int64)
		return f.ordered(cmp.Compare(n, wanted))
	case time.Time:
		s, _ := value.(string)
		t, _ := parseDateTime(s)
		return f.ordered(t.Compare(wanted))
	case string:
		s, _ := value.(string)
		return f.text(f.Path.leaf().fold(s))
	}
	return false
}

func (f Compare) text(folded string) bool {
	switch f.Op {
	case Contains:
		return strings.Contains(folded, f.folded)
	case StartsWith:
		return strings.HasPrefix(folded, f.folded)
	case EndsWith:
		return strings.HasSuffix(folded, f.folded)
	}
	return f.ordered(strings.Compare(folded, f.folded))
}

// ordered reports whether the operator holds for the order of two values.
func (f Compare) ordered(order int) bool {
	switch f.Op {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Greater:
		return order > 0
	case GreaterOrEqual:
		return order >= 0
	case Less:
		return order < 0
	case LessOrEqual:
		return order <= 0
	}
	return false
}
