package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A field reads one YAML node, named by its path, into the place it was made for.
type field func(found *problems, n *yaml.Node, path string)

// fields are the members of a YAML mapping.
type fields map[string]field

// problems collects everything that is wrong with one file. Decoding into structs would
// stop at the first unknown key; operators fix a file faster when they see everything.
type problems struct {
	file string
	list []error
}

// add reports what is expected at a node.
func (p *problems) add(n *yaml.Node, path, want string) {
	p.list = append(p.list, fmt.Errorf("%s:%d: %s: %s", p.file, n.Line, cmp.Or(path, "the file"), want))
}

// whole reports what is expected of the whole file.
func (p *problems) whole(want string) { p.list = append(p.list, fmt.Errorf("%s: %s", p.file, want)) }

// err joins the problems, one line each; nil when there are none.
func (p *problems) err() error { return errors.Join(p.list...) }

// read applies f to a node's value, and reports whether there is one: an empty value counts as
// absent. Anchors, aliases and tags are refused: the file is too short to need them, and a few
// lines of them can expand to gigabytes.
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
				found.add(key, name, "must appear only once")
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

// list reads a sequence; element makes the field that reads one value.
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

// printable keeps a line one line, and a short one, whatever was written as a key. A long
// key may be a token that was pasted in the wrong place.
func printable(name string) string {
	if len(name) > 32 {
		return "a key of over 32 bytes"
	}
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || name == "" {
		return quoted
	}
	return name
}

const maxFile = 1 << 20 // bytes; the YAML parser bounds the depth

// document parses the file's one document; nil when it is empty, or no YAML at all.
func (p *problems) document(content string) *yaml.Node {
	if !p.isText(content) {
		return nil
	}
	decoder := yaml.NewDecoder(strings.NewReader(content))
	root := p.next(decoder)
	if root != nil && len(p.list) == 0 {
		if second := p.next(decoder); second != nil {
			p.add(second, "second document", "must not be there: one document is read")
		}
	}
	return root
}

// isText refuses content that should not reach a parser.
func (p *problems) isText(content string) bool {
	switch {
	case len(content) > maxFile:
		p.whole(fmt.Sprintf("must be at most %d bytes", maxFile))
	case !utf8.ValidString(content):
		p.whole("must be UTF-8 text")
	default:
		return true
	}
	return false
}

// next is the root of the next document that is not empty; nil when there is none.
func (p *problems) next(decoder *yaml.Decoder) *yaml.Node {
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			p.whole("must be YAML: " + syntaxProblem(err))
			return nil
		}
		if root := document.Content[0]; root.ShortTag() != "!!null" {
			return root
		}
	}
}

// aliasName matches the only part of the file that the parser's messages repeat.
var aliasName = regexp.MustCompile(`(?s)unknown anchor '.*' referenced`)

func syntaxProblem(err error) string {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	return aliasName.ReplaceAllLiteralString(message, "an alias of nothing")
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// textOf returns a string's text, without a block's trailing line end. YAML 1.1's yes and on are
// text, as in YAML 1.2.
func textOf(n *yaml.Node) (string, bool) {
	return strings.TrimRight(n.Value, "\n"), n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}

func boolean(into *bool) field {
	return func(found *problems, n *yaml.Node, path string) {
		if n.ShortTag() != "!!bool" || n.Decode(into) != nil {
			found.add(n, path, "must be true or false")
		}
	}
}

// integer reads decimal digits alone: YAML 1.1 takes 010 for eight.
func integer(into *int, least, most int) field {
	return func(found *problems, n *yaml.Node, path string) {
		number, err := strconv.Atoi(n.Value)
		if n.ShortTag() != "!!int" || err != nil || number < least || number > most {
			found.add(n, path, fmt.Sprintf("must be a whole number from %d to %d", least, most))
			return
		}
		*into = number
	}
}

// ratio reads a number from 0 to 1.
func ratio(into *float64) field {
	return func(found *problems, n *yaml.Node, path string) {
		value, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || !(value >= 0 && value <= 1) { // a NaN is neither
			found.add(n, path, "must be a number from 0 to 1, such as 0.1")
			return
		}
		*into = value
	}
}

// duration reads Go's durations; 0 is one too.
func duration(into *time.Duration, least, most time.Duration) field {
	return func(found *problems, n *yaml.Node, path string) {
		value, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || value < least || value > most {
			found.add(n, path, fmt.Sprintf("must be a duration from %s to %s, such as 90s, 30m or 168h", short(least), short(most)))
			return
		}
		*into = value
	}
}

// short is a duration without Go's trailing "0m0s".
func short(d time.Duration) string {
	if d > 0 && d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

func oneOf[T any](into *T, choices map[string]T) field {
	return func(found *problems, n *yaml.Node, path string) {
		name, _ := textOf(n)
		value, ok := choices[name]
		if !ok {
			found.add(n, path, "must be one of "+strings.Join(slices.Sorted(maps.Keys(choices)), ", "))
			return
		}
		*into = value
	}
}

// text reads a string and applies a rule to it.
func text(into *string, keep rule) field {
	return func(found *problems, n *yaml.Node, path string) {
		written, ok := textOf(n)
		if !ok {
			found.add(n, path, "must be text: put it in quotes")
			return
		}
		kept, want := keep(written)
		if want != "" {
			found.add(n, path, want)
			return
		}
		*into = kept
	}
}

// claimValue reads the value that a claim must have: text, or a bare number or boolean, which is
// compared with the token's JSON text. A number keeps its spelling.
func claimValue(into *string) field {
	return func(found *problems, n *yaml.Node, path string) {
		switch n.ShortTag() {
		case "!!int", "!!float":
			*into = n.Value
		case "!!bool":
			*into = strings.ToLower(n.Value)
		default:
			text(into, nameRule)(found, n, path)
		}
	}
}
