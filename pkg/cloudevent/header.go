package cloudevent

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"aiadmin/pkg/user"
)

// SetHeader writes the event's attributes for binary mode; the body is then e.Data as it is.
func SetHeader(h http.Header, e user.Event, source string) {
	for _, a := range attributes(&e, source) {
		SetAttribute(h, a.name, a.value)
	}
}

// SetAttribute writes one context attribute for binary mode: datacontenttype as
// Content-Type, any other with the prefix ce- (HTTP Protocol Binding 1.0.2, section 3.1.3).
func SetAttribute(h http.Header, name, value string) {
	if name == "datacontenttype" {
		h.Set("Content-Type", value)
		return
	}
	h.Set("Ce-"+name, EncodeHeader(value))
}

// EncodeHeader percent-encodes an attribute's value for a header, as section 3.1.3.2 of
// the HTTP binding says: the space, the double quote, the percent sign and whatever is
// not printable ASCII, each byte of its UTF-8 for itself. The SDK leaves values as they
// are, which no intermediary needs to accept.
func EncodeHeader(value string) string {
	if strings.IndexFunc(value, mustEncode) < 0 {
		return value
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, r := range value {
		if !mustEncode(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range utf8.AppendRune(nil, r) {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func mustEncode(r rune) bool {
	return r <= ' ' || r == '"' || r == '%' || r > '~'
}
