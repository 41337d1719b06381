package scim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// describe writes a filter with a parenthesis around each part.
func describe(f Filter) string {
	switch f := f.(type) {
	case And:
		return "(" + join(f, " and ") + ")"
	case Or:
		return "(" + join(f, " or ") + ")"
	case Not:
		return "not(" + describe(f.Filter) + ")"
	case ValuePath:
		return f.Path.String() + "[" + describe(f.Filter) + "]"
	case Compare:
		if f.Op == Present {
			return f.Path.String() + " pr"
		}
		if at, ok := f.Value.(time.Time); ok {
			return f.Path.String() + " " + string(f.Op) + " " + at.UTC().Format(time.RFC3339)
		}
		return fmt.Sprintf("%s %s %#v", f.Path, f.Op, f.Value)
	}
	return "?"
}

func join(all []Filter, between string) string {
	parts := make([]string, len(all))
	for i, f := range all {
		parts[i] = describe(f)
	}
	return strings.Join(parts, between)
}

// filters are also the seeds of FuzzFilter.
var filters = []struct {
	name, filter, want string
	groups             bool
}{
	{name: "RFC 7644 §3.4.2.2 eq", filter: `userName eq "bjensen"`, want: `userName eq "bjensen"`},
	{name: "§3.4.2.2 URN", filter: `urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`, want: `userName sw "J"`},
	{name: "§3.4.2.2 sub-attribute", filter: `name.familyName co "O'Malley"`, want: `name.familyName co "O'Malley"`},
	{name: "§3.4.2.2 pr", filter: `title pr`, want: `title pr`},
	{name: "§3.4.2.2 dateTime", filter: `meta.lastModified gt "2011-05-13T04:42:34Z"`, want: `meta.lastModified gt 2011-05-13T04:42:34Z`},
	{name: "§3.4.2.2 ge", filter: `meta.lastModified ge "2011-05-13T06:42:34+02:00"`, want: `meta.lastModified ge 2011-05-13T04:42:34Z`},
	{name: "§3.4.2.2 le and lt", filter: `meta.created le "2011-05-13T04:42:34" or meta.created lt 2011-05-13T04:42:34Z`,
		want: `(meta.created le 2011-05-13T04:42:34Z or meta.created lt 2011-05-13T04:42:34Z)`},
	{name: "§3.4.2.2 and, or", filter: `title pr and userType eq "Employee" or title pr`, want: `((title pr and userType eq "Employee") or title pr)`},
	{name: "§3.4.2.2 schemas", filter: `schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`, want: `schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`},
	{name: "§3.4.2.2 grouping", filter: `userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")`,
		want: `(userType eq "Employee" and (emails.value co "example.com" or emails.value co "example.org"))`},
	{name: "§3.4.2.2 not", filter: `userType ne "Employee" and not (emails co "example.com")`, want: `(userType ne "Employee" and not(emails.value co "example.com"))`},
	{name: "§3.4.2.2 value path", filter: `emails[type eq "work" and value co "@example.com"] or phoneNumbers[type eq "fax" or not (value ew "1")]`,
		want: `(emails[(emails.type eq "work" and emails.value co "@example.com")] or phoneNumbers[(phoneNumbers.type eq "fax" or not(phoneNumbers.value ew "1"))])`},
	{name: "§3.4.2.2 precedence", filter: `title pr or not (title pr) and active eq true`, want: `(title pr or (not(title pr) and active eq true))`},
	{name: "§3.10 extension", filter: `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m"`, want: enterprise + `:manager.value eq "m"`},
	{name: "§3.10 ours", filter: ours + `:requestsPerMinute gt 1e2 and ` + ours + `:models eq "gpt"`, want: `(` + ours + `:requestsPerMinute gt 100 and ` + ours + `:models eq "gpt")`},
	{name: "a complex attribute means its value", filter: enterprise + `:manager eq "m"`, want: enterprise + `:manager.value eq "m"`},
	{name: "null is absent", filter: `title eq null and nickName ne null`, want: `(not(title pr) and nickName pr)`},
	{name: "JSON escapes", filter: `userName eq "\u00e9\"\\\n]"`, want: `userName eq "é\"\\\n]"`},
	{name: "16 value path and sub-attribute", filter: `emails[type eq "work"].value eq "x"`, want: `emails[(emails.type eq "work" and emails.value eq "x")]`},
	{name: "16 and more after it", filter: `emails[type eq "work"].value eq "x" and active eq true`, want: `(emails[(emails.type eq "work" and emails.value eq "x")] and active eq true)`},
	{name: "16 its presence", filter: `emails[type eq "work"].value pr`, want: `emails[(emails.type eq "work" and emails.value pr)]`},
	{name: "16 unquoted", filter: `externalId eq jyoung`, want: `externalId eq "jyoung"`},
	{name: "16 unquoted in parentheses", filter: `(externalId eq 018f-00)and(id eq a@b.c)`, want: `(externalId eq "018f-00" and id eq "a@b.c")`},
	{name: "16 group", filter: `id eq "x" and members eq "y"`, want: `(id eq "x" and members.value eq "y")`, groups: true},
	{name: "18 another case", filter: `USERNAME EQ "A@B.C" AND NOT (Active Eq TRUE) Or EMAILS[TYPE eq "W"] and URN:ietf:params:scim:schemas:core:2.0:USER:NAME.givenname pR`,
		want: `((userName eq "A@B.C" and not(active eq true)) or (emails[emails.type eq "W"] and name.givenName pr))`},
	{name: "19 Test Connection", filter: `displayName eq "9c8d3c3d-1f6b-44f2-8b4a-1d6c9f2a7e11"`, want: `displayName eq "9c8d3c3d-1f6b-44f2-8b4a-1d6c9f2a7e11"`, groups: true},
	{name: "23 a boolean as a string", filter: `active eq "False" or roles[primary eq "True"]`, want: `(active eq false or roles[roles.primary eq true])`},
	{name: "blanks", filter: "  userName\teq  \"a\"   ", want: `userName eq "a"`},
	{name: "models by value", filter: ours + `:models[value sw "gpt"]`, want: ours + `:models[` + ours + `:models sw "gpt"]`},
	{name: "groups of a user", filter: `groups.value eq "g" or groups[display eq "G"]`, want: `(groups.value eq "g" or groups[groups.display eq "G"])`},
}

func TestParseFilter(t *testing.T) {
	t.Parallel()
	for _, test := range filters {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			of := Users
			if test.groups {
				of = Groups
			}
			f, err := of.ParseFilter(test.filter)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(f); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// badFilters are habit 17: an empty answer would make a provider create a duplicate.
var badFilters = []string{
	``, ` `, `userName`, `userName eq`, `userName eq "a`, `userName eq "a\"`, `userName eq "\x"`, `userName eq "\ud800"`, "userName eq \"\xff\"", "externalId eq \xff", `userName eq "a" and`,
	`userName eq "a" or or title pr`, `and title pr`, `userName eq "a" title pr`, `userName eq "a" xor title pr`, `userName like "a"`, `nope eq "a"`, `name.nope eq "a"`, `userName.x eq "a"`,
	`urn:example:x:userName eq "a"`, `urn:ietf:params:scim:schemas:core:2.0:User eq "a"`, `password eq "x"`, `department eq "x"`, `(title pr`, `title pr)`, `()`, `not title pr`, `not`, `not(`,
	`userName gt null`, `displayName co null`, `active gt true`, `active co "t"`, `active eq 1`, `active eq null or active gt null`, `name eq "x"`, `addresses eq "x"`, ours + `:requestsPerMinute eq "1"`, ours + `:requestsPerMinute eq 1.5`,
	ours + `:requestsPerMinute co 1`, ours + `:requestsPerMinute eq 99999999999999999999`, `meta.created eq "yesterday"`, `meta.created co "2026"`, `emails[type eq "work"`, `emails[]`, `emails[nope eq "x"]`,
	`emails[type eq "work"].nope eq "x"`, `emails[type eq "work"].value`, `emails[phoneNumbers[value eq "x"]]`, `emails.value[type eq "x"]`, `userName[value eq "x"]`, `emails[type eq "work"]value eq "x"`,
	`members.value eq "x"`, `userName eq)`, `userName[`, `$ref eq "x"`, `emails[emails.type eq "x"]`,
}

func TestHabit17(t *testing.T) {
	t.Parallel()
	for _, filter := range badFilters {
		t.Run(filter, func(t *testing.T) {
			t.Parallel()
			_, err := Users.ParseFilter(filter)
			wantError(t, err, 400, InvalidFilter)
		})
	}
}

func TestBoundsOfFilters(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("(", n) + "title pr" + strings.Repeat(")", n) }
	terms := func(n int) string { return strings.Repeat("title pr or ", n-1) + "title pr" }
	sized := func(n int) string { return `userName eq "` + strings.Repeat("a", n-len(`userName eq ""`)) + `"` }
	for _, good := range []string{nested(20), terms(100), sized(4096), nested(10) + " or not (" + nested(19) + ")", strings.Repeat("(", 19) + `emails[type pr]` + strings.Repeat(")", 19)} {
		if _, err := Users.ParseFilter(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{nested(21), terms(101), sized(4097), strings.Repeat("(", 4096), strings.Repeat("not(", 1000), strings.Repeat("(", 20) + `emails[type pr]` + strings.Repeat(")", 20)} {
		_, err := Users.ParseFilter(bad)
		wantError(t, err, 400, InvalidFilter)
	}
}

// TestFilterCost is not parallel: allocations are counted for the whole process.
func TestFilterCost(t *testing.T) { //nolint:paralleltest // see above
	got := testing.AllocsPerRun(100, func() { _, _ = Users.ParseFilter(`userName eq "bjensen@example.com"`) })
	if got > 10 {
		t.Errorf("%v allocations for a simple filter", got)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	p := native()
	p.Models, p.Limits.RequestsPerMinute = []string{"gpt-5*", "o3"}, new(int64)
	*p.Limits.RequestsPerMinute = 60
	p.SCIM = []byte(`{"emails":[{"value":"Ada@Example.com","type":"work","primary":true},{"value":"home@b.ca","type":"home"}],"title":"Dr","phoneNumbers":[{"value":"1"}]}`)
	resource := p.Resource(base)
	for filter, want := range map[string]bool{
		`userName eq "ADA@example.com"`: true, `userName ne "x"`: true, `userName ne "ADA@example.com"`: false, `userName co "@EX"`: true, `userName sw "ada"`: true, `userName ew ".COM"`: true,
		`userName gt "a"`: true, `userName lt "B"`: true, `userName ge "ada@example.com"`: true, `userName le "a"`: false,
		`id eq "` + someID + `"`: true, `id eq "` + strings.ToUpper(someID) + `"`: false,
		`externalId eq "x"`: false, `externalId ne "x"`: true, `externalId pr`: false, `externalId eq null`: true, `not (externalId pr)`: true, `externalId gt "a"`: false,
		`active eq true`: true, `active ne true`: false, `active eq "False"`: false, `title pr and active eq true`: true, `title eq "x" or title eq "DR"`: true,
		`name pr`: true, `name.middleName pr`: false, `name.givenName eq "ada"`: true,
		`emails eq "HOME@B.CA"`: true, `emails.type eq "work" and emails.value eq "home@b.ca"`: true, `emails[type eq "work" and value eq "home@b.ca"]`: false,
		`emails[type eq "home"].value eq "home@b.ca"`: true, `emails[type eq "home"].primary eq true`: false, `emails[not (type eq "home")]`: true, `emails.value ne "home@b.ca"`: true,
		`phoneNumbers[type ne "work"]`: true, `phoneNumbers.type eq null`: true, `addresses.type ne "work"`: false, `emails pr`: true, `addresses pr`: false, `emails.display pr`: false,
		ours + `:requestsPerMinute gt 59`: true, ours + `:requestsPerMinute le 59`: false, ours + `:requestsPerMinute eq 60.0`: true, ours + `:requestsPerMinute ne 60`: false, ours + `:tokensPerMinute lt 5`: false,
		ours + `:models eq "o3"`: true, ours + `:models eq "O3"`: false, ours + `:models[value sw "gpt"]`: true,
		`meta.created gt "2026-01-01T00:00:00Z"`: true, `meta.created lt "2026-01-02T04:04:06+01:00"`: true, `meta.created ge "2026-01-02T03:04:06Z"`: false, `meta.resourceType eq "User"`: true,
		`schemas eq "` + ours + `"`: true, `schemas eq "` + enterprise + `"`: false, enterprise + `:department pr`: false, enterprise + `:manager.value ne "x"`: true, `groups.value eq "x"`: false,
	} {
		f, err := Users.ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		} else if got := Matches(f, resource); got != want {
			t.Errorf("%s: %t", filter, got)
		}
	}
}

// paths are also the seeds of FuzzPatchPath.
var paths = []struct{ path, want string }{
	{`userName`, `userName`}, {`NAME.GivenName`, `name.givenName`}, {`emails[type eq "work"]`, `emails[emails.type eq "work"]`},
	{`emails[type eq "work" and value ew "example.com"].display`, `emails.display[(emails.type eq "work" and emails.value ew "example.com")]`},
	{`urn:ietf:params:scim:schemas:core:2.0:User:name.familyName`, `name.familyName`}, {enterprise, enterprise}, {enterprise + `:manager.value`, enterprise + `:manager.value`},
	{strings.ToUpper(ours) + `:MODELS[value eq "x"]`, ours + `:models[` + ours + `:models eq "x"]`}, {`urn:ietf:params:scim:schemas:core:2.0:User`, ``}, {`externalId`, `externalId`},
	{`addresses[type eq "work"].streetAddress`, `addresses.streetAddress[addresses.type eq "work"]`}, {`urn:ietf:params:scim:schemas:core:2.0:User:emails[type eq "work"].value`, `emails.value[emails.type eq "work"]`},
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for _, test := range paths {
		path, err := Users.parsePath(test.path)
		if err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		got := path.String()
		if path.Filter != nil {
			got += "[" + describe(path.Filter) + "]"
		}
		if got != test.want {
			t.Errorf("%s: got %s, want %s", test.path, got, test.want)
		}
	}
	for path, kind := range map[string]Type{
		``: InvalidPath, `nope`: InvalidPath, `name.nope`: InvalidPath, `emails.`: InvalidPath, `.value`: InvalidPath, `name[givenName eq "x"]`: InvalidPath, `emails.value[type eq "x"]`: InvalidPath,
		`emails[type eq "work"].nope`: InvalidPath, `emails[type eq "work"]value`: InvalidPath, `emails[type eq "work"].value.x`: InvalidPath, `urn:example:x:a`: InvalidPath, enterprise + `[x eq 1]`: InvalidPath, enterprise + `:`: InvalidPath,
		`user Name`: InvalidPath, `emails[type eq]`: InvalidFilter, `emails[`: InvalidFilter, `emails[nope eq "x"]`: InvalidFilter, `emails[primary gt true]`: InvalidFilter, strings.Repeat("x", 4097): InvalidFilter,
		`emails[` + strings.Repeat("(", 20) + `type pr` + strings.Repeat(")", 20) + `]`: InvalidFilter,
	} {
		_, err := Users.parsePath(path)
		wantError(t, err, 400, kind)
	}
}
