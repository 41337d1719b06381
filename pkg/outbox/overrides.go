package outbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// extension is an attribute that the operator adds to every event for the sink.
type extension struct{ name, value string }

// contextAttributes are the specification's own, which no override may touch.
var contextAttributes = []string{"id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema", "data"}

// parseOverrides reads K_CE_OVERRIDES as Knative's SinkBinding writes it:
// {"extensions":{"name":"value"}}. Members other than extensions are left for the future.
func parseOverrides(text string) ([]extension, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var overrides struct {
		Extensions map[string]string `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(text), &overrides); err != nil {
		return nil, fmt.Errorf(`K_CE_OVERRIDES must be JSON like {"extensions":{"name":"value"}}: %w`, err)
	}
	var found []extension
	for _, name := range slices.Sorted(maps.Keys(overrides.Extensions)) {
		value := overrides.Extensions[name]
		if problem := checkExtension(name, value); problem != "" {
			return nil, fmt.Errorf("K_CE_OVERRIDES: the extension %q %s", name, problem)
		}
		found = append(found, extension{name, value})
	}
	return found, nil
}

// checkExtension follows CloudEvents 1.0.2, section 3.1 (names) and section 3 (strings).
func checkExtension(name, value string) string {
	switch {
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "":
		return "must have a name of a-z and 0-9 alone"
	case slices.Contains(contextAttributes, name):
		return "has the name of an attribute that is not an extension"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }):
		return "must have a value of UTF-8 without control characters"
	}
	return ""
}
