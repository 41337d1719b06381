package cloudevent

import (
	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// AppendJSON appends the event in the JSON format (CloudEvents JSON Event Format 1.0.2,
// section 3), its data as a JSON value. The same event gives the same bytes.
func AppendJSON(dst []byte, e user.Event, source string) []byte {
	dst = append(dst, '{')
	for _, a := range attributes(&e, source) {
		dst = append(dst, '"')
		dst = append(dst, a.name...)
		dst = append(dst, '"', ':')
		dst, _ = jsontext.AppendQuote(dst, a.value) // its error only reports a replacement by U+FFFD
		dst = append(dst, ',')
	}
	dst = append(dst, `"data":`...)
	dst = append(dst, e.Data...)
	return append(dst, '}')
}
