package user

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of metadata: bytes of its canonical encoding, and levels of nesting, the
// metadata object itself being the first.
const (
	maxMetadataBytes = 16 << 10
	maxMetadataPatch = 32 << 10 // of a change, its members in the order sent
	maxMetadataDepth = 5
)

// emptyObject is metadata with no member.
var emptyObject = jsontext.Value("{}")

// mergePatch applies patch to target as RFC 7396, section 2 says, both being valid JSON;
// a nil target is an absent one. The result is canonical: compact, members sorted. A value that
// differs from the target's only in how its numbers are written leaves the target as it is.
func mergePatch(target, patch jsontext.Value) jsontext.Value {
	if patch.Kind() != '{' {
		merged := canonical(patch)
		if target != nil && sameValue(target, merged) {
			return target
		}
		return merged
	}
	result := map[string]jsontext.Value{}
	if target.Kind() == '{' {
		maps.Insert(result, Members(target))
	}
	for name, value := range Members(patch) {
		if value.Kind() == 'n' {
			delete(result, name)
		} else {
			result[name] = mergePatch(result[name], value)
		}
	}
	return encodeObject(result)
}

// compactSize is how many bytes a valid value has without whitespace and needless escapes. A sender may
// write every character as an escape of six bytes.
func compactSize(v jsontext.Value) int {
	if len(v) <= maxMetadataPatch {
		return len(v)
	}
	compact, _ := jsontext.AppendFormat(nil, v, jsontext.AllowDuplicateNames(true), jsontext.PreserveRawStrings(false))
	return len(compact)
}

// canonical compacts a value and sorts the members of its objects. Unlike RFC 8785 it
// keeps numbers as they were written: rounding one to a float would lose a change.
func canonical(v jsontext.Value) jsontext.Value {
	switch v.Kind() {
	case '{':
		return encodeObject(maps.Collect(Members(v)))
	case '[':
		out := jsontext.Value{'['}
		for i, element := range Elements(v) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, canonical(element)...)
		}
		return append(out, ']')
	case '"':
		return appendString(nil, Unquote(v))
	default:
		return bytes.TrimSpace(v)
	}
}

// sameValue reports whether two canonical values are equal, numbers by their value.
func sameValue(a, b jsontext.Value) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case '0':
		return numberValue(a) == numberValue(b)
	case '[':
		return slices.EqualFunc(collect(Elements(a)), collect(Elements(b)), sameValue)
	case '{':
		return maps.EqualFunc(maps.Collect(Members(a)), maps.Collect(Members(b)), sameValue)
	default:
		return false
	}
}

func collect[K, V any](pairs iter.Seq2[K, V]) (values []V) {
	for _, v := range pairs {
		values = append(values, v)
	}
	return values
}

func encodeObject(object map[string]jsontext.Value) jsontext.Value {
	out := jsontext.Value{'{'}
	for i, name := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		out = append(out, canonical(object[name])...)
	}
	return append(out, '}')
}

// place is a value's place in a document. It becomes a path only where a problem needs one.
type place struct {
	parent *place
	name   string // of a member
	index  int    // of an element; -1 for a member
}

func (p *place) String() string {
	switch {
	case p == nil:
		return "metadata"
	case p.index >= 0:
		return indexed(p.parent.String(), p.index)
	default:
		return p.parent.String() + "." + p.name
	}
}

// checkMetadata notes what in a merge patch could not be stored, whatever it is merged
// into: too deep a nesting, NUL characters, numbers that a float64 cannot hold.
func checkMetadata(problems *Problems, at *place, v jsontext.Value, depth int) {
	if problems.full() { // to spell out more paths would cost the square of the size
		return
	}
	switch v.Kind() {
	case '{', '[':
		if depth++; depth > maxMetadataDepth {
			problems.Add(at.String(), codeDepth, "must be at most %d levels deep", maxMetadataDepth)
			return
		}
		if v.Kind() == '[' {
			for i, element := range Elements(v) {
				checkMetadata(problems, &place{parent: at, index: i}, element, depth)
			}
			return
		}
		for name, value := range Members(v) {
			if strings.ContainsRune(name, 0) {
				checkNUL(problems, at.String(), name)
			}
			checkMetadata(problems, &place{parent: at, name: name, index: -1}, value, depth)
		}
	case '"':
		if s := Unquote(v); strings.ContainsRune(s, 0) {
			checkNUL(problems, at.String(), s)
		}
	case '0':
		if _, err := strconv.ParseFloat(string(v), 64); err != nil {
			problems.Add(at.String(), codeRange, "must be a number within the range of a 64-bit float")
		}
	}
}

func checkNUL(problems *Problems, path, s string) {
	if strings.ContainsRune(s, 0) {
		problems.Add(strings.ReplaceAll(path, "\x00", "\\u0000"), codeNUL, "must not contain a NUL character")
	}
}

// depthOf is how many levels of objects and arrays v nests.
func depthOf(v jsontext.Value) int {
	deepest := 0
	switch v.Kind() {
	case '{':
		for _, value := range Members(v) {
			deepest = max(deepest, depthOf(value))
		}
	case '[':
		for _, element := range Elements(v) {
			deepest = max(deepest, depthOf(element))
		}
	default:
		return 0
	}
	return deepest + 1
}
