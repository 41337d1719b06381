package user

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wild matches by definition, a rune at a time: many stands for any runes, one for a single one.
func wild(pattern, s []rune, many, one rune) bool {
	switch {
	case len(pattern) == 0:
		return len(s) == 0
	case pattern[0] == many:
		return wild(pattern[1:], s, many, one) || len(s) > 0 && wild(pattern, s[1:], many, one)
	default:
		return len(s) > 0 && (pattern[0] == one || pattern[0] == s[0]) && wild(pattern[1:], s[1:], many, one)
	}
}

func randomText(alphabet string, most int) string {
	runes := []rune(alphabet)
	out := make([]rune, 1+rand.IntN(most))
	for i := range out {
		out[i] = runes[rand.IntN(len(runes))]
	}
	return string(out)
}

// TestModelsAreFoundAsTheirGlobsSay compares the facets that find a user by a model with a matcher by
// definition. Globs of other forms are matched by SQL: tests of pkg/store compare those.
func TestModelsAreFoundAsTheirGlobsSay(t *testing.T) {
	t.Parallel()
	matches := 0
	for range 20_000 {
		pattern, model := randomText(`abé**?%_\`, 5), randomText(`abé%_\`, 5)
		want := wild([]rune(pattern), []rune(model), '*', '?')
		facets := Facets(&User{Models: []string{pattern}, Metadata: emptyObject})
		if strings.HasPrefix(facets[0], "model~") {
			if simpleGlob(pattern) {
				t.Fatalf("%q is called complex", pattern)
			}
			if want && !slices.Contains(GlobFacets(model), facets[0]) {
				t.Fatalf("%q matches %q, which is not looked for under %q", pattern, model, facets[0])
			}
			continue
		}
		if got := slices.ContainsFunc(ModelFacets(model), func(f string) bool { return slices.Contains(facets, f) }); got != want {
			t.Fatalf("the facets of %q find %q: %t, want %t", pattern, model, got, want)
		}
		if want {
			matches++
		}
	}
	if matches < 100 {
		t.Fatalf("only %d matches: the test looked at nothing", matches)
	}
}

func TestAllModelsOrNone(t *testing.T) {
	t.Parallel()
	found := func(models []string) bool {
		facets := Facets(&User{Models: models, Metadata: emptyObject})
		return slices.ContainsFunc(ModelFacets("gpt-5"), func(f string) bool { return slices.Contains(facets, f) })
	}
	if !found(nil) || found([]string{}) || !found([]string{"*"}) || found([]string{"gpt-5-mini"}) {
		t.Errorf("all %t, none %t, star %t, another %t", found(nil), found([]string{}), found([]string{"*"}), found([]string{"gpt-5-mini"}))
	}
}

func TestFacets(t *testing.T) {
	t.Parallel()
	u := stored()
	u.Models = []string{"gpt-5*", "a?", "b*c", "gpt-5*", "*-?-mini"}
	u.Metadata = []byte(`{"n":1,"list":["x"],"none":null,"org":{"unit":"lab"},"team":"research"}`)
	want := []string{"meta/list=x", "meta/n=#1e0", "meta/org.unit=lab", "meta/team=research", "model=gpt-5*", "model~*-mini", "model~a", "model~b", "provider=anthropic", "provider=openai", "q~a@e", "q~e.c"}
	if diff := cmp.Diff(want, Facets(u)); diff != "" {
		t.Error(diff)
	}
}

// TestMetadataIsFoundByValue: a string matches as it is, a number by its value, a boolean as JSON writes it,
// and an element of a list at the list's path.
func TestMetadataIsFoundByValue(t *testing.T) {
	t.Parallel()
	for document, found := range map[string]map[string]bool{
		`{"a":7}`:                       {"7": true, "7.0": true, "70e-1": true, "07": false, "+7": false, " 7": false, "#7e0": false, "8": false},
		`{"a":"7"}`:                     {"7": true, "7.0": false},
		`{"a":-0.50}`:                   {"-0.5": true, "-5e-1": true, "0.5": false},
		`{"a":true}`:                    {"true": true, "True": false, "#true": false},
		`{"a":"#true"}`:                 {"true": false, "#true": true},
		`{"a":null}`:                    {"null": false, "": false},
		`{"a":[1,["b"],{}]}`:            {"1": true, "b": true, "2": false},
		`{"a":12345678901234567890123}`: {"12345678901234567890123": true, "12345678901234567890124": false},
	} {
		facets := Facets(&User{Metadata: []byte(document)})
		for value, want := range found {
			got := slices.ContainsFunc(MetadataFacets(MetadataEqual{[]string{"a"}, value}), func(f string) bool { return slices.Contains(facets, f) })
			if got != want {
				t.Errorf("%s, asked for %q: %t", document, value, got)
			}
		}
	}
}

// TestMetadataFacetsDoNotCollide: what differs in path or value differs as a facet, and all are short.
func TestMetadataFacetsDoNotCollide(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	conditions := []MetadataEqual{{[]string{"a", "b"}, "c"}, {[]string{"a.b"}, "c"}, {[]string{"a", "b=c"}, ""}, {[]string{"a"}, "b=c"}, {[]string{"a=b"}, "c"},
		{[]string{"a", "b"}, "c="}, {[]string{"a", "b="}, "c"}, {[]string{"a"}, long}, {[]string{"a"}, long + "x"}, {[]string{"b"}, long},
		{[]string{long}, "a"}, {[]string{long, "a"}, ""}, {[]string{long}, ""}, {[]string{long[:100], long[100:]}, ""}, {[]string{""}, ""}, {[]string{"", ""}, ""},
		{[]string{"."}, ""}, {[]string{"a b"}, "c"}, {[]string{"a", " b"}, "c"}, {[]string{`a" "b.`}, "c"}, {[]string{"a", "b."}, "c"}}
	seen := map[string]MetadataEqual{}
	for _, c := range conditions {
		facet := stringFacet(c.Path, c.Value)
		if other, ok := seen[facet]; ok {
			t.Errorf("%q and %q share %s", c, other, facet)
		}
		seen[facet] = c
		if len(facet) > len("meta/")+100 {
			t.Errorf("%q has a facet of %d bytes", c, len(facet))
		}
	}
	for range 20_000 {
		c := MetadataEqual{strings.Split(randomText("a.=/", 4), "/"), randomText("a.=", 3)}
		facet := stringFacet(c.Path, c.Value)
		if other, ok := seen[facet]; ok && !cmp.Equal(other, c) {
			t.Fatalf("%q and %q share %s", c, other, facet)
		}
		seen[facet] = c
	}
}

// TestAConditionFindsWhatIsStored reaches each string by the path that a listing would split.
func TestAConditionFindsWhatIsStored(t *testing.T) {
	t.Parallel()
	u := &User{Metadata: mergePatch(nil, []byte(`{"a":{"b":{"c":{"d":{"e":"`+strings.Repeat("é", 300)+`"}}}},"\u0062":"\u00e9=."}`))}
	facets := Facets(u)
	for _, c := range []MetadataEqual{{[]string{"a", "b", "c", "d", "e"}, strings.Repeat("é", 300)}, {[]string{"b"}, "é=."}} {
		if !slices.Contains(facets, stringFacet(c.Path, c.Value)) {
			t.Errorf("%q is not among %q", c, facets)
		}
	}
}

// TestASearchByFacetsFindsEverySubstring: whatever holds a text holds its facets, and a text that has
// nothing but facets is one that has none of the windows that pg_trgm extracts.
func TestASearchByFacetsFindsEverySubstring(t *testing.T) {
	t.Parallel()
	searches := 0
	for range 20_000 {
		text := []rune(randomText("ab1-. é", 12))
		i, j := rand.IntN(len(text)+1), rand.IntN(len(text)+1)
		part := SearchForm(string(text[min(i, j):max(i, j)]))
		parts, all := SearchFacets(part)
		facets := Facets(&User{Tag: "x", Name: string(text), Metadata: emptyObject})
		for _, facet := range parts {
			if !slices.Contains(facets, facet) {
				t.Fatalf("%q is in %q, whose facets %q lack %q", part, string(text), facets, facet)
			}
		}
		if windows := max(0, len([]rune(part))-2); all != (windows > 0 && len(parts) == windows) {
			t.Fatalf("%q has the facets %q, all = %t", part, parts, all)
		}
		if all {
			searches++
		}
	}
	if searches < 1000 {
		t.Errorf("only %d searches went by facets", searches)
	}
	for text, want := range map[string][]string{"--": nil, "ab-": nil, "a.b": {"q~a.b"}, "a.b.": {"q~a.b", "q~.b."}, "n.ra": {"q~n.r"}, "---": {"q~---"}, "a--": {"q~a--"}, "-é-a": {"q~-é-", "q~é-a"}, "мир": {"q~мир"},
		"小龍": {"q~小龍"}, "小a": nil, "龍": nil, "한글": {"q~한글"}, "李小龍": {"q~李小龍"}} {
		if got, _ := SearchFacets(text); !cmp.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
