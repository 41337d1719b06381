package user

import (
	"strings"
	"unicode"

	validation "github.com/go-ozzo/ozzo-validation/v4"
)

// errEmail has the code and text of ozzo's own rule. The rule itself is not used: the
// package that it comes in compiles two hundred patterns when the process starts, which is
// a quarter of the time that this service takes to be ready, and its pattern lets empty
// labels pass (a@b..c).
var errEmail = validation.NewError("validation_is_email", "must be a valid email address")

func emailFormat(value any) error {
	if s, _ := value.(string); s != "" && !isEmail(s) {
		return errEmail
	}
	return nil
}

// maxLocalPart is in octets (RFC 5321, section 4.5.3.1.1).
const maxLocalPart = 64

// isEmail says whether s is a Mailbox of RFC 5321 section 4.1.2 as RFC 6531 widens it
// (letters of every script), less what nobody has and many programs misread: a quoted
// local part, an address literal, a domain of one label.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at <= maxLocalPart && isDotString(s[:at]) && isMailDomain(s[at+1:])
}

func isDotString(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return !isLetterOrDigit(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
		}) {
			return false
		}
	}
	return true
}

// isMailDomain takes underscores too: DNS has them, and so do mail hosts that work. The
// last label begins with a letter, or it would be an IP address.
func isMailDomain(s string) bool {
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isLetterOrDigit(r) && r != '-' && r != '_' }) {
			return false
		}
	}
	top := labels[len(labels)-1]
	return len(labels) > 1 && !strings.ContainsAny(top[:1], "0123456789_")
}

func isLetterOrDigit(r rune) bool {
	if r < 0x80 {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return r != unicode.ReplacementChar && unicode.In(r, unicode.L, unicode.M, unicode.N)
}
