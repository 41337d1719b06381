package scim

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Projection says which attributes an answer has (RFC 7644, section 3.9). The zero value is the
// default set.
type Projection struct {
	only    bool // just the named attributes, else all but those
	named   []AttributePath
	applies bool // a parameter was given
}

// ParseProjection reads the parameters attributes and excludedAttributes: lists of names, each
// possibly with commas in it. Unknown names are ignored. Both at once is [InvalidValue].
func (t *ResourceType) ParseProjection(attributes, excluded []string) (Projection, error) {
	included, includes := t.names(withoutFilters(attributes))
	without, excludes := t.names(excluded)
	if includes && excludes {
		return Projection{}, Errorf(InvalidValue, "attributes and excludedAttributes cannot be used together: send one of them")
	}
	return Projection{only: includes, named: append(included, without...), applies: includes || excludes}, nil
}

// withoutFilters takes emails[type eq "work"] for emails: who asks for one value gets them all.
func withoutFilters(lists []string) []string {
	cut := make([]string, len(lists))
	for i, list := range lists {
		cut[i] = bracketed().ReplaceAllString(list, "")
	}
	return cut
}

var bracketed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[[^\]]*\]`) })

// names returns the attributes that are named, as far as they are known, and whether any name is given.
func (t *ResourceType) names(lists []string) (paths []AttributePath, given bool) {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			given = true
			if path, ok := t.ParseAttribute(name); ok && len(paths) < maxNames {
				paths = append(paths, path)
			}
		}
	}
	return paths, given
}

// maxNames bounds the known names of one projection; a type has fewer attributes.
const maxNames = 200

// Given reports whether the request had a projection: a PATCH that would be answered 204 is then
// answered 200 with the resource.
func (p Projection) Given() bool { return p.applies }

// Wants reports whether an answer has any part of a core attribute, such as members or groups; if
// not, it need not be read.
func (p Projection) Wants(attribute string) bool {
	for _, path := range p.named {
		covers := path.Extension == nil && (path.Attribute == nil || path.Attribute.Name == attribute)
		if covers && (p.only || path.Sub == nil) {
			return p.only
		}
	}
	return !p.only
}

// WantsDisplay reports whether members are asked for with their display, which is returned on
// request only.
func (p Projection) WantsDisplay() bool {
	for _, path := range p.named {
		if p.only && path.Sub != nil && path.String() == "members.display" {
			return true
		}
	}
	return false
}

// Apply returns the resource with the attributes asked for; id and schemas are always among them.
// The resource itself stays as it is.
func (p Projection) Apply(resource Object) Object {
	if !p.applies {
		return resource
	}
	if !p.only {
		rest, _ := clone(resource).(Object)
		for _, path := range p.named {
			exclude(rest, path)
		}
		rest["schemas"], rest["id"] = resource["schemas"], resource["id"]
		return rest
	}
	kept := Object{"schemas": resource["schemas"], "id": resource["id"]}
	for _, path := range p.named {
		include(kept, resource, path)
	}
	for _, path := range p.named {
		if path.Sub != nil && kept.section(path) != nil {
			kept.dropEmpty(path)
		}
	}
	return kept
}

// dropEmpty removes values of an attribute that have no sub-attribute left.
func (o Object) dropEmpty(path AttributePath) {
	value := o.at(path)
	if list, many := value.(List); many {
		value = slices.DeleteFunc(list, isEmpty)
	}
	o.put(path, value)
}

func exclude(resource Object, path AttributePath) {
	section := resource.section(path)
	switch {
	case path.Attribute == nil && path.Extension != nil:
		delete(resource, path.Extension.ID)
	case path.Attribute == nil:
		for name := range resource {
			if !strings.Contains(name, ":") {
				delete(resource, name)
			}
		}
	case section == nil:
	case path.Sub == nil:
		resource.put(path, nil)
	default:
		for _, each := range listOf(section[path.Attribute.Name]) {
			if object, ok := each.(Object); ok {
				delete(object, path.Sub.Name)
			}
		}
		resource.dropEmpty(path)
	}
}

func include(kept, resource Object, path AttributePath) {
	section := resource.section(path)
	switch {
	case path.Attribute == nil && path.Extension != nil:
		if section != nil {
			kept[path.Extension.ID] = section
		}
	case path.Attribute == nil:
		for name, value := range resource {
			if !strings.Contains(name, ":") {
				kept[name] = value
			}
		}
	case section[path.Attribute.Name] == nil:
	case path.Sub == nil:
		kept.put(path, section[path.Attribute.Name])
	default:
		includeSub(kept, section[path.Attribute.Name], path)
	}
}

// includeSub adds one sub-attribute to those that are kept of an attribute.
func includeSub(kept Object, value any, path AttributePath) {
	before := kept.at(path)
	list, many := value.(List)
	if !many {
		kept.set(path, withSub(before, value, path.Sub))
		return
	}
	partial := make(List, len(list))
	if earlier, ok := before.(List); ok {
		copy(partial, earlier)
	}
	for i, each := range list {
		partial[i] = withSub(partial[i], each, path.Sub)
	}
	kept.set(path, partial)
}

func withSub(partial, whole any, sub *Attribute) Object {
	into, _ := partial.(Object)
	if into = maps.Clone(into); into == nil { // it may be the resource's own
		into = Object{}
	}
	if from, ok := whole.(Object); ok && from[sub.Name] != nil {
		into[sub.Name] = from[sub.Name]
	}
	return into
}
