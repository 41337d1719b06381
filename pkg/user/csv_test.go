package user

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// roundTrip writes a user as a record and makes a user of that.
func roundTrip(t *testing.T, u *User) *User {
	t.Helper()
	columns, err := ExportColumns()
	if err != nil {
		t.Fatal(err)
	}
	object, err := columns.JSON(columns.Record(nil, u))
	if err != nil {
		t.Fatal(err)
	}
	if object, err = ParseBody(object); err != nil {
		t.Fatal(err)
	}
	how := Import{Mode: ImportCreate}
	change, _, err := how.Command(object)
	if err != nil {
		t.Fatal(err)
	}
	creation, _ := change.(Create)
	if err := creation.Validate(); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	again, err := creation.Apply(0, Stamp{Now: u.CreatedAt})
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// FuzzCSVRoundTrip: strings that look like something else (null, quotes, JSON, formulas) come back as they were.
func FuzzCSVRoundTrip(f *testing.F) {
	for _, s := range []string{"null", `"null"`, `""null""`, `"null`, "a\r\nb", "=1+1", "[1]", "true", " x ", "\ufeff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, userName, value string) {
		clean := func(s string, most int) string {
			s = strings.Map(func(r rune) rune {
				if r == 0 || r == '\uFFFD' {
					return 'x'
				}
				return r
			}, strings.ToValidUTF8(s, "x"))
			if runes := []rune(s); len(runes) > most {
				s = string(runes[:most])
			}
			return s
		}
		externalID, member := clean(userName, 255), clean(value, 500)
		if externalID == "" {
			return
		}
		create := Create{Patch: Patch{Tag: Some("tag"), Name: Some("Name"), ExternalID: Some(&externalID),
			Metadata: Some(jsontext.Value(appendMember([]byte{0x7b}, "x", appendString(nil, member))))}}
		create.Metadata.Value = append(create.Metadata.Value, '}')
		u, err := create.Apply(0, Stamp{Now: time.Unix(0, 0)})
		if err != nil || create.Validate() != nil {
			return // too large, or not an externalId
		}
		if diff := cmp.Diff(string(u.AppendJSON(nil)), string(roundTrip(t, u).AppendJSON(nil))); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
	})
}

func TestColumnsOfMetadata(t *testing.T) {
	t.Parallel()
	columns, err := ExportColumns("team", "n", "missing", "a.b")
	if err != nil {
		t.Fatal(err)
	}
	create, err := ParseCreate([]byte(`{"tag":"t","name":"N","metadata":{"team":"null","n":1.50,"a.b":[1],"other":2},"limits":{"monthlyBudgetUSD":12.5}}`))
	if err != nil {
		t.Fatal(err)
	}
	u, err := create.Apply(0, Stamp{})
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string]string{}
	for i, cell := range columns.Record(nil, u) {
		cells[columns.Names()[i]] = cell
	}
	for name, want := range map[string]string{"metadata.team": "null", "metadata.n": "1.50", "metadata.missing": "", "metadata.a.b": "[1]",
		"limits.monthlyBudgetUSD": "12.5", "limits.tokensPerMinute": "", "models": "", "email": "", "keys": "[]"} {
		if got, ok := cells[name]; !ok || got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, ok := cells["metadata"]; ok {
		t.Error("the whole metadata is there as well")
	}
}

// TestHeader: the error names each column that is wrong.
func TestHeader(t *testing.T) {
	t.Parallel()
	for header, wrong := range map[string][]string{
		"tag,name":                         nil,
		"metadata.a,tag,metadata.b":        nil,
		"tag,tag,name":                     {"tag"},
		"tag,limits,nam":                   {"limits", "nam"},
		"metadata.a,tag,metadata":          nil, // a line may give the one or the other
		"limits.requestsPerMinute,limits.": {"limits."},
	} {
		_, err := ParseColumns(strings.Split(header, ","))
		var names []string
		if known, ok := errors.AsType[*Error](err); ok {
			for _, p := range known.Problems {
				names = append(names, p.Field)
			}
		}
		if !slices.Equal(names, wrong) {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// TestWideHeader: names are not compared each with each, which would keep a core busy for minutes.
func TestWideHeader(t *testing.T) {
	t.Parallel()
	header := make([]string, 150_000)
	for i := range header {
		header[i] = strconv.Itoa(1_000_000 + i)
	}
	begun := time.Now()
	if _, err := ParseColumns(header); KindOf(err) != Invalid {
		t.Errorf("%v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a header of %d names took %v", len(header), took)
	}
}

// TestImportCommands: what a line asks for in each mode.
func TestImportCommands(t *testing.T) {
	t.Parallel()
	const exported = `{"id":"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f","tag":"Ada","name":"A","email":"Ada@x.example","credentials":[{"provider":"openai"}],"keys":[],"groups":[],"version":9,"createdAt":"x","updatedAt":null}`
	for name, test := range map[string]struct {
		how     Import
		line    string
		ref     Ref
		problem string
	}{
		"create":                   {Import{Mode: ImportCreate, Match: "tag"}, exported, Ref{}, ""},
		"by tag":                   {Import{Mode: ImportUpdate, Match: "tag"}, exported, Ref{Tag: "ada"}, ""},
		"by email":                 {Import{Mode: ImportUpsert, Match: "email"}, exported, Ref{Email: "ada@x.example"}, ""},
		"without the match":        {Import{Mode: ImportUpdate, Match: "externalId"}, exported, Ref{}, "externalId"},
		"a match of another type":  {Import{Mode: ImportDelete, Match: "tag"}, `{"tag":7}`, Ref{}, "tag"},
		"an unknown field":         {Import{Mode: ImportDelete, Match: "tag"}, `{"tag":"a","rolle":1}`, Ref{Tag: "a"}, "rolle"},
		"secrets in a list":        {Import{Mode: ImportCreate, Match: "tag"}, `{"tag":"a","name":"A","credentials":[{"provider":"openai","secret":"sk-planted"}]}`, Ref{}, "credentials"},
		"no credentials in a list": {Import{Mode: ImportUpdate, Match: "tag"}, `{"tag":"a","credentials":[1]}`, Ref{Tag: "a"}, "credentials"},
		"all of a credential":      {Import{Mode: ImportCreate, Match: "tag"}, `{"tag":"a","name":"A","credentials":[{"provider":"openai","hint":null,"keyId":"k1","updatedAt":"2026-01-02T03:04:05.000006Z"}]}`, Ref{}, ""},
		"deletions need the match": {Import{Mode: ImportDelete, Match: "tag"}, `{"tag":"a","name":7}`, Ref{Tag: "a"}, ""},
	} {
		body, err := ParseBody([]byte(test.line))
		if err != nil {
			t.Fatal(err)
		}
		change, ref, err := test.how.Command(body)
		if err != nil || ref != test.ref {
			t.Errorf("%s: %+v, %v", name, ref, err)
			continue
		}
		problem := ""
		if err := change.Validate(); err != nil {
			problem = err.Error()
		}
		if (problem == "") != (test.problem == "") || !strings.Contains(problem, test.problem) && !strings.Contains(problem, "*") {
			t.Errorf("%s: %q, want %q", name, problem, test.problem)
		}
		if update, ok := change.(Update); ok && update.ID.Set {
			t.Errorf("%s: the id of another service counts", name)
		}
	}
}
