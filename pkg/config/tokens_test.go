package config_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
)

const someHash = "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B" // of "secret"

func parseTokens(text string) ([]auth.Token, error) {
	return config.ParseTokens(map[string]string{"tokens.json": text})
}

func TestParseTokens(t *testing.T) {
	t.Parallel()
	got, err := parseTokens(`[{"name":"console","sha256":"` + someHash + `","scopes":["users:read","users:write"],"expiresAt":"2027-01-31T12:00:00+01:00"},
		{"scopes":["admin"],"sha256":"` + strings.Repeat("0a", 32) + `","name":"\u00dcn\u00ef \ud83d\ude00","expiresAt":null}]`)
	want := []auth.Token{
		{Name: "console", SHA256: sha256.Sum256([]byte("secret")), Scopes: []auth.Scope{auth.UsersRead, auth.UsersWrite},
			ExpiresAt: time.Date(2027, 1, 31, 11, 0, 0, 0, time.UTC)},
		{Name: "Ünï 😀", SHA256: [32]byte(bytes.Repeat([]byte{10}, 32)), Scopes: []auth.Scope{auth.Admin}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, files := range map[string]map[string]string{
		"no folder": nil, "no file": {"other": "x"}, "an empty list": {"tokens.json": "[]"},
	} {
		if got, err := config.ParseTokens(files); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestParseTokensNamesEveryProblem(t *testing.T) {
	t.Parallel()
	ok := `"sha256":"` + someHash + `","scopes":["admin"]`
	for _, test := range []struct {
		name, text string
		places     []string // one problem each, in order
	}{
		{"empty", "", []string{": must be a JSON list of {name, sha256, scopes}: it is malformed at line 1"}},
		{"not JSON", "nope", []string{"malformed at line 1"}},
		{"null", "null", []string{":1: the file: must be a list"}},
		{"an object", "{}", []string{":1: the file: must be a list"}},
		{"trailing data", "[]\n[]", []string{"malformed at line 2"}},
		{"YAML", "- name: a", []string{"malformed at line 1"}},
		{"a comment", "[] # none", []string{"malformed at line 1"}},
		{"too large", "[" + strings.Repeat(" ", 1<<20) + "]", []string{"at most 1048576 bytes"}},
		{"invalid UTF-8", `[{"name":"` + "\xff" + `",` + ok + `}]`, []string{"must be UTF-8"}},
		{"a key twice", "[\n{\"name\":\"a\",\n\"name\":\"b\"," + ok + `}]`, []string{":3: [0].name: must appear only once"}},
		{"entries of other kinds", "[null,\n1,\"x\",[]]", []string{":1: [0]: ", ":2: [1]: ", ":2: [2]: ", ":2: [3]: "}},
		{"all missing", `[{}]`, []string{"[0].name: is missing", "[0].sha256: is missing", "[0].scopes: is missing"}},
		{"all of the wrong kind", `[{"name":1,"sha256":2,"scopes":"admin"}]`, []string{"[0].name: ", "[0].sha256: ", "[0].scopes: "}},
		{"all null", `[{"name":null,"sha256":null,"scopes":null}]`, []string{"[0].name: ", "[0].sha256: ", "[0].scopes: "}},
		{"unknown keys", `[{"name":"a","Name":"b","note":"c",` + ok + `}]`,
			[]string{`[0].Name: unknown key; the keys here are expiresAt, name, scopes, sha256`, `[0].note: unknown key`}},
		{"a token as a key", `[{"` + strings.Repeat("k", 40) + `":1,"name":"a",` + ok + `}]`, []string{"a key of over 32 bytes: unknown key"}},
		{"an empty name", `[{"name":"",` + ok + `}]`, []string{"[0].name: "}},
		{"a long name", `[{"name":"` + strings.Repeat("ü", 201) + `",` + ok + `}]`, []string{"[0].name: "}},
		{"a NUL", `[{"name":"a\u0000",` + ok + `}]`, []string{"[0].name: "}},
		{"a name with space around", `[{"name":" a",` + ok + `}]`, []string{"[0].name: "}},
		{"an OIDC caller's name", `[{"name":"oidc:https://x#y",` + ok + `}]`, []string{"[0].name: "}},
		{"the anonymous caller's name", `[{"name":"anonymous",` + ok + `}]`, []string{"[0].name: "}},
		{"a short hash", `[{"name":"a","sha256":"` + someHash[2:] + `","scopes":["admin"]}]`, []string{"[0].sha256: "}},
		{"no hex", `[{"name":"a","sha256":"` + strings.Repeat("zz", 32) + `","scopes":["admin"]}]`, []string{"[0].sha256: "}},
		{"no scopes", `[{"name":"a","sha256":"` + someHash + `","scopes":[]}]`, []string{"[0].scopes: "}},
		{"unknown scopes", `[{"name":"a","sha256":"` + someHash + `","scopes":["root","admin",7]}]`,
			[]string{"[0].scopes[0]: must be one of users:read, users:write", "[0].scopes[2]: "}},
		{"an expiry without a zone", `[{"name":"a","expiresAt":"2027-01-31T00:00:00",` + ok + `}]`, []string{"[0].expiresAt: must be a time in RFC 3339"}},
		{"an expiry that is a date", `[{"name":"a","expiresAt":"2027-01-31",` + ok + `}]`, []string{"[0].expiresAt: "}},
		{"an expiry that is a number", `[{"name":"a","expiresAt":1801350000,` + ok + `}]`, []string{"[0].expiresAt: "}},
		{"duplicates", `[{"name":"a",` + ok + `},{"name":"a",` + ok + `}]`, []string{"[1].name: ", "[1].sha256: "}},
	} {
		tokens, err := parseTokens(test.text)
		if err == nil || tokens != nil {
			t.Errorf("%s: %v, %v", test.name, tokens, err)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(test.places) {
			t.Errorf("%s: want %d problems, got\n%v", test.name, len(test.places), err)
			continue
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, "tokens.json:") || !strings.Contains(line, test.places[i]) {
				t.Errorf("%s: %q must name the file, and %q", test.name, line, test.places[i])
			}
		}
	}
}

// A plain token where its hash belongs is the likeliest mistake, and must not be logged.
func TestParseTokensShowsNoValue(t *testing.T) {
	t.Parallel()
	const leak = "aia_leaked"
	for _, text := range []string{
		`[{"name":"a","sha256":"` + leak + `","scopes":["` + leak + `"]}]`,
		`[{"name":"` + leak + `\u0000","sha256":"` + leak + `"}]`,
		leak, `"` + leak + `"`, `["` + leak + `"]`, `[{"a":"` + leak + `" x}]`, `{"` + leak + `":1,"` + leak + `":2}`,
		`[{"` + strings.Repeat(leak, 5) + `":1}]`,
	} {
		_, err := parseTokens(text)
		if err == nil || strings.Contains(err.Error(), leak) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Accepted entries survive being written and read again; a refusal names the file on each line.
func FuzzParseTokens(f *testing.F) {
	entry := `{"name":"a","sha256":"` + someHash + `","scopes":["admin"]}`
	for _, seed := range []string{"", "[]", "null", "[" + entry + "]", "[" + entry + "," + entry + "]",
		`[{"name":"a\u0000"}]`, `[{"name":"é","sha256":"","scopes":[null]}]`, `[{"a":1,"a":2}]`, "[[[[", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parseTokens(text)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "tokens.json:") {
					t.Fatalf("%q does not name the file", line)
				}
			}
			return
		}
		encoded, err := json.Marshal(tokens)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseTokens(string(encoded))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(tokens) {
			t.Fatalf("%v became %v, %v", tokens, again, err)
		}
	})
}
