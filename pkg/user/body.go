package user

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ParseBody reads one JSON object (RFC 8259) strictly: duplicate member names at any
// level, invalid UTF-8, lone surrogates, trailing data and anything but an object are
// [Malformed]. The message names the place, never the content. What is returned is a part of
// body, which must stay as it is.
func ParseBody(body []byte) (jsontext.Value, error) {
	dec := decoder(body)
	defer decoders.Put(dec)
	value, err := dec.ReadValue()
	if err != nil {
		return nil, malformed(err, len(body))
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, Errorf(Malformed, "data follows the JSON value at byte %d", dec.InputOffset())
	}
	if value.Kind() != '{' {
		return nil, Errorf(Malformed, "the body must be a JSON object")
	}
	return slices.Clip(value), nil
}

func malformed(err error, size int) error {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case size == 0:
		return Errorf(Malformed, "the body is empty: send a JSON object")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return Errorf(Malformed, "a member's name is given twice in one JSON object")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Errorf(Malformed, "the JSON ends too early, at byte %d", size)
	case ok:
		return Errorf(Malformed, "not valid JSON in UTF-8 at byte %d", syntax.ByteOffset)
	default:
		return Errorf(Malformed, "not valid JSON").Wrap(err)
	}
}

// Members yields an object's members in their order; v must be one that [ParseBody] has checked. The
// values are parts of it.
func Members(v jsontext.Value) iter.Seq2[string, jsontext.Value] {
	return func(yield func(string, jsontext.Value) bool) {
		dec := valid(v)
		defer decoders.Put(dec)
		for dec.PeekKind() == '"' {
			name, _ := dec.ReadToken()
			key := name.String()
			value, _ := dec.ReadValue()
			if !yield(key, slices.Clip(value)) {
				return
			}
		}
	}
}

// Elements yields an array's elements; v must be a valid JSON array. They are parts of it.
func Elements(v jsontext.Value) iter.Seq2[int, jsontext.Value] {
	return func(yield func(int, jsontext.Value) bool) {
		dec := valid(v)
		defer decoders.Put(dec)
		for i := 0; dec.PeekKind() != ']'; i++ {
			value, err := dec.ReadValue()
			if err != nil || !yield(i, slices.Clip(value)) {
				return
			}
		}
	}
}

// valid opens a decoder just inside an object or array that ParseBody has checked, and
// so spares its second check for duplicate names.
func valid(v jsontext.Value) *jsontext.Decoder {
	dec := decoder(v, jsontext.AllowDuplicateNames(true))
	_, _ = dec.ReadToken()
	return dec
}

// decoders are used again: each keeps its stacks, and a batch needs thousands.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// decoder reads from text itself: of a Buffer, jsontext makes no copy.
func decoder(text []byte, options ...jsontext.Options) *jsontext.Decoder {
	dec := decoders.Get().(*jsontext.Decoder) //nolint:forcetypeassert // nothing else is in there
	dec.Reset(bytes.NewBuffer(text), options...)
	return dec
}

// Unquote returns the content of a JSON string that [ParseBody] has checked, and nothing of any other value.
func Unquote(v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	if bytes.IndexByte(v, '\\') < 0 { // most strings have no escape
		return string(v[1 : len(v)-1])
	}
	unquoted, _ := jsontext.AppendUnquote(nil, v)
	return string(unquoted)
}
