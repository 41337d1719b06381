package user

import (
	"bytes"
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
	maxMetadataDepth = 5
)

// emptyObject is metadata with no member.
var emptyObject = jsontext.Value("{}")

// mergePatch applies patch to target as RFC 7396, section 2 says, both being valid JSON;
// a nil target is an absent one. The result is canonical: compact, members sorted.
func mergePatch(target, patch jsontext.Value) jsontext.Value {
	if patch.Kind() != '{' {
		return canonical(patch)
	}
	result := map[string]jsontext.Value{}
	if target.Kind() == '{' {
		maps.Insert(result, members(target))
	}
	for name, value := range members(patch) {
		if value.Kind() == 'n' {
			delete(result, name)
		} else {
			result[name] = mergePatch(result[name], value)
		}
	}
	return encodeObject(result)
}

// canonical compacts a value and sorts the members of its objects. Unlike RFC 8785 it
// keeps numbers as they were written: rounding one to a float would lose a change.
func canonical(v jsontext.Value) jsontext.Value {
	switch v.Kind() {
	case '{':
		return encodeObject(maps.Collect(members(v)))
	case '[':
		out := jsontext.Value{'['}
		for i, element := range elements(v) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, canonical(element)...)
		}
		return append(out, ']')
	case '"':
		return appendString(nil, text(v))
	default:
		return bytes.TrimSpace(v)
	}
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

// checkMetadata notes what in a merge patch could not be stored, whatever it is merged
// into: too deep a nesting, NUL characters, numbers that a float64 cannot hold.
func checkMetadata(problems *Problems, path string, v jsontext.Value, depth int) {
	switch v.Kind() {
	case '{', '[':
		if depth++; depth > maxMetadataDepth {
			problems.Add(path, codeDepth, "must be at most %d levels deep", maxMetadataDepth)
			return
		}
		if v.Kind() == '{' {
			for name, value := range members(v) {
				checkNUL(problems, path, name)
				checkMetadata(problems, path+"."+name, value, depth)
			}
			return
		}
		for i, element := range elements(v) {
			checkMetadata(problems, path+"["+strconv.Itoa(i)+"]", element, depth)
		}
	case '"':
		checkNUL(problems, path, text(v))
	case '0':
		if _, err := strconv.ParseFloat(string(v), 64); err != nil {
			problems.Add(path, codeRange, "must be a number within the range of a 64-bit float")
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
		for _, value := range members(v) {
			deepest = max(deepest, depthOf(value))
		}
	case '[':
		for _, element := range elements(v) {
			deepest = max(deepest, depthOf(element))
		}
	default:
		return 0
	}
	return deepest + 1
}
