package user

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
}
