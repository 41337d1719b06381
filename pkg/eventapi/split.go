package eventapi

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/body"
	"aiadmin/pkg/user"
)

// maxElements is how many events a batch may have.
const maxElements = 1000

// split takes a batch apart (JSON Event Format 1.0.2, section 4), reading each element no
// further than to find its end: what is wrong with one must not concern the others.
func split(body []byte) ([]jsontext.Value, error) {
	dec := newDecoder(body)
	if dec.PeekKind() != '[' {
		return nil, user.Errorf(user.Malformed, "a batch must be a JSON array of events")
	}
	_, _ = dec.ReadToken()
	var elements []jsontext.Value
	for dec.PeekKind() != ']' {
		element, err := dec.ReadValue()
		if err != nil {
			return nil, user.Errorf(user.Malformed, "the batch is not valid JSON at byte %d", dec.InputOffset()).Because(err)
		}
		if len(elements) == maxElements {
			return nil, user.Errorf(user.TooLarge, "a batch may have %d events", maxElements)
		}
		end := dec.InputOffset()
		elements = append(elements, body[end-int64(len(element)):end]) // not a copy: there may be megabytes
	}
	_, _ = dec.ReadToken()
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, user.Errorf(user.Malformed, "data follows the batch at byte %d", dec.InputOffset())
	}
	return elements, nil
}

func readElement(element jsontext.Value) (*received, error) {
	if most := body.OneChange.Most; int64(len(element)) > most {
		return &received{}, body.TooLarge(most)
	}
	return readStructured(element)
}

// newDecoder reads JSON whose strings and duplicate names are checked elsewhere.
func newDecoder(b []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}
