package user

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Facets are what a user can be found by besides its columns: the providers it holds
// credentials for, the models it may use and the strings in its metadata. One inverted
// index over them serves three filters, and its statistics tell the planner how common
// each facet is, which those of a JSON column do not.
//
//	provider=openai
//	model=gpt-5        a name, or a glob that ends in its only star
//	model~gpt-         a glob of any other form, by what it begins with, to be matched by the listing
//	model~*-mini       the same, by what it ends with, where it begins with a star or ?
//	model=*            all models allowed
//	meta/team=research a string at a path; a long one is replaced by its SHA-256
//	q~ -(              a part of tag, name or e-mail address: see [Seams]
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
	for _, text := range searched(u) {
		seams, _ := Seams(text)
		facets = append(facets, seams...)
	}
	slices.Sort(facets)
	return slices.Compact(facets)
}

// searched are the texts in which q looks for a substring.
func searched(u *User) []string {
	texts := []string{u.Tag, Fold(u.Name)}
	if u.Email != nil {
		texts = append(texts, Fold(*u.Email))
	}
	return texts
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

// MetadataFacet is the facet of a string at a path of metadata.
func MetadataFacet(path []string, value string) string {
	facet := strings.Join(path, ".") + "=" + value
	// A name with a dot or a sign of ours in it must not pass for a path, nor a value for a name.
	if len(facet) > 100 || strings.ContainsAny(strings.Join(path, ""), ".=") {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q", append(slices.Clip(path), value)))
		facet = hex.EncodeToString(sum[:])
	}
	return "meta/" + facet
}

func appendMetadataFacets(facets, path []string, v jsontext.Value) []string {
	switch v.Kind() {
	case '{':
		for name, value := range members(v) {
			facets = appendMetadataFacets(facets, append(slices.Clip(path), name), value)
		}
	case '"':
		facets = append(facets, MetadataFacet(path, text(v)))
	}
	return facets
}

// simpleGlob says whether a pattern is a plain name or a name with one star at its end.
func simpleGlob(pattern string) bool {
	i := strings.IndexAny(pattern, "*?")
	return i < 0 || pattern[i] == '*' && i == len(pattern)-1
}

// LikePattern writes a model glob, in which * stands for any characters and ? for one, as
// a pattern of SQL's LIKE with backslash as its escape.
func LikePattern(glob string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%", "?", "_").Replace(glob)
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
