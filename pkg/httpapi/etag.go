package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"aiadmin/pkg/user"
)

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ifMatch reads If-Match (RFC 9110, section 13.1.1): nil when there is none. A weak tag
// never matches, and neither does one that is no version of ours.
func ifMatch(r *http.Request) (*user.Precondition, error) {
	tags, ok, err := entityTags(r, "If-Match")
	if err != nil || !ok {
		return nil, err
	}
	return versionsOf(tags), nil
}

// ifNoneMatch reads the If-None-Match of a change (RFC 9110, section 13.1.2, whose comparison is the
// weak one): nil when there is none.
func ifNoneMatch(r *http.Request) (*user.Precondition, error) {
	tags, ok, err := entityTags(r, "If-None-Match")
	if err != nil || !ok {
		return nil, err
	}
	for i := range tags {
		tags[i] = strings.TrimPrefix(tags[i], "W/")
	}
	return versionsOf(tags), nil
}

// versionsOf returns the versions that entity tags name; no tags stand for any version.
func versionsOf(tags []string) *user.Precondition {
	condition := &user.Precondition{Any: tags == nil}
	for _, tag := range tags {
		if version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64); err == nil && etag(version) == tag {
			condition.Versions = append(condition.Versions, version)
		}
	}
	return condition
}

// unmodified says whether If-None-Match holds the version (RFC 9110, section 13.1.2,
// whose comparison is the weak one). One that cannot be read is ignored.
func unmodified(r *http.Request, version int64) bool {
	tags, ok, err := entityTags(r, "If-None-Match")
	if err != nil || !ok {
		return false
	}
	for _, tag := range tags {
		if strings.TrimPrefix(tag, "W/") == etag(version) {
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
