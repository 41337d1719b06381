package user

import (
	"errors"
	"strings"
	"testing"
)

// TestMergePatchVectors are the test cases of RFC 7396, appendix A, and some of ours.
func TestMergePatchVectors(t *testing.T) {
	t.Parallel()
	tests := []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{``, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		{`{"a":1}`, `{"a":[{"b":null}]}`, `{"a":[{"b":null}]}`}, // null in an array is a value
		{`{"a":1}`, `{"\u0061":null}`, `{}`},
	}
	for _, test := range tests {
		if got := string(mergePatch([]byte(test.target), []byte(test.patch))); got != test.want {
			t.Errorf("%s with %s: %s, want %s", test.target, test.patch, got, test.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		" { \"b\" : [ 1 , { \"d\":2, \"c\" : 3 } ] ,\n\t\"a\":null } ": `{"a":null,"b":[1,{"c":3,"d":2}]}`,
		`{"\u0062":"\u00e9\/","a":"\u003c\ud83d\udd11"}`:               `{"a":"<🔑","b":"é/"}`,
		`[1.50, -0, 1e9, 1E+09, 100000000000000000001]`:                `[1.50,-0,1e9,1E+09,100000000000000000001]`,
		`{"é":1,"z":2,"A":3,"":4}`:                                     `{"":4,"A":3,"z":2,"é":1}`,
		`["\u001f\"\\\n",true,false,{},[]]`:                            `["\u001f\"\\\n",true,false,{},[]]`,
	} {
		value, err := ParseBody([]byte(`{"x":` + text + `}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, inner := range Members(value) {
			if got := string(canonical(inner)); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
	}
}

// TestMetadataBoundsHoldForWhatIsStored: neither white space nor what a merge removes counts,
// what was there before does.
func TestMetadataBoundsHoldForWhatIsStored(t *testing.T) {
	t.Parallel()
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name, stored, patch string
		problem             []string
	}{
		{"16 KiB", `{}`, `{"a":"` + x(maxMetadataBytes-len(`{"a":""}`)) + `"}`, nil},
		{"one byte more", `{}`, `{"a":"` + x(maxMetadataBytes-len(`{"a":""}`)+1) + `"}`, []string{"metadata " + codeSize}},
		{"white space", `{}`, `{` + strings.Repeat(" ", maxMetadataBytes) + `"a":1}`, nil},
		{"escapes", `{}`, `{"a":"` + strings.Repeat(`\u0078`, 5_000) + `"}`, nil},
		{"with what is stored", `{"a":"` + x(10_000) + `"}`, `{"b":"` + x(10_000) + `"}`, []string{"metadata " + codeSize}},
		{"in place of what is stored", `{"a":"` + x(10_000) + `"}`, `{"a":null,"b":"` + x(10_000) + `"}`, nil},
		{"five deep", `{}`, nested(5), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := stored()
			before.Metadata = []byte(test.stored)
			after, err := parseUpdate(t, `{"metadata":`+test.patch+`}`).Apply(before, Stamp{Now: later})
			wantProblems(t, err, test.problem...)
			if (err == nil) != (after != nil) {
				t.Errorf("user %v with error %v", after, err)
			}
		})
	}
}

func TestMetadataNullEmptiesIt(t *testing.T) {
	t.Parallel()
	after, err := parseUpdate(t, `{"metadata":null}`).Apply(stored(), Stamp{Now: later})
	if err != nil || string(after.Metadata) != "{}" {
		t.Fatalf("%s, %v", after.Metadata, err)
	}
}

// TestMetadataIsRefusedBeforeItIsWalked: a patch over 32 KiB is one problem, whatever is in it, and the
// problems of a smaller one cost no more than their paths.
func TestMetadataIsRefusedBeforeItIsWalked(t *testing.T) {
	t.Parallel()
	large, err := ParseUpdate([]byte(`{"metadata":{"` + strings.Repeat("n", 200_000) + `":[` + strings.Repeat(`"\u0000",`, 20_000) + `1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	wantProblems(t, large.Validate(), "metadata "+codeSize)
	escaped := `{"metadata":{"a":"` + strings.Repeat(`\u00e9`, 8_000) + `",` + strings.Repeat(" ", 10_000) + `"b":1}}`
	if err := parseUpdate(t, escaped).Validate(); err != nil {
		t.Errorf("16 KB are refused for the 58 KB that their escapes take: %v", err)
	}
	small, err := ParseUpdate([]byte(`{"metadata":{"` + strings.Repeat("n", 20_000) + `":[` + strings.Repeat(`[[[[9]]]],`, 1_000) + `1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	known, _ := errors.AsType[*Error](small.Validate())
	if len(known.Problems) != maxProblems {
		t.Errorf("%d problems", len(known.Problems))
	}
}

// TestNumbersAreComparedByValue: a number written differently is no change, one of another value is.
func TestNumbersAreComparedByValue(t *testing.T) {
	t.Parallel()
	before := stored()
	before.Metadata = []byte(`{"a":1,"b":[1.50,{"c":-0.0}],"d":100}`)
	for _, same := range []string{`{"a":1.0}`, `{"a":1e0,"b":[1.5,{"c":0}]}`, `{"d":1E+2}`, `{"d":10.0e1}`, `{"a":0.1e1}`} {
		after, err := parseUpdate(t, `{"metadata":`+same+`}`).Apply(before, Stamp{Now: later})
		if err != nil || after != before {
			t.Errorf("%s is a change: %v", same, err)
		}
	}
	for _, other := range []string{`{"a":-1}`, `{"a":"1"}`, `{"b":[1.5]}`, `{"d":1e3}`, `{"d":1e-2}`, `{"a":1.0000000000000000000001}`} {
		after, err := parseUpdate(t, `{"metadata":`+other+`}`).Apply(before, Stamp{Now: later})
		if err != nil || after == before {
			t.Errorf("%s is no change: %v", other, err)
		}
	}
}
