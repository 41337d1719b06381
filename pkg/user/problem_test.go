package user

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// TestProblemsAreBoundedInBytes: whatever a body is full of, its problems are no larger than 64 KiB.
func TestProblemsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	for name, field := range map[string]string{"long": strings.Repeat("x", 300), "quotes": strings.Repeat(`"`, 200), "controls": strings.Repeat("\x01", 200),
		"wide": strings.Repeat("語", 200), "astral": strings.Repeat("😀", 200), "no UTF-8": strings.Repeat("\xff", 200), "short": "x"} {
		var problems Problems
		for i := range 20_000 {
			problems.Add(fmt.Sprint(i, field), codeUnknown, "%s", strings.Repeat("m", i%1000))
		}
		encoded, err := json.Marshal(problems, jsontext.AllowInvalidUTF8(true))
		if err != nil || len(encoded) > 64<<10 || len(problems) != maxProblems {
			t.Errorf("%s: %d problems, %d bytes, %v", name, len(problems), len(encoded), err)
		}
		for _, p := range problems {
			if quoted, _ := json.Marshal(p.Field, jsontext.AllowInvalidUTF8(true)); len(quoted)-2 > 256 {
				t.Errorf("%s: a field of %d bytes", name, len(quoted)-2)
			}
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "12345678": "12345678", "123456789": "12345…", "éééé": "éééé", "ééééé": "éé…", "\x00\x00": "…", "12345\xff": "12345\xff", "1\xff\xff\xff": "1\xff…", `""""`: `""""`, `"""""`: `""…`} {
		if got := cut(text, 8); got != want || utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("cut(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestNoMadeUpNameIsLogged: who swaps a name and its value sends a secret for a name. The answer
// tells which name it was, unless it stood under credentials, the text of the error, which is logged, does not.
func TestNoMadeUpNameIsLogged(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"sk-Live":"openai","role":"no"}`:                   "VALIDATION_ERROR: 2 fields are invalid: * is not a field of a user; role must be admin, member, viewer or service",
		`{"credentials":{"sk-Live":"openai"}}`:               "VALIDATION_ERROR: 1 field is invalid: credentials.* ",
		`{"limits":{"sk-Live":1,"tokensPerMinute":"x"}}`:     "VALIDATION_ERROR: 2 fields are invalid: limits.* is not a limit: use requestsPerMinute, tokensPerMinute or monthlyBudgetUSD; limits.tokensPerMinute must be a number, or null for no limit",
		`{"metadata":{"sk-Live\u0000":1},"sk-Live\u0000":1}`: "VALIDATION_ERROR: ",
	} {
		u, err := ParseUpdate([]byte(body))
		if err == nil {
			err = u.Validate()
		}
		if err == nil {
			t.Fatalf("%s is no problem", body)
		}
		if got := err.Error(); !strings.HasPrefix(got, want) || strings.Contains(got, "sk-Live") {
			t.Errorf("%s is logged as (-want +got):\n%s", body, cmp.Diff(want, got))
		}
		if told := strings.Join(fieldCodes(t, err), " "); strings.Contains(told, "sk-Live") == strings.Contains(body, "credentials") {
			t.Errorf("%s is answered with %s", body, told)
		}
	}
	if _, err := ParseColumns([]string{"ada", "sk-Live", "sk-Live", "sk-Live\xff"}); err == nil || strings.Contains(err.Error(), "sk-Live") {
		t.Errorf("a file without a header is logged as %v", err)
	}
}
