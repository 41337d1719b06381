package auth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/auth"
)

const someHash = "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B" // of "secret"

func parse(text string) ([]auth.Token, error) {
	return auth.ParseTokens(map[string]string{"tokens.json": text})
}

func TestParseTokens(t *testing.T) {
	t.Parallel()
	got, err := parse(`[{"name":"console","sha256":"` + someHash + `","scopes":["users:read","users:write"]},
		{"scopes":["admin"],"sha256":"` + strings.Repeat("0a", 32) + `","name":"Ünï"}]`)
	want := []auth.Token{
		{Name: "console", SHA256: sha256.Sum256([]byte("secret")), Scopes: []auth.Scope{auth.UsersRead, auth.UsersWrite}},
		{Name: "Ünï", SHA256: [32]byte(bytes.Repeat([]byte{10}, 32)), Scopes: []auth.Scope{auth.Admin}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, files := range map[string]map[string]string{
		"no folder": nil, "no file": {"other": "x"}, "an empty list": {"tokens.json": "[]"},
	} {
		if got, err := auth.ParseTokens(files); err != nil || len(got) > 0 {
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
		{"empty", "", []string{": expected a JSON list"}},
		{"not JSON", "nope", []string{"malformed at byte 1"}},
		{"null", "null", []string{": expected a JSON list"}},
		{"an object", "{}", []string{": expected a JSON list"}},
		{"trailing data", "[] []", []string{"malformed at byte 3"}},
		{"too large", "[" + strings.Repeat(" ", 1<<20) + "]", []string{"at most 1 MiB"}},
		{"invalid UTF-8", `[{"name":"` + "\xff" + `",` + ok + `}]`, []string{"malformed at byte 10"}},
		{"a key twice", `[{"name":"a","name":"b",` + ok + `}]`, []string{"twice"}},
		{"entries of other kinds", `[null,1,"x",[]]`, []string{"[0]: ", "[1]: ", "[2]: ", "[3]: "}},
		{"all missing", `[{}]`, []string{"[0].name: ", "[0].sha256: ", "[0].scopes: "}},
		{"all of the wrong kind", `[{"name":1,"sha256":2,"scopes":"admin"}]`, []string{"[0].name: ", "[0].sha256: ", "[0].scopes: "}},
		{"all null", `[{"name":null,"sha256":null,"scopes":null}]`, []string{"[0].name: ", "[0].sha256: ", "[0].scopes: "}},
		{"unknown keys", `[{"name":"a","Name":"b","note":"c",` + ok + `}]`, []string{`[0]: expected only name, sha256 and scopes, not "Name"`, `not "note"`}},
		{"a token as a key", `[{"` + strings.Repeat("k", 40) + `":1,"name":"a",` + ok + `}]`, []string{"not a key of over 32 bytes"}},
		{"an empty name", `[{"name":"",` + ok + `}]`, []string{"[0].name: "}},
		{"a long name", `[{"name":"` + strings.Repeat("ü", 201) + `",` + ok + `}]`, []string{"[0].name: "}},
		{"a NUL", `[{"name":"a\u0000",` + ok + `}]`, []string{"[0].name: "}},
		{"a name with space around", `[{"name":" a",` + ok + `}]`, []string{"[0].name: "}},
		{"an OIDC caller's name", `[{"name":"oidc:https://x#y",` + ok + `}]`, []string{"[0].name: "}},
		{"the anonymous caller's name", `[{"name":"anonymous",` + ok + `}]`, []string{"[0].name: "}},
		{"a short hash", `[{"name":"a","sha256":"` + someHash[2:] + `","scopes":["admin"]}]`, []string{"[0].sha256: "}},
		{"no hex", `[{"name":"a","sha256":"` + strings.Repeat("zz", 32) + `","scopes":["admin"]}]`, []string{"[0].sha256: "}},
		{"no scopes", `[{"name":"a","sha256":"` + someHash + `","scopes":[]}]`, []string{"[0].scopes: "}},
		{"unknown scopes", `[{"name":"a","sha256":"` + someHash + `","scopes":["root","admin",7]}]`, []string{"[0].scopes[0]: ", "[0].scopes[2]: "}},
		{"duplicates", `[{"name":"a",` + ok + `},{"name":"a",` + ok + `}]`, []string{"[1].name: ", "[1].sha256: "}},
	} {
		tokens, err := parse(test.text)
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
			if !strings.HasPrefix(line, "tokens.json: ") || !strings.Contains(line, test.places[i]) || !strings.Contains(line, "expected") {
				t.Errorf("%s: %q must name the file, %q, and what is expected", test.name, line, test.places[i])
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
		_, err := parse(text)
		if err == nil || strings.Contains(err.Error(), leak) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestNewToken(t *testing.T) {
	t.Parallel()
	plain, made, err := auth.NewToken("ci", auth.UsersRead, auth.EventsSend)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain.Reveal(), "aia_") || plain.Len() != len("aia_")+43 {
		t.Errorf("a token of %d bytes", plain.Len())
	}
	if other, _, _ := auth.NewToken("ci", auth.UsersRead); other.Reveal() == plain.Reveal() {
		t.Error("two tokens are the same")
	}
	encoded, err := json.Marshal([]auth.Token{made})
	if err != nil {
		t.Fatal(err)
	}
	read, err := parse(string(encoded))
	if diff := cmp.Diff([]auth.Token{made}, read); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	a := newAuth(t, auth.Options{Tokens: read})
	if caller, err := a.Authenticate(t.Context(), "Bearer "+plain.Reveal()); err != nil || caller.Name != "ci" || !caller.Can(auth.EventsSend) {
		t.Errorf("%+v, %v", caller, err)
	}
	for _, name := range []string{"", "a\nb", "anonymous", "oidc:x"} {
		if _, _, err := auth.NewToken(name, auth.Admin); err == nil {
			t.Errorf("NewToken(%q) took it", name)
		}
	}
	if _, _, err := auth.NewToken("ci"); err == nil {
		t.Error("NewToken took no scopes")
	}
}

// What is accepted is written back and read again to the same; what is refused names the
// file on each line.
func FuzzParseTokens(f *testing.F) {
	entry := `{"name":"a","sha256":"` + someHash + `","scopes":["admin"]}`
	for _, seed := range []string{"", "[]", "null", "[" + entry + "]", "[" + entry + "," + entry + "]",
		`[{"name":"a\u0000"}]`, `[{"name":"é","sha256":"","scopes":[null]}]`, `[{"a":1,"a":2}]`, "[[[[", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parse(text)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "tokens.json: ") {
					t.Fatalf("%q does not name the file", line)
				}
			}
			return
		}
		encoded, err := json.Marshal(tokens)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(string(encoded))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(tokens) {
			t.Fatalf("%v became %v, %v", tokens, again, err)
		}
	})
}
