package scimapi

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// body reads the body of a request and then waits for a place to be worked on: a client that sends slowly
// takes nobody's.
func (x *exchange) body(t *scim.ResourceType) (body []byte, done func(), err error) {
	if err := x.checkMediaType(); err != nil {
		return nil, nil, err
	}
	bodies := x.options.Users
	if t == scim.Groups {
		bodies = x.options.Groups
	}
	return bodies.Read(x.w, x.r)
}

// checkMediaType takes any JSON, whatever its charset is called, and a body without a type.
func (x *exchange) checkMediaType() error {
	if coding := x.r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return user.Errorf(user.UnsupportedMedia, "send the body without a content encoding")
	}
	given := x.r.Header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(given)
	if given == "" || err == nil && (mediaType == "application/json" || mediaType == "application/scim+json") {
		return nil
	}
	return user.Errorf(user.UnsupportedMedia, "send Content-Type: application/scim+json or application/json")
}

// projection reads the parameters attributes and excludedAttributes.
func (x *exchange) projection(t *scim.ResourceType) (scim.Projection, error) {
	query, err := x.query()
	if err != nil {
		return scim.Projection{}, err
	}
	return t.ParseProjection(query["attributes"], query["excludedattributes"])
}

// answer writes a resource with its ETag.
func (x *exchange) answer(status int, resource scim.Object, projection scim.Projection) {
	meta, _ := resource["meta"].(scim.Object)
	version, _ := meta["version"].(string)
	location, _ := meta["location"].(string)
	x.w.Header().Set("ETag", version)
	if status == http.StatusCreated {
		x.w.Header().Set("Location", location)
	} else {
		x.w.Header().Set("Content-Location", location)
	}
	write(x.w, status, projection.Apply(resource).Append(nil))
}

// id returns the id in the path. One that is malformed is nobody's.
func (x *exchange) id(t *scim.ResourceType) (uuid.UUID, error) {
	id, ok := user.ParseID(x.segment)
	if !ok {
		return id, scim.StatusError(http.StatusNotFound, "no such %s: %s is no id of this service", strings.ToLower(t.Name), strconv.Quote(short(x.segment)))
	}
	return id, nil
}

// update calls apply with what a request to change one resource says: its path, its body and its query. The
// body is valid until apply returns.
func (x *exchange) update(t *scim.ResourceType, apply func(id uuid.UUID, body []byte, projection scim.Projection) error) error {
	id, err := x.id(t)
	if err != nil {
		return err
	}
	projection, err := x.projection(t)
	if err != nil {
		return err
	}
	body, done, err := x.body(t)
	if err != nil {
		return err
	}
	defer done()
	return apply(id, body, projection)
}

func short(s string) string {
	const shown = 64
	if len(s) > shown {
		return s[:shown]
	}
	return s
}

func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// condition reads a header of entity tags, weak or strong (RFC 7644, section 3.14); nil when there is none.
// A tag that is no version of ours matches nothing.
func (x *exchange) condition(header string) *user.Precondition {
	values := x.r.Header.Values(header)
	if len(values) == 0 {
		return nil
	}
	condition := &user.Precondition{}
	for tag := range strings.SplitSeq(strings.Join(values, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			condition.Any = true
		}
		number := strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
		if version, err := strconv.ParseInt(number, 10, 64); err == nil && (etag(version) == tag || etag(version) == "W/"+tag) {
			condition.Versions = append(condition.Versions, version)
		}
	}
	return condition
}

func (x *exchange) preconditions() user.Preconditions {
	return user.Preconditions{IfMatch: x.condition("If-Match"), IfNoneMatch: x.condition("If-None-Match")}
}

// unmodified answers 304 when the client has the version.
func (x *exchange) unmodified(version int64) bool {
	condition := x.condition("If-None-Match")
	if condition == nil || !condition.Holds(version) {
		return false
	}
	x.w.Header().Set("ETag", etag(version))
	x.w.WriteHeader(http.StatusNotModified)
	return true
}
