package eventapi

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"aiadmin/pkg/user"
)

// attributes are an event's context attributes by name, in their canonical string form.
type attributes map[string]string

// headerAttributes reads the attributes of binary mode (HTTP Protocol Binding 1.0.2,
// section 3.1). One given twice is refused: the SDK would silently take the first.
func headerAttributes(h http.Header) (attributes, error) {
	found := attributes{}
	if contentType := h.Get("Content-Type"); contentType != "" {
		found["datacontenttype"] = contentType
	}
	for header, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(header), "ce-")
		if !ok {
			continue
		}
		if len(values) != 1 {
			return nil, user.Errorf(user.Malformed, "the header %s is given %d times", header, len(values))
		}
		if name == "datacontenttype" {
			return nil, user.Errorf(user.Malformed, "datacontenttype is the header Content-Type in binary mode")
		}
		value, ok := decodeHeader(values[0])
		if !ok {
			return nil, user.Errorf(user.Malformed, "the header %s is not percent-encoded UTF-8", header)
		}
		found[name] = value
	}
	return found, nil
}

// decodeHeader undoes what section 3.1.3.2 says of header values: first a quoted string,
// which earlier versions of the binding allowed, then one round of percent-encoding.
func decodeHeader(value string) (string, bool) {
	value, ok := unquote(value)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			b.WriteByte(value[i])
			continue
		}
		if i+2 >= len(value) {
			return "", false
		}
		high, low := hexDigit(value[i+1]), hexDigit(value[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), utf8.ValidString(b.String())
}

// unquote undoes a quoted string (RFC 9110, section 5.6.4).
func unquote(value string) (string, bool) {
	if !strings.HasPrefix(value, `"`) {
		return value, true
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '"':
			return b.String(), i == len(value)-1
		case '\\':
			if i++; i == len(value) {
				return "", false
			}
		}
		b.WriteByte(value[i])
	}
	return "", false
}

func hexDigit(c byte) int {
	return strings.IndexByte("0123456789abcdef", c|0x20) // | 0x20 lower-cases letters and keeps digits
}
