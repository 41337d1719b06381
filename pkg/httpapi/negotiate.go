package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// answerType returns the media type of an answer, which depends on the request's Accept.
func answerType(w http.ResponseWriter, r *http.Request, offers ...string) string {
	if vary := w.Header(); !slices.Contains(vary["Vary"], "Accept") {
		vary.Add("Vary", "Accept")
	}
	return negotiate(r, offers...)
}

// negotiate picks, of the media types on offer, the one that the request's Accept prefers
// (RFC 9110, section 12.5.1): the most specific range that matches a type gives its weight.
// Equal weights go to the type that is named more specifically, then to the one named
// first, then to the first offer. Without Accept it is the first offer. It is "" when none
// is acceptable. Parameters other than q, such as charset, don't count.
func negotiate(r *http.Request, offers ...string) string {
	ranges := acceptedRanges(r.Header.Values("Accept"))
	if len(ranges) == 0 {
		return offers[0]
	}
	best, chosen := acceptedRange{}, ""
	for _, offer := range offers {
		if match := matchingRange(ranges, offer); match.weight > 0 && match.before(best) {
			best, chosen = match, offer
		}
	}
	return chosen
}

// acceptedRange is one range of an Accept header.
type acceptedRange struct {
	mediaType, subtype string
	weight             float64
	position           int
}

// specificity is 2 for type/subtype, 1 for type/*, 0 for */*.
func (a acceptedRange) specificity() int {
	switch {
	case a.subtype != "*":
		return 2
	case a.mediaType != "*":
		return 1
	}
	return 0
}

// before tells whether a client prefers what matches this range.
func (a acceptedRange) before(b acceptedRange) bool {
	switch {
	case a.weight != b.weight:
		return a.weight > b.weight
	case a.specificity() != b.specificity():
		return a.specificity() > b.specificity()
	}
	return a.position < b.position
}

// matchingRange is the most specific range for a media type; of weight 0 when there is none.
func matchingRange(ranges []acceptedRange, offer string) (match acceptedRange) {
	mediaType, subtype, _ := strings.Cut(offer, "/")
	found := false
	for _, one := range ranges {
		if (one.mediaType == mediaType || one.mediaType == "*") && (one.subtype == subtype || one.subtype == "*") &&
			(!found || one.specificity() > match.specificity()) {
			match, found = one, true
		}
	}
	return match
}

// acceptedRanges reads all lines of Accept. What is no media range is left out.
func acceptedRanges(lines []string) []acceptedRange {
	var ranges []acceptedRange
	for _, line := range lines {
		for line != "" {
			var element string
			element, line = cutUnquoted(line, ',')
			if one, ok := parseRange(element); ok {
				one.position = len(ranges)
				ranges = append(ranges, one)
			}
		}
	}
	return ranges
}

func parseRange(element string) (one acceptedRange, ok bool) {
	name, parameters := cutUnquoted(element, ';')
	mediaType, subtype, ok := strings.Cut(strings.ToLower(strings.Trim(name, " \t")), "/")
	if !ok || mediaType == "" || subtype == "" || mediaType == "*" && subtype != "*" {
		return one, false
	}
	one = acceptedRange{mediaType: mediaType, subtype: subtype, weight: 1}
	for parameters != "" {
		var parameter string
		parameter, parameters = cutUnquoted(parameters, ';')
		key, value, _ := strings.Cut(strings.Trim(parameter, " \t"), "=")
		if !strings.EqualFold(key, "q") {
			continue
		}
		weight, err := strconv.ParseFloat(value, 64)
		if err != nil || !(weight >= 0 && weight <= 1) { // a NaN is neither
			return one, false
		}
		one.weight = weight
	}
	return one, true
}

// cutUnquoted cuts s at the first separator outside a quoted string (RFC 9110, section 5.6.4).
func cutUnquoted(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == separator:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
