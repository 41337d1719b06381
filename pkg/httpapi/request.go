package httpapi

import (
	"crypto/sha256"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// readBody returns the body of a request whose media type is one of those wanted, and what
// to call once the request's work is done.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, wanted ...string) (body []byte, done func(), err error) {
	if err := checkMediaType(w, r, wanted); err != nil {
		return nil, nil, err
	}
	return a.bodies.Read(w, r)
}

// checkMediaType refuses a body of another media type than those wanted. Two lines of a header are joined, so
// that the first is not taken for the whole: together they name no type.
func checkMediaType(w http.ResponseWriter, r *http.Request, wanted []string) error {
	if coding := strings.Join(r.Header.Values("Content-Encoding"), ", "); coding != "" && !strings.EqualFold(coding, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, section 12.5.3
		return user.Errorf(user.UnsupportedMedia, "send the body without a content encoding")
	}
	mediaType, parameters, err := mime.ParseMediaType(strings.Join(r.Header.Values("Content-Type"), ", "))
	charset, given := parameters["charset"]
	utf8 := !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
	for _, name := range wanted {
		if err == nil && mediaType == name && utf8 {
			return nil
		}
	}
	if r.Method == http.MethodPatch {
		w.Header().Set("Accept-Patch", strings.Join(wanted, ", ")) // RFC 5789, section 2.2
	}
	return user.Errorf(user.UnsupportedMedia, "send Content-Type: %s, in UTF-8", strings.Join(wanted, " or "))
}

// claimOf reads the Idempotency-Key of a request with this body.
func claimOf(r *http.Request, body []byte) (*user.Claim, error) {
	key, err := idempotencyKey(r)
	if key == "" || err != nil {
		return nil, err
	}
	digest := sha256.Sum256(body)
	return &user.Claim{Kind: user.RequestClaim, Scope: request.Of(r.Context()).Actor, ID: key, Digest: digest[:]}, nil
}

// idempotencyKey returns the request's Idempotency-Key; "" is none.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(values) > 1 || len(key) < 1 || len(key) > 255 || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", headerProblem("Idempotency-Key", "must be given once, as 1 to 255 visible ASCII characters")
	}
	return key, nil
}

func headerProblem(header, message string) error {
	return user.Problems{{Field: header, Code: "validation_header", Message: message}}.Err()
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// precondition reads the If-Match or If-None-Match of a change: nil when there is none. A weak tag never matches the
// first and may match the second (RFC 9110, sections 13.1.1 and 13.1.2). A tag that is no version of ours matches
// neither.
func precondition(r *http.Request, header string) (*user.Precondition, error) {
	tags, ok, err := entityTags(r, header)
	if err != nil || !ok {
		return nil, err
	}
	condition := &user.Precondition{Any: tags == nil}
	for _, tag := range tags {
		if header == "If-None-Match" {
			tag = strings.TrimPrefix(tag, "W/")
		}
		if version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64); err == nil && etag(version) == tag {
			condition.Versions = append(condition.Versions, version)
		}
	}
	return condition, nil
}

// unmodified says whether If-None-Match holds the entity tag (RFC 9110, section 13.1.2,
// whose comparison is the weak one). One that cannot be read is ignored.
func unmodified(r *http.Request, current string) bool {
	tags, ok, err := entityTags(r, "If-None-Match")
	if err != nil || !ok {
		return false
	}
	for _, tag := range tags {
		if strings.TrimPrefix(tag, "W/") == current {
			return true
		}
	}
	return tags == nil
}

// entityTags reads a list of entity tags; no tags and true stand for *.
func entityTags(r *http.Request, header string) ([]string, bool, error) {
	values := r.Header.Values(header)
	if len(values) == 0 {
		return nil, false, nil
	}
	rest := strings.Trim(strings.Join(values, ","), " \t,") // a list may have empty elements: RFC 9110, section 5.6.1.2
	if rest == "*" {
		return nil, true, nil
	}
	var tags []string
	for rest != "" {
		tag, after, ok := cutTag(rest)
		if !ok {
			return nil, false, headerProblem(header, `must be * or a list of entity tags such as "7"`)
		}
		tags = append(tags, tag)
		rest = strings.TrimLeft(after, " \t,")
		if after = strings.TrimLeft(after, " \t"); after != "" && after[0] != ',' {
			return nil, false, headerProblem(header, `must be * or a list of entity tags such as "7"`)
		}
	}
	if tags == nil {
		return nil, false, headerProblem(header, `must be * or a list of entity tags such as "7"`)
	}
	return tags, true, nil
}

func cutTag(s string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) <= start || s[start] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[start+1:], '"')
	if end < 0 {
		return "", "", false
	}
	cut := start + 1 + end + 1
	return s[:cut], s[cut:], true
}
