package user

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Facets returns what a user can be found by besides its columns: the providers it holds credentials for,
// the models it may use, the values in its metadata, and the parts of searched text that trigrams miss. One
// inverted index over them serves these filters, and its statistics tell the planner how common each facet
// is, which those of a JSON column do not. When the facets of the same user change from one revision to the
// next, a migration puts all users into the table unformed_users.
//
//	provider=openai
//	model=gpt-5        a name, or a glob that ends in its only star
//	model~gpt-         a glob of any other form, by what it begins with, to be matched by the listing
//	model~*-mini       the same, by what it ends with, where it begins with a star or ?
//	model=*            all models allowed
//	meta/team=research a string at a path, or in a list there; a long one is replaced by its SHA-256
//	meta/level=#7e0    a number by its value; meta/on=#true a boolean
//	q~ -(              a part of tag, name or e-mail address: see [SearchFacets]
//	q^jo               the beginning of an e-mail address that is searched otherwise than compared
//	scim/name.givenName=ada  a part of the name or another e-mail address, as an identity provider sent it
func Facets(u *User) []string {
	facets := []string{}
	for _, c := range u.Credentials {
		facets = append(facets, ProviderFacet(c.Provider))
	}
	if u.Models == nil {
		facets = append(facets, "model=*")
	}
	for _, pattern := range u.Models {
		if simpleGlob(pattern) {
			facets = append(facets, "model="+pattern)
		} else {
			facets = append(facets, globFacet(pattern))
		}
	}
	facets = appendMetadataFacets(facets, nil, u.Metadata)
	facets = appendSCIMFacets(facets, u.SCIM)
	for line := range strings.SplitSeq(SearchText(u), "\n") {
		parts, _ := SearchFacets(line)
		facets = append(append(facets, parts...), pairFacets(line)...)
	}
	if u.Email != nil && !isASCII(*u.Email) {
		form := []rune(SearchForm(*u.Email))
		for n := 1; n <= min(2, len(form)); n++ {
			facets = append(facets, PrefixFacet(string(form[:n])))
		}
	}
	slices.Sort(facets)
	return slices.Compact(facets)
}

// PrefixFacet returns the facet of an e-mail address that begins with one or two characters in its search
// form. Addresses in ASCII have none: their comparison form, which has an index, is the same.
func PrefixFacet(text string) string { return "q^" + text }

// SearchFacets returns the facets of a text that a search uses where pg_trgm extracts nothing or too little,
// or what depends on the database's locale: the windows of three characters that have no two letters or
// digits of ASCII side by side. All reports that the text has no other windows. A text of two ideographs,
// kana or Hangul syllables is one facet, too.
func SearchFacets(text string) (facets []string, all bool) {
	if pairs := pairFacets(text); len(pairs) == 1 && utf8.RuneCountInString(text) == 2 {
		return pairs, true
	}
	all = true
	var start, plain [3]int // of the window's characters, in a ring: where each begins, and 1 for an ASCII letter or digit
	n := 0
	for i, r := range text {
		if start[n%3], plain[n%3] = i, 0; r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			plain[n%3] = 1
		}
		if n++; n < 3 {
			continue
		}
		if middle := plain[(n+1)%3]; middle == 1 && plain[0]+plain[1]+plain[2] > 1 {
			all = false
			continue
		}
		facets = append(facets, "q~"+text[start[n%3]:i+utf8.RuneLen(r)])
	}
	return facets, all && n >= 3
}

// pairFacets returns the facets of each two neighbours in a text that are written in a script in which two
// characters are a word.
func pairFacets(text string) (facets []string) {
	if isASCII(text) {
		return nil
	}
	before, wasWord := 0, false
	for i, r := range text {
		isWord := unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
		if wasWord && isWord {
			facets = append(facets, "q~"+text[before:i+utf8.RuneLen(r)])
		}
		before, wasWord = i, isWord
	}
	return facets
}

// ProviderFacet is the facet of holding a credential for a provider.
func ProviderFacet(provider string) string { return "provider=" + provider }

// ModelFacets are the facets of which any one allows a model: its name, and each of the
// globs that end in their only star and match it.
func ModelFacets(model string) []string {
	facets := []string{"model=" + model}
	for i := range model {
		facets = append(facets, "model="+model[:i]+"*")
	}
	return append(facets, "model="+model+"*")
}

// globFacet is where a glob that [ModelFacets] cannot enumerate is looked for.
func globFacet(glob string) string {
	if i := strings.IndexAny(glob, "*?"); i > 0 {
		return "model~" + glob[:i]
	}
	return "model~*" + glob[strings.LastIndexAny(glob, "*?")+1:]
}

// GlobFacets are the facets of which a user has one if any of its other globs matches a
// model: what those begin or end with, the model does too. It may have one all the same.
func GlobFacets(model string) []string {
	facets := []string{"model~*", "model~" + model}
	for i := range model {
		facets = append(facets, "model~*"+model[i:])
		if i > 0 {
			facets = append(facets, "model~"+model[:i])
		}
	}
	return facets
}

// MetadataFacets returns the facets of which a user has one if its metadata has the value at the path, or in
// a list there: that of the string, and that of a number or boolean that is written like this.
func MetadataFacets(m MetadataEqual) []string {
	facets := []string{stringFacet(m.Path, m.Value)}
	literal := jsontext.Value(m.Value)
	if strings.TrimSpace(m.Value) != m.Value || !literal.IsValid() {
		return facets
	}
	if typed, ok := literalFacet(m.Path, literal); ok {
		facets = append(facets, typed)
	}
	return facets
}

func stringFacet(path []string, value string) string { return metadataFacet(path, "=", value) }

// literalFacet is the facet of a number or a boolean.
func literalFacet(path []string, v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '0':
		return metadataFacet(path, "=#", numberValue(v)), true
	case 't', 'f':
		return metadataFacet(path, "=#", string(v)), true
	default:
		return "", false
	}
}

func metadataFacet(path []string, sign, value string) string {
	facet := strings.Join(path, ".") + sign + value
	// A name with a dot or a sign of ours in it must not pass for a path, nor a value for a name or a number.
	if len(facet) > 100 || strings.ContainsAny(strings.Join(path, ""), ".=") || sign == "=" && strings.HasPrefix(value, "#") {
		sum := sha256.Sum256(fmt.Appendf([]byte(sign[1:]), "%q", append(slices.Clip(path), value)))
		facet = hex.EncodeToString(sum[:])
	}
	return "meta/" + facet
}

func appendMetadataFacets(facets, path []string, v jsontext.Value) []string {
	switch v.Kind() {
	case '{':
		for name, value := range Members(v) {
			facets = appendMetadataFacets(facets, append(slices.Clip(path), name), value)
		}
	case '[':
		for _, element := range Elements(v) {
			facets = appendMetadataFacets(facets, path, element)
		}
	case '"':
		facets = append(facets, stringFacet(path, Unquote(v)))
	default:
		if typed, ok := literalFacet(path, v); ok {
			facets = append(facets, typed)
		}
	}
	return facets
}

// simpleGlob says whether a pattern is a plain name or a name with one star at its end.
func simpleGlob(pattern string) bool {
	i := strings.IndexAny(pattern, "*?")
	return i < 0 || pattern[i] == '*' && i == len(pattern)-1
}

// SearchText is what q searches of a user: the search forms of tag, name and e-mail address, a line
// each, so that no substring runs over from one into the next. A domain in letters beyond ASCII is there
// in its A-label form too.
func SearchText(u *User) string {
	text := u.Tag + "\n" + SearchForm(u.Name) + "\n"
	if u.Email == nil {
		return text
	}
	written, compared := SearchForm(*u.Email), SearchForm(FoldAddress(*u.Email))
	if written != compared {
		compared = written + "\n" + compared
	}
	return text + compared
}

// SCIMFacet is the facet of a value that an identity provider sent; empty for an attribute that has none.
func SCIMFacet(attribute, value string) string {
	switch attribute {
	case "emails.value", "name.formatted", "name.givenName", "name.familyName":
	default:
		return ""
	}
	value = Fold(value)
	if len(value) > 100 {
		sum := sha256.Sum256([]byte(value))
		value = hex.EncodeToString(sum[:])
	}
	return "scim/" + attribute + "=" + value
}

func appendSCIMFacets(facets []string, kept jsontext.Value) []string {
	if len(kept) <= len("{}") {
		return facets
	}
	add := func(attribute string, value jsontext.Value) {
		if facet := SCIMFacet(attribute, ""); facet != "" && value.Kind() == '"' {
			facets = append(facets, SCIMFacet(attribute, Unquote(value)))
		}
	}
	for name, value := range Members(kept) {
		switch {
		case name == "name" && value.Kind() == '{':
			for part, value := range Members(value) {
				add("name."+part, value)
			}
		case name == "emails" && value.Kind() == '[':
			for _, element := range Elements(value) {
				if element.Kind() != '{' {
					continue
				}
				for part, value := range Members(element) {
					add("emails."+part, value)
				}
			}
		}
	}
	return facets
}
