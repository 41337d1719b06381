package user

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/secret"
)

const (
	required   = "validation_required"
	notMatched = "validation_match_invalid"
	lengthOut  = "validation_length_out_of_range"
	tooLong    = "validation_length_too_long"
	notInList  = "validation_in_invalid"
	notEmail   = "validation_is_email"
	notUUID    = "validation_is_uuid"
)

// nested makes an object of this many levels.
func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + `{}` + strings.Repeat(`}`, levels-1)
}

func quotedList(n int) string {
	return `[` + strings.TrimSuffix(strings.Repeat(`"m",`, n), ",") + `]`
}

// TestFieldRules holds each rule at its limit and one past it.
func TestFieldRules(t *testing.T) {
	t.Parallel()
	text := func(s string, n int) string { return `"` + strings.Repeat(s, n) + `"` }
	tests := []struct{ field, value, problem string }{
		{"tag", text("a", 63), ""}, {"tag", text("a", 64), "tag " + notMatched}, {"tag", `""`, "tag " + required},
		{"tag", `"a"`, ""}, {"tag", `"A.b_C-9"`, ""}, {"tag", `".a"`, "tag " + notMatched}, {"tag", `"a-"`, "tag " + notMatched},
		{"tag", `"a b"`, "tag " + notMatched}, {"tag", `"a\n"`, "tag " + notMatched}, {"tag", `"\u212a"`, "tag " + notMatched},
		{"tag", `null`, "tag " + codeNull}, {"tag", `1`, "tag " + codeType}, {"tag", `"a\u0000"`, "tag " + codeNUL},
		{"name", text("é", 200), ""}, {"name", text("é", 201), "name " + lengthOut}, {"name", `""`, "name " + required},
		{"name", `"a\u007f"`, "name validation_control_character"}, {"name", `"a\u0085b"`, "name validation_control_character"},
		{"name", `"\u0000"`, "name " + codeNUL}, {"name", `{}`, "name " + codeType}, {"name", `"a\u2028"`, ""},
		{"email", `"` + strings.Repeat("a", 60) + "@" + strings.Repeat("b.", 91) + strings.Repeat("c", 11) + `"`, ""},
		{"email", `"` + strings.Repeat("a", 60) + "@" + strings.Repeat("b.", 91) + strings.Repeat("c", 12) + `"`, "email " + lengthOut},
		{"email", `""`, "email " + notEmail}, {"email", `"a"`, "email " + notEmail}, {"email", `"a@b@c.d"`, "email " + notEmail},
		{"email", `"A <a@b.example>"`, "email " + notEmail}, {"email", `null`, ""}, {"email", `true`, "email " + codeType},
		{"role", `"service"`, ""}, {"role", `"Admin"`, "role " + notInList}, {"role", `""`, "role " + required}, {"role", `null`, "role " + codeNull},
		{"status", `"suspended"`, ""}, {"status", `"gone"`, "status " + notInList}, {"status", `[]`, "status " + codeType},
		{"models", `null`, ""}, {"models", `[]`, ""}, {"models", quotedList(100), ""}, {"models", quotedList(101), "models " + tooLong},
		{"models", `["a",` + text("é", 128) + `]`, ""}, {"models", `["a",` + text("é", 129) + `]`, "models[1] " + lengthOut},
		{"models", `["a",""]`, "models[1] " + required}, {"models", `[null]`, "models[0] " + codeNull}, {"models", `[1]`, "models[0] " + codeType},
		{"models", `["\u0000"]`, "models[0] " + codeNUL}, {"models", `"a"`, "models " + codeType},
		{"limits", `null`, ""}, {"limits", `{}`, ""}, {"limits", `[]`, "limits " + codeType}, {"limits", `{"x":1}`, "limits.x " + codeUnknown},
		{"limits", `{"tokensPerMinute":"1"}`, "limits.tokensPerMinute " + codeType}, {"limits", `{"tokensPerMinute":null}`, ""},
		{"credentials", `null`, ""}, {"credentials", `{}`, ""}, {"credentials", `[]`, "credentials " + codeType},
		{"credentials", `{` + text("a", 63) + `:"s"}`, ""}, {"credentials", `{` + text("a", 64) + `:"s"}`, "credentials.* " + notMatched},
		{"credentials", `{"":"s"}`, "credentials.* " + notMatched}, {"credentials", `{"A":null}`, "credentials.* " + notMatched},
		{"credentials", `{"a":""}`, "credentials.a " + lengthOut}, {"credentials", `{"a":` + text("x", 4096) + `}`, ""},
		{"credentials", `{"a":` + text("x", 4097) + `}`, "credentials.a " + lengthOut}, {"credentials", `{"a":` + text("é", 2049) + `}`, "credentials.a " + lengthOut},
		{"credentials", `{"a":"x\u0000"}`, "credentials.a " + codeNUL}, {"credentials", `{"a":{}}`, "credentials.a " + codeType},
		{"metadata", `null`, ""}, {"metadata", `[]`, "metadata " + codeType}, {"metadata", `"x"`, "metadata " + codeType},
		{"metadata", nested(5), ""}, {"metadata", nested(6), "metadata.a.a.a.a.a " + codeDepth},
		{"metadata", `{"a":[[[[1]]]]}`, ""}, {"metadata", `{"a":[[[1,[[]]]]]}`, "metadata.a[0][0][1][0] " + codeDepth},
		{"metadata", `{"a":["\u0000"]}`, "metadata.a[0] " + codeNUL}, {"metadata", `{"a":{"\u0000":1}}`, "metadata.a " + codeNUL},
		{"metadata", `{"a":1e309}`, "metadata.a " + codeRange}, {"metadata", `{"a":1e308}`, ""},
		{"externalId", text("é", 255), ""}, {"externalId", text("é", 256), "externalId " + tooLong}, {"externalId", `null`, ""},
		{"externalId", `0`, "externalId " + codeType}, {"externalId", `"\u0000"`, "externalId " + codeNUL},
		{"id", `"018F0000-0000-7000-8000-000000000001"`, ""}, {"id", `"018f0000000070008000000000000001"`, "id " + notUUID},
		{"id", `"{018f0000-0000-7000-8000-000000000001}"`, "id " + notUUID}, {"id", `"00000000-0000-0000-0000-000000000000"`, "id " + notUUID},
		{"id", `null`, "id " + codeNull}, {"id", `"urn:uuid:018f0000-0000-7000-8000-000000000001"`, "id " + notUUID},
		{"version", `1`, "version " + codeReadOnly}, {"createdAt", `null`, "createdAt " + codeReadOnly}, {"updatedAt", `""`, "updatedAt " + codeReadOnly},
		{"Tag", `"a"`, "Tag " + codeUnknown}, {"", `1`, " " + codeUnknown},
	}
	for _, test := range tests {
		body := fmt.Sprintf(`{%q:%s}`, test.field, test.value)
		t.Run(fmt.Sprintf("%.60s", body), func(t *testing.T) {
			t.Parallel()
			update, err := ParseUpdate([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if test.problem != "" {
				want = []string{test.problem}
			}
			wantProblems(t, update.Validate(), want...)
		})
	}
}

// TestEveryProblemIsToldAtOnce also holds that one field's fault hides no other's.
func TestEveryProblemIsToldAtOnce(t *testing.T) {
	t.Parallel()
	create, err := ParseCreate([]byte(`{"tag":"-","email":"x","role":"boss","status":7,"models":["a",1,""],
		"limits":{"requestsPerMinute":-1,"tokensPerMinute":1.5,"monthlyBudgetUSD":0.001,"x":0},
		"credentials":{"A":"","b":1},"metadata":{"a":{"b":{"c":{"d":{"e":{}}}}},"n":1e999},"externalId":[],"id":"x","version":2,"nope":1}`))
	if err != nil {
		t.Fatal(err)
	}
	got := fieldCodes(t, create.Validate())
	slices.Sort(got)
	want := []string{"tag " + notMatched, "name " + required, "email " + notEmail, "role " + notInList, "status " + codeType,
		"models[1] " + codeType, "models[2] " + required, "limits.requestsPerMinute " + codeMin, "limits.tokensPerMinute " + codePlaces,
		"limits.monthlyBudgetUSD " + codePlaces, "limits.x " + codeUnknown, "credentials.* " + notMatched,
		"credentials.b " + codeType, "metadata.a.b.c.d.e " + codeDepth, "metadata.n " + codeRange, "externalId " + codeType, "id " + notUUID,
		"version " + codeReadOnly, "nope " + codeUnknown}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestACreationNeedsATagAndAName(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{}`:                    {"tag " + required, "name " + required},
		`{"tag":null,"name":1}`: {"tag " + codeNull, "name " + codeType},
		// An unknown member must not pass for the missing one.
		`{"tag.x":1,"name[0]":1}`: {"tag.x " + codeUnknown, "name[0] " + codeUnknown, "tag " + required, "name " + required},
	} {
		create, err := ParseCreate([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		wantProblems(t, create.Validate(), want...)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, `,"x%d":0`, i)
	}
	update, err := ParseUpdate([]byte("{" + body.String()[1:] + "}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fieldCodes(t, update.Validate()); len(got) != maxProblems {
		t.Errorf("%d problems told, want %d", len(got), maxProblems)
	}
}

func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, ` `, `null`, `[]`, `"a"`, `1`, `{`, `{"a":}`, `{"a":1,}`, `{"a":1}{}`, `{"a":1} x`, `{"a":1,"a":1}`,
		`{"metadata":{"a":{"b":1,"b":2}}}`, `{"metadata":[{"a":1,"\u0061":2}]}`, "{\"a\":\"\xff\"}", "{\"\xc3\":1}", `{"a":"\ud800"}`,
		`{"a":"\udc00\ud800"}`, "{\"a\":\"\n\"}", `{'a':1}`, `{"a":01}`, `{"a":+1}`, `{"a":NaN}`, "\ufeff{}", `{"a":"\x"}`, "{}\x00"} {
		_, created := ParseCreate([]byte(body))
		_, updated := ParseUpdate([]byte(body))
		if created == nil || KindOf(created) != Malformed || updated == nil || KindOf(updated) != Malformed {
			t.Errorf("%q: %v, %v; want %s", body, created, updated, Malformed)
		}
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	for plain, want := range map[string]string{"": "", "01234567890": "", "012345678901": "8901", "ééééééééééé": "", "éééééééééÜßñ🔑": "Üßñ🔑"} {
		got := hintOf(secret.New(plain))
		if (got == nil) != (want == "") || got != nil && *got != want {
			t.Errorf("%q: hint %v, want %q", plain, got, want)
		}
	}
}
