package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A field reads one YAML node, named by its path, into the place it was made for.
type field func(found *problems, n *yaml.Node, path string)

// fields are the members of a YAML mapping.
type fields map[string]field

// problems is all that is wrong with the file. To decode into structs would stop at the
// first unknown key; operators fix a file faster when they see everything.
type problems []error

func (p *problems) add(n *yaml.Node, path, want string) {
	*p = append(*p, fmt.Errorf("%s:%d: %s: %s", yamlFile, n.Line, cmp.Or(path, "the file"), want))
}

// read applies f, but for what only looks like a value. An empty value counts as not
// written. Anchors and the like are refused: nothing in this file is long enough to need
// them, and a few lines of them can stand for gigabytes.
func (p *problems) read(f field, n *yaml.Node, path string) (written bool) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0:
		p.add(n, path, "must be written out: anchors, aliases and tags are not read here")
	case n.ShortTag() == "!!null":
		return false
	default:
		f(p, n, path)
	}
	return true
}

// object reads a mapping with the given members, of which the required ones must be
// there.
func object(known fields, required ...string) field {
	return func(found *problems, n *yaml.Node, path string) {
		if n.Kind != yaml.MappingNode {
			found.add(n, path, "must be a mapping with the keys "+names(known))
			return
		}
		seen, written := map[string]bool{}, map[string]bool{}
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			f, ok := known[key.Value]
			switch name := join(path, printable(key.Value)); {
			case !ok || key.Kind != yaml.ScalarNode:
				found.add(key, name, "unknown key; the keys here are "+names(known))
			case seen[key.Value]:
				found.add(key, name, "must be there once")
			default:
				seen[key.Value] = true
				written[key.Value] = found.read(f, value, name)
			}
		}
		for _, name := range required {
			if !written[name] {
				found.add(n, join(path, name), "is missing")
			}
		}
	}
}

// list reads a sequence, each element by the field that element makes.
func list[T any](into *[]T, least, most int, element func(*T) field) field {
	return func(found *problems, n *yaml.Node, path string) {
		if n.Kind != yaml.SequenceNode || len(n.Content) < least || len(n.Content) > most {
			found.add(n, path, fmt.Sprintf("must be a list of %d to %d", least, most))
			return
		}
		values := make([]T, len(n.Content))
		for i, value := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if !found.read(element(&values[i]), value, at) {
				found.add(value, at, "is empty: write a value or remove it")
			}
		}
		*into = values
	}
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func names(known fields) string { return strings.Join(slices.Sorted(maps.Keys(known)), ", ") }

// printable keeps a line one line, and a short one, whatever was written as a key.
func printable(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "…"
	}
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` || name == "" {
		return quoted
	}
	return name
}
