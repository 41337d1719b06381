package eventapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/body"
	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

// mode is a content mode of the HTTP Protocol Binding 1.0.2, section 3.
type mode int

const (
	binary mode = iota
	structured
	batched
)

// modeOf tells the mode by the media type. Any other type of the CloudEvents family is an
// event format that is not spoken here, and must not be taken for binary mode.
func modeOf(h http.Header) (mode, error) {
	if coding := strings.Join(h.Values("Content-Encoding"), ", "); coding != "" && !strings.EqualFold(coding, "identity") {
		return 0, user.Errorf(user.UnsupportedMedia, "send the body without a content encoding")
	}
	values := h.Values("Content-Type")
	if len(values) > 1 {
		return 0, user.Errorf(user.Malformed, "the header Content-Type is given %d times", len(values))
	}
	if len(values) == 0 || values[0] == "" {
		return binary, nil
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	switch {
	case err != nil:
		return 0, user.Errorf(user.UnsupportedMedia, "the header Content-Type is not a media type")
	case !strings.HasPrefix(mediaType, "application/cloudevents"):
		if h.Get("Ce-Specversion") == "" && !isJSON(values[0]) { // no event, and nothing that could hold one
			return 0, errWrongType
		}
		return binary, nil
	case !inUTF8(parameters):
		return 0, user.Errorf(user.UnsupportedMedia, "send events in UTF-8")
	case mediaType == "application/cloudevents+json":
		return structured, nil
	case mediaType == "application/cloudevents-batch+json":
		return batched, nil
	}
	return 0, errWrongType
}

var errWrongType = user.Errorf(user.UnsupportedMedia,
	"send application/cloudevents+json, application/cloudevents-batch+json, or application/json with the attributes in ce- headers")

// inUTF8 says whether a media type's charset, where it has one, is UTF-8.
func inUTF8(parameters map[string]string) bool {
	charset, given := parameters["charset"]
	return !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// isJSON says whether data of this type is JSON in UTF-8 (JSON Event Format 1.0.2, section 3.1).
func isJSON(contentType string) bool {
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	return err == nil && inUTF8(parameters) && (strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json"))
}

// received is an event that has come in, as the SDK's type. Beside an error it has what
// could be read of the attributes, to tell which event it was.
//
// The SDK's own readers are not used: they panic on some input, trim ids, take the first of
// two headers, and make of a JSON object what the order of its members suggests.
type received struct {
	event.Event
	context *event.EventContextV1 // of the Event
	version string                // its specversion
	source  string                // as it was sent: the SDK rewrites a URI
	trace   string                // its traceparent, which may be none
}

func newReceived() *received {
	context := &event.EventContextV1{}
	return &received{Event: event.Event{Context: context}, context: context}
}

// expectedVersion is the one extension that is read strictly. Of the others not even the form matters: a
// traceparent (CloudEvents distributed tracing extension) that is none is passed over.
const expectedVersion = "expectedversion"

// attributes are those that the specification defines (CloudEvents 1.0.2, section 3), and
// the extension.
var attributes = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", expectedVersion}

// headers are the names of the attributes' headers in binary mode.
var headers = func() map[string]string {
	names := map[string]string{}
	for _, name := range attributes {
		names[name] = http.CanonicalHeaderKey("ce-" + name)
	}
	return names
}()

// readBinary reads an event whose attributes are headers (HTTP Protocol Binding 1.0.2,
// section 3.1). An attribute given twice is refused: the SDK would silently take the first.
func readBinary(h http.Header, data []byte) (*received, error) {
	r := newReceived()
	for _, name := range attributes {
		values := h[headers[name]]
		switch {
		case name == "datacontenttype" && len(values) > 0:
			return r, user.Errorf(user.Malformed, "datacontenttype is the header Content-Type in binary mode")
		case name == "datacontenttype" && h.Get("Content-Type") != "":
			values = h["Content-Type"]
		case len(values) > 1:
			return r, user.Errorf(user.Malformed, "the header ce-%s is given %d times", name, len(values))
		case len(values) == 1:
			value, ok := decodeHeader(values[0])
			if !ok {
				return r, user.Errorf(user.Malformed, "the header ce-%s is not text in UTF-8, with quotes and escapes closed", name)
			}
			values = []string{value}
		}
		if len(values) == 0 {
			continue
		}
		if err := r.set(name, values[0]); err != nil {
			return r, err
		}
	}
	if values := h["Ce-Traceparent"]; len(values) == 1 {
		r.trace, _ = decodeHeader(values[0])
	}
	r.DataEncoded = data
	return r, r.check()
}

// decodeHeader undoes what section 3.1.3.2 says of header values: first a quoted string,
// which earlier versions of the binding allowed, then one pass of percent-encoding. A
// percent sign that starts no escape stands for itself, as senders that don't encode mean it.
func decodeHeader(value string) (string, bool) {
	value, ok := unquote(value)
	if !ok || strings.IndexByte(value, '%') < 0 {
		return value, ok && utf8.ValidString(value)
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			if high, low := hexDigit(value[i+1]), hexDigit(value[i+2]); high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(value[i])
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

// readStructured reads an event in the JSON format (JSON Event Format 1.0.2, sections 2
// and 3).
func readStructured(body []byte) (*received, error) {
	r := newReceived()
	object, err := user.ParseBody(body)
	if err != nil {
		return r, err
	}
	var data, encoded jsontext.Value
	for name, value := range user.Members(object) {
		switch {
		case value.Kind() == 'n': // null is the same as leaving it out (section 2.2)
		case name == "data":
			data = value
		case name == "data_base64":
			encoded = value
		case name == "traceparent" && value.Kind() == '"':
			r.trace = user.Unquote(value)
		case headers[name] != "":
			text, fault := canonical(name, value)
			if fault == nil {
				fault = r.set(name, text)
			}
			if fault != nil {
				err = fault // id and source, if they come later, tell the sender which event it is
			}
		}
	}
	switch {
	case err == nil && encoded != nil && data != nil:
		err = user.Errorf(user.Malformed, "an event has data or data_base64, not both")
	case err == nil && encoded != nil:
		data, err = decodeBase64(encoded)
	}
	if err != nil {
		return r, err
	}
	if r.context.DataContentType == nil {
		_ = r.set("datacontenttype", "application/json") // JSON Event Format, section 3.1.1
	}
	r.DataEncoded = data
	return r, r.check()
}

func decodeBase64(v jsontext.Value) ([]byte, error) {
	if v.Kind() == '"' {
		if data, err := base64.StdEncoding.DecodeString(user.Unquote(v)); err == nil {
			return data, nil
		}
	}
	return nil, user.Errorf(user.Malformed, "data_base64 is not a string in base64")
}

// canonical is the string form of an attribute's value. The attributes that the
// specification defines are strings; the extension may be an Integer too (JSON Event
// Format, section 2.2).
func canonical(name string, v jsontext.Value) (string, error) {
	switch {
	case v.Kind() == '"':
		return user.Unquote(v), nil
	case name != expectedVersion:
		return "", user.Errorf(user.Malformed, "the attribute %s must be a string", name)
	case v.Kind() == '0':
		return string(v), nil
	}
	return "", errExpected
}

// Bounds of the attributes that are kept or sent on, in bytes. They leave enough of the
// 8 KiB that many servers allow a request's headers.
const (
	maxID     = 1024
	maxSource = 2048
)

// set sets an attribute by its canonical string form, and finds what is wrong with it.
func (r *received) set(name, value string) error {
	switch {
	case strings.ContainsFunc(value, isForbidden):
		return user.Errorf(user.Malformed, "the attribute %s has a control character or a noncharacter in it", name)
	case strings.TrimSpace(value) == "":
		return user.Errorf(user.Malformed, "the attribute %s is empty", name)
	}
	c := r.context
	switch name {
	case "specversion":
		r.version = value
	case "id":
		c.ID = value
	case "source":
		source := types.ParseURIRef(value)
		if source == nil {
			return user.Errorf(user.Malformed, "the attribute source is not a URI reference")
		}
		r.source, c.Source = value, *source
	case "type":
		c.Type = value
	case "subject":
		c.Subject = &value
	case "time":
		at, err := user.ParseTime(value) // the SDK does not know all that RFC 3339 allows
		if err != nil {
			return user.Errorf(user.Malformed, "the attribute time is not a time in RFC 3339").Wrap(err)
		}
		c.Time = &types.Timestamp{Time: at}
	case "datacontenttype":
		c.DataContentType = &value
	case "dataschema":
		if c.DataSchema = types.ParseURI(value); c.DataSchema == nil {
			return user.Errorf(user.Malformed, "the attribute dataschema is not a URI")
		}
	default:
		c.Extensions = map[string]any{name: value}
	}
	return nil
}

// isForbidden says what a String must not contain (CloudEvents 1.0.2, section 3.2).
func isForbidden(r rune) bool {
	return r < 0x20 || 0x7f <= r && r <= 0x9f || 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe
}

// check finds what is missing, too long, or wrong by the SDK's own rules.
func (r *received) check() error {
	if r.version != cloudevent.SpecVersion {
		return user.Errorf(user.Malformed, "specversion must be %s, not %.20q", cloudevent.SpecVersion, r.version)
	}
	for _, required := range []struct{ name, value string }{{"id", r.ID()}, {"source", r.source}, {"type", r.Type()}} {
		if required.value == "" {
			return user.Errorf(user.Malformed, "the attribute %s is missing", required.name)
		}
	}
	if len(r.ID()) > maxID || len(r.source) > maxSource {
		return user.Errorf(user.Malformed, "id may have %d bytes and source %d", maxID, maxSource)
	}
	if err := r.Validate(); err != nil {
		return user.Errorf(user.Malformed, "not a valid CloudEvent: %s", summary(err)).Wrap(err)
	}
	return nil
}

// summary is the SDK's reason in one bounded line.
func summary(err error) string {
	line := strings.Join(strings.Fields(err.Error()), " ")
	return strings.ToValidUTF8(line[:min(len(line), 200)], "")
}

// maxElements is how many events a batch may have.
const maxElements = 1000

// split takes a batch apart (JSON Event Format 1.0.2, section 4), reading each element no
// further than to find its end: what is wrong with one must not concern the others.
func split(body []byte) ([]jsontext.Value, error) {
	// Strings and duplicate names are checked with the elements.
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if dec.PeekKind() != '[' {
		return nil, user.Errorf(user.Malformed, "a batch must be a JSON array of events")
	}
	_, _ = dec.ReadToken()
	var elements []jsontext.Value
	for dec.PeekKind() != ']' {
		element, err := dec.ReadValue()
		if err != nil {
			return nil, errBatch(err, len(body))
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

// errBatch names the place of what is wrong with a batch, and never the content: the decoder's own text has
// names of members, which a mistaken client may have filled with secrets.
func errBatch(err error, size int) error {
	offset := int64(size)
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset = syntax.ByteOffset
	}
	return user.Errorf(user.Malformed, "the batch is not valid JSON at byte %d", offset)
}

// readElement reads one event of a batch.
func readElement(element jsontext.Value) (*received, error) {
	if most := body.OneChange.Most; int64(len(element)) > most {
		return newReceived(), body.TooLarge(most)
	}
	return readStructured(element)
}
