package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// TestEveryWordIsThere: every key that templates and code name has a text.
func TestEveryWordIsThere(t *testing.T) {
	t.Parallel()
	names, err := files.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:\bt|plural) "([a-z][A-Za-z0-9.]*)"`)
	for _, entry := range names {
		content, err := files.ReadFile("templates/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range named.FindAllStringSubmatch(string(content), -1) {
			_, one := texts()[found[1]]
			_, several := texts()[found[1]+".other"]
			if !one && !several {
				t.Errorf("%s: no text for %s", entry.Name(), found[1])
			}
		}
	}
	var prefixed []string
	for _, prefix := range []string{"field.", "hint."} {
		for _, name := range formFields {
			if name != "role" && name != "status" || prefix == "field." {
				prefixed = append(prefixed, prefix+name)
			}
		}
	}
	for _, action := range []bulkAction{suspendAll, activateAll, deleteAll} {
		for _, part := range []string{"", ".count.one", ".count.other", ".means", ".done", ".one"} {
			prefixed = append(prefixed, "bulk."+string(action)+part)
		}
	}
	for _, status := range []string{"400", "401", "403", "404", "405", "409", "410", "412", "413", "415", "422", "500", "503", "504"} {
		prefixed = append(prefixed, "error."+status)
	}
	for _, key := range prefixed {
		if _, ok := texts()[key]; !ok {
			t.Errorf("no text for %s", key)
		}
	}
	if _, err := templates(); err != nil {
		t.Error(err)
	}
}

// TestMetadataIsPatched: a merge patch turns the stored metadata into what was typed.
func TestMetadataIsPatched(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ stored, typed, patch string }{
		{`{}`, ``, `{}`},
		{`{"a":1}`, `{"a":1}`, `{"a":1}`},
		{`{"a":1,"b":2}`, `{"b":2}`, `{"a":null,"b":2}`},
		{`{"a":{"x":1,"y":2}}`, `{"a":{"y":3}}`, `{"a":{"x":null,"y":3}}`},
		{`{"a":{"x":1}}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"a":[1]}`, `{"a":{"x":1}}`, `{"a":{"x":1}}`},
	} {
		patch, err := form{"metadata": test.typed}.metadata([]byte(test.stored))
		got, _ := json.Marshal(patch)
		if err != nil || string(got) != test.patch {
			t.Errorf("%s to %s: %s %v, want %s", test.stored, test.typed, got, err, test.patch)
		}
	}
	if _, problem := (form{"metadata": "[]"}).metadata([]byte("{}")); problem == nil || problem.Field != "metadata" {
		t.Errorf("a list: %v", problem)
	}
}

// TestSessionsAreSealed: a session of any length comes back from its cookies, and from no others.
func TestSessionsAreSealed(t *testing.T) {
	t.Parallel()
	ring, err := vault.ParseKeyRing(map[string]string{"k1": strings.Repeat("5a", 32), "PRIMARY": "k1"})
	if err != nil {
		t.Fatal(err)
	}
	c := &Console{options: Options{Vault: func() *vault.KeyRing { return ring }}}
	for _, length := range []int{20, 3000, 16_000} {
		kept := session{Token: strings.Repeat("t", length), End: time.Now().Add(time.Hour)}
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, Path, nil)
		if err := c.seal(w, r, sessionCookie, kept, kept.End); err != nil {
			t.Fatal(err)
		}
		for _, cookie := range w.Result().Cookies() {
			if len(cookie.String()) > 4096 {
				t.Errorf("a cookie of %d bytes", len(cookie.String()))
			}
			r.AddCookie(cookie)
		}
		var got session
		if !c.open(r, sessionCookie, &got) || got.Token != kept.Token {
			t.Errorf("%d bytes do not come back", length)
		}
		if c.open(r, signInCookie, &got) {
			t.Error("another cookie's name opens it")
		}
		spoilt := httptest.NewRequest(http.MethodGet, Path, nil)
		first := w.Result().Cookies()[0]
		first.Value = first.Value[:len(first.Value)-6] + "AAAA=="
		spoilt.AddCookie(first)
		if c.open(spoilt, sessionCookie, &got) {
			t.Error("a spoilt cookie opens")
		}
	}
	w := httptest.NewRecorder()
	if err := c.seal(w, httptest.NewRequest(http.MethodGet, Path, nil), sessionCookie, session{Token: strings.Repeat("t", 30_000)}, time.Now()); err == nil {
		t.Error("a token that no browser keeps")
	}
}

// TestPathsStayHere: a form leads nowhere but to the console's own pages.
func TestPathsStayHere(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"": Path, Path + "users?q=a": Path + "users?q=a", "https://evil.example" + Path: Path,
		"//evil.example" + Path: Path, "/elsewhere": Path, Path + `\..`: Path, "javascript:alert(1)": Path} {
		if got := localPath(path); got != want {
			t.Errorf("%q leads to %q", path, got)
		}
	}
}

// TestFailedLinesAreWhole: a record goes with all its lines, and the header with each file.
func TestFailedLinesAreWhole(t *testing.T) {
	t.Parallel()
	const file = "tag,name\r\na,\"A\r\nB\"\r\nb,B\r\nc,\"C \"\"c\"\"\"\r\n"
	if got, want := pickRecords(file, true, map[int]bool{2: true, 5: true}), "tag,name\r\na,\"A\r\nB\"\r\nc,\"C \"\"c\"\"\"\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := pickRecords("tag,name\nok6,\"A\"x\nok7,B\nbad,\"C\n", true, map[int]bool{2: true, 4: true}), "tag,name\r\nok6,\"A\"x\r\nbad,\"C\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := pickRecords("{\"a\":1}\n{\"b\":2}\r\n{\"c\":3}", false, map[int]bool{2: true, 3: true}), "{\"b\":2}\n{\"c\":3}\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzPickRecords: whatever a file holds, its lines are picked without end or panic, and none is made up.
func FuzzPickRecords(f *testing.F) {
	f.Add("tag,name\r\na,\"A\r\nB\"\r\n", 2)
	f.Add("a\"b\n\"\n,,\n", 1)
	f.Fuzz(func(t *testing.T, content string, line int) {
		picked := pickRecords(content, true, map[int]bool{line: true})
		if len(picked) > len(content)+4*strings.Count(content, "\n")+4 {
			t.Errorf("%q from %q", picked, content)
		}
		_ = pickRecords(content, false, map[int]bool{line: true})
	})
}

// TestConflictsKeepBoth: only the fields that somebody changed are that one's.
func TestConflictsKeepBoth(t *testing.T) {
	t.Parallel()
	was := form{"tag": "ada", "name": "Ada", allModels: "on"}
	mine := form{"tag": "ada", "name": "Ada B", allModels: ""}
	if got := mine.changes(was); !slices.Equal(got, []string{"name", "models"}) {
		t.Errorf("%q", got)
	}
	mine.take(map[string][]string{"choose.models": {"theirs"}}, was)
	if got := mine.changes(was); !slices.Equal(got, []string{"name"}) {
		t.Errorf("%q", got)
	}
}

// TestLineBreaksAreNoChange: what a browser does to line breaks is not saved as somebody's change.
func TestLineBreaksAreNoChange(t *testing.T) {
	t.Parallel()
	was := form{"externalId": "cn=a\nou=b\r", "name": "Ada", "models": "\ra \rb\r\rc\nd", "metadata": "{\n}"}
	for _, test := range []struct {
		field, sent string
		want        []string
	}{
		{"externalId", "cn=aou=b", nil},
		{"externalId", "cn=a\nou=b", nil}, // a hidden field keeps them
		{"externalId", "cn=a ou=b", []string{"externalId"}},
		{"models", "a \nb\n\nc\nd", nil},
		{"models", "a\nb\nd", []string{"models"}},
		{"metadata", "{\r\n}", nil},
		{"metadata", "{}", []string{"metadata"}},
	} {
		sent := maps.Clone(was)
		sent[test.field] = test.sent
		if got := sent.changes(was); !slices.Equal(got, test.want) {
			t.Errorf("%s %q: %q, want %q", test.field, test.sent, got, test.want)
		}
	}
}

// TestEveryActionCanBeChosen: the audit log's filter offers each action that entries have.
func TestEveryActionCanBeChosen(t *testing.T) {
	t.Parallel()
	declared, err := os.ReadFile("../user/audit.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`AuditAction = "([a-z.]+)"`).FindAllStringSubmatch(string(declared), -1)
	if len(found) < 10 {
		t.Fatalf("%d actions are declared", len(found))
	}
	for _, action := range found {
		if !slices.Contains(user.AuditActions, user.AuditAction(action[1])) {
			t.Errorf("%s is not offered", action[1])
		}
	}
}

// TestKeysNarrowTheirUser: a key without models is not shown as one that may use all models.
func TestKeysNarrowTheirUser(t *testing.T) {
	t.Parallel()
	all, err := templates()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		models []string
		want   string
	}{{nil, "all of the user&#39;s"}, {[]string{}, "no models"}, {[]string{"gpt-5*"}, "gpt-5*"}} {
		var page strings.Builder
		if err := all.ExecuteTemplate(&page, "key-models", test.models); err != nil || !strings.Contains(page.String(), test.want) {
			t.Errorf("%v, %v: %s, want %s", test.models, err, page.String(), test.want)
		}
	}
}

// TestLongListsShowTheirDifferences: a key among many is not lost among them.
func TestLongListsShowTheirDifferences(t *testing.T) {
	t.Parallel()
	key := func(n int) string { return fmt.Sprintf(`{"id":%d,"name":"%s"}`, n, strings.Repeat("k", 100)) }
	for name, test := range map[string]struct {
		from, to, gone, came string
		same                 int64
	}{
		"a long one": {"[" + key(1) + "," + key(2) + "," + key(3) + "," + key(4) + "," + key(5) + "]", "[" + key(1) + "," + key(7) + "," + key(3) + "," + key(4) + "," + key(5) + "]", "[" + key(2) + "]", "[" + key(7) + "]", 4},
		"short":      {`["a","b"]`, `["a"]`, `["a","b"]`, `["a"]`, 0},
		"a new one":  {`null`, "[" + key(1) + "]", `null`, "[" + key(1) + "]", 0},
		"no list":    {`{"a":"` + strings.Repeat("x", 1000) + `"}`, `{}`, `{"a":"` + strings.Repeat("x", 1000) + `"}`, `{}`, 0},
	} {
		change := fieldChange{From: []byte(test.from), To: []byte(test.to)}
		if change.shorten(); string(change.From) != test.gone || string(change.To) != test.came || change.Same != test.same {
			t.Errorf("%s: %s %s %d", name, change.From, change.To, change.Same)
		}
	}
}
