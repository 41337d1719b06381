package eventapi

import (
	"strings"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

// Bounds of the attributes that are kept or sent on, in bytes. They leave room in the
// 8 KiB that many servers allow a request's headers.
const (
	maxID     = 1024
	maxSource = 2048
)

// check finds what is malformed and the SDK would let through, or fall over.
func (a attributes) check() error {
	if version := a["specversion"]; version != cloudevent.SpecVersion {
		return user.Errorf(user.Malformed, "specversion must be %s, not %.20q", cloudevent.SpecVersion, version)
	}
	for name, value := range a {
		if !isName(name) {
			return user.Errorf(user.Malformed, "%.40q is not the name of an attribute: it must be of a-z and 0-9", name)
		}
		if strings.ContainsFunc(value, isForbidden) {
			return user.Errorf(user.Malformed, "the attribute %.40s has a control character or a noncharacter in it", name)
		}
		if defined[name] && strings.TrimSpace(value) == "" {
			return user.Errorf(user.Malformed, "the attribute %s is empty", name)
		}
	}
	for _, name := range []string{"id", "source", "type"} {
		if a[name] == "" {
			return user.Errorf(user.Malformed, "the attribute %s is missing", name)
		}
	}
	if len(a["id"]) > maxID || len(a["source"]) > maxSource {
		return user.Errorf(user.Malformed, "id may have %d bytes and source %d", maxID, maxSource)
	}
	return nil
}

// isName holds an attribute's name to the naming conventions (CloudEvents 1.0.2, section
// 3.1), where data is not one.
func isName(name string) bool {
	return name != "" && name != "data" &&
		!strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// isForbidden says what a String must not contain (CloudEvents 1.0.2, section 3.2).
func isForbidden(r rune) bool {
	return r < 0x20 || 0x7f <= r && r <= 0x9f || 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe
}
