package cloudevent

import (
	"bytes"
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// SpecVersion is the version of CloudEvents that is spoken here.
const SpecVersion = "1.0"

// contentType is the datacontenttype of every event.
const contentType = "application/json"

// The extension attributes of an outgoing event.
const (
	PartitionKey = "partitionkey" // the user's id: whoever shards by it keeps each user's order
	Sequence     = "sequence"     // the user's version, zero-padded so that it sorts as text
	CausationID  = "causationid"  // the id of the event or request that caused the change
	Actor        = "actor"        // who asked for the change, as in the history
	TraceParent  = "traceparent"  // the trace that the change belongs to (distributed tracing extension)
	Replayed     = "replayed"     // in answers alone: true where an earlier delivery had the effect
)

// attribute is a context attribute in its canonical string form (CloudEvents 1.0.2, section 3).
type attribute struct{ name, value string }

// attributes are all that an event has but its data, in the order of the specification.
func attributes(e *user.Event, source string) []attribute {
	all := []attribute{
		{"specversion", SpecVersion},
		{"id", e.ID.String()},
		{"source", source},
		{"type", string(e.Type)},
		{"subject", e.UserID.String()},
		{"time", user.FormatTime(e.At)},
		{"datacontenttype", contentType},
		{"dataschema", schemaURI(source, e.Type)},
		{PartitionKey, e.UserID.String()},
		{Sequence, fmt.Sprintf("%020d", e.Version)},
	}
	if e.Cause != "" {
		all = append(all, attribute{CausationID, e.Cause})
	}
	if e.Actor != "" {
		all = append(all, attribute{Actor, e.Actor})
	}
	if e.TraceParent != "" {
		all = append(all, attribute{TraceParent, e.TraceParent})
	}
	return all
}

// schemaURI names the schema of an event's data. The attribute must be an absolute URI
// (CloudEvents 1.0.2, dataschema), and consumers that check refuse a relative one: where
// the source has a host, the schema is at that host; else the scheme says which service
// serves the path.
func schemaURI(source string, t user.EventType) string {
	path := schemaPath + strings.TrimPrefix(string(t), "ai.admin.") + ".json"
	base, err := url.Parse(source)
	if err != nil || base.Host == "" || base.Scheme == "" {
		return "ai-admin:" + path
	}
	return base.Scheme + "://" + base.Host + path
}

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
	h.Set("Ce-"+name, encodeHeader(value))
}

// encodeHeader percent-encodes an attribute's value for a header, as section 3.1.3.2 of
// the HTTP binding says: the space, the double quote, the percent sign and whatever is
// not printable ASCII, each byte of its UTF-8 for itself. The SDK leaves values as they
// are, which no intermediary needs to accept.
func encodeHeader(value string) string {
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

// schemaPath is where the service serves each [Schema] by its name.
const schemaPath = "/ai/admin/schemas/"

// SchemaType is the media type of a JSON Schema.
const SchemaType = "application/schema+json"

//go:embed schemas/*.json
var schemas embed.FS

// Schema returns the JSON Schema (draft 2020-12) of that name, such as user.created.json. The names of the
// fields that an event may list as changed come from the table of fields.
func Schema(name string) ([]byte, bool) {
	text, err := schemas.ReadFile("schemas/" + name)
	if err != nil {
		return nil, false
	}
	changed := `"enum": ["` + strings.Join(user.RecordedFields(), `", "`) + `"]`
	return bytes.Replace(text, []byte(`"enum": []`), []byte(changed), 1), true
}
