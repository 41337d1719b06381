package eventapi

import (
	"mime"
	"net/http"
	"strings"

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
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
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
