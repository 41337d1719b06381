package eventapi

import (
	"encoding/base64"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// bodyAttributes reads an event in the JSON format (JSON Event Format 1.0.2, sections 2
// and 3) into attributes and data, which is nil when there is none.
//
// The SDK's own reader is not used for this: what it makes of an event depends on the
// order of the members, one with an empty name hides those behind it, and of two with the
// same name either may win.
func bodyAttributes(body []byte) (attributes, []byte, error) {
	object, err := user.ParseBody(body)
	if err != nil {
		return nil, nil, err
	}
	found := attributes{}
	var data, encoded jsontext.Value
	for name, value := range members(object) {
		switch {
		case value.Kind() == 'n': // null is the same as leaving it out (section 2.2)
		case name == "data":
			data = value
		case name == "data_base64":
			encoded = value
		default:
			text, fault := canonical(name, value)
			if fault != nil {
				err = fault
				continue // id and source, if they come later, tell the sender which event it is
			}
			found[name] = text
		}
	}
	switch {
	case err != nil, encoded == nil:
		return found, data, err
	case data != nil:
		return found, nil, user.Errorf(user.Malformed, "an event has data or data_base64, not both")
	}
	data, err = decodeBase64(encoded)
	return found, data, err
}

func decodeBase64(v jsontext.Value) ([]byte, error) {
	if v.Kind() == '"' {
		if data, err := base64.StdEncoding.DecodeString(text(v)); err == nil {
			return data, nil
		}
	}
	return nil, user.Errorf(user.Malformed, "data_base64 is not a string in base64")
}

// canonical is the string form of an attribute's value. The attributes that the
// specification defines are strings; an extension may be a Boolean or an Integer too
// (JSON Event Format, section 2.2).
func canonical(name string, v jsontext.Value) (string, error) {
	switch {
	case v.Kind() == '"':
		return text(v), nil
	case defined[name]:
		return "", user.Errorf(user.Malformed, "the attribute %s must be a string", name)
	case v.Kind() == 't', v.Kind() == 'f':
		return string(v), nil
	case v.Kind() == '0':
		if n, err := strconv.ParseInt(string(v), 10, 32); err == nil && n != 0 || string(v) == "0" {
			return string(v), nil
		}
	}
	return "", user.Errorf(user.Malformed, "the attribute %.40q must be a string, a boolean or a 32-bit integer", name)
}

var defined = map[string]bool{"specversion": true, "id": true, "source": true, "type": true,
	"subject": true, "time": true, "datacontenttype": true, "dataschema": true}

// members yields the members of an object that [user.ParseBody] has checked.
func members(object jsontext.Value) func(yield func(string, jsontext.Value) bool) {
	return func(yield func(string, jsontext.Value) bool) {
		dec := newDecoder(object)
		_, _ = dec.ReadToken()
		for dec.PeekKind() == '"' {
			token, _ := dec.ReadToken()
			name := token.String()
			value, err := dec.ReadValue()
			end := dec.InputOffset()
			if err != nil || !yield(name, object[end-int64(len(value)):end]) {
				return
			}
		}
	}
}

func text(v jsontext.Value) string {
	unquoted, _ := jsontext.AppendUnquote(nil, v) // checked by ParseBody
	return string(unquoted)
}
