package user

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns the comparison form of s: Unicode normalization form C and full case folding
// (Unicode Standard, section 3.13), so that σ equals ς, ß equals ss, and İ does not equal i.
func Fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
}

// FoldAddress returns the comparison form of an e-mail address or a userName. A domain, the part
// after the last @, is compared in its A-label form (UTS #46, non-transitional processing), so that
// münchen.de equals xn--mnchen-3ya.de. A domain that cannot be converted is folded like other text, and so is
// one that is longer than any value may be: converting it takes time that grows with the square of its length.
func FoldAddress(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 || isASCII(s) || utf8.RuneCountInString(s[at:]) > maxValue {
		return Fold(s)
	}
	domain, err := mailDomain.ToASCII(s[at+1:])
	if err != nil {
		domain = Fold(s[at+1:])
	}
	return Fold(s[:at+1]) + domain
}

// mailDomain takes underscores, as mail hosts that work have them.
var mailDomain = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// SearchForm returns s as searches and sorting by name compare it: the comparison form without
// diacritics (compatibility decomposition, nonspacing marks removed), so that jose finds José.
func SearchForm(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	bare := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(Fold(s)))
	return Fold(bare) // a compatibility decomposition can bring capitals back
}

// FoldTag lower-cases ASCII letters alone: a Unicode folding would turn a foreign letter
// such as the Kelvin sign into an allowed one.
func FoldTag(s string) string {
	folded := []byte(s)
	for i, b := range folded {
		if 'A' <= b && b <= 'Z' {
			folded[i] = b + 'a' - 'A'
		}
	}
	return string(folded)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// breaksLines reports whether r changes where text runs: a control character, a
// bidirectional control, or a line or paragraph separator.
func breaksLines(r rune) bool {
	if r < utf8.RuneSelf {
		return unicode.IsControl(r)
	}
	return unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// isVisible reports whether r shows something: it is neither space nor a
// Default_Ignorable_Code_Point (Unicode Standard Annex #44, section 5.3).
func isVisible(r rune) bool {
	switch {
	case unicode.IsSpace(r):
		return false
	case r >= 0xFFF9 && r <= 0xFFFB, r >= 0x13430 && r <= 0x13440, unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return true
	default:
		return !unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	}
}
