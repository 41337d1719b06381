package architecture_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aiadmin/test/pgtest"
)

// edit is what adding a field changes in one file: text that is put before a line of it.
type edit struct{ file, before, text string }

// aField adds the plain field nickname, as docs/architecture.md says a field is added.
var aField = []edit{
	{"pkg/user/user.go", "	UserName *string", "	Nickname *string\n"},
	{"pkg/user/field.go", "	UserName    Optional[*string]", "	Nickname    Optional[*string]\n"},
	{"pkg/user/field.go", "	plain(\"role\"", `	personal(plain("nickname", func(u *User) **string { return &u.Nickname }, func(p *Patch) *Optional[*string] { return &p.Nickname },
		decodeNullableString, appendOptional, optional(nameRules...))),
`},
	{"pkg/store/model.go", "	UserName           *string ", "	Nickname           *string `bun:\"nickname,type:text\"`\n"},
	{"pkg/store/model.go", "		UserNameKey: u.UserNameKey, Role:", "		Nickname: u.Nickname,\n"},
	{"pkg/store/model.go", "	email, userName, externalID string", "	nickname string\n"},
	{"pkg/store/model.go", "	\"role\":", "	\"nickname\": func(u *decodedUser, v []byte) error { u.Nickname = optionalText(v, &u.nickname); return nil },\n"},
	{"pkg/store/migrations/20991231000001_nickname.tx.up.sql", "", "ALTER TABLE users ADD COLUMN nickname text;\n"},
	{"pkg/httpapi/openapi.yaml", "        userName: {description: What an identity provider calls", "        nickname: {type: [string, \"null\"]}\n"},
	{"pkg/httpapi/openapi.yaml", "        userName: &userNameInput", "        nickname: {type: [string, \"null\"]}\n"},
	{"pkg/httpapi/openapi.yaml", "        userName: *userNameInput", "        nickname: {type: [string, \"null\"]}\n"},
	{"pkg/cloudevent/schemas/user.json", "    \"userName\": ", "    \"nickname\": {\"type\": [\"string\", \"null\"]},\n"},
	{"docs/api.md", "| `userName`", "| `nickname` | 1–200 characters, or `null` | |\n"},
}

// useOfAField is a test of the new field, in the copy: what is written comes back.
const useOfAField = `package store_test

import (
	"testing"

	"aiadmin/pkg/user"
)

func TestNickname(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	nick := "Countess"
	u := ann(t, "ann", func(u *user.User) { u.Nickname = &nick })
	insert(t, s, u)
	got, err := s.Get(t.Context(), user.Ref{ID: u.ID})
	if err != nil || got.Nickname == nil || *got.Nickname != nick {
		t.Fatalf("%v, %v", got, err)
	}
}
`

// TestAddingAField adds a field in a copy of the project and counts what that takes: three Go files, and
// seven in all with its migration, documents and schema.
func TestAddingAField(t *testing.T) {
	t.Parallel()
	copied := copyOf(t, "../..")
	touched, goFiles := map[string]bool{}, 0
	for _, e := range aField {
		e.apply(t, copied)
		if !touched[e.file] && strings.HasSuffix(e.file, ".go") {
			goFiles++
		}
		touched[e.file] = true
	}
	if goFiles > 3 || len(touched) > 7 {
		t.Errorf("%d Go files, %d files in all: %v", goFiles, len(touched), touched)
	}
	if err := os.WriteFile(filepath.Join(copied, "pkg/store/nickname_test.go"), []byte(useOfAField), 0o600); err != nil {
		t.Fatal(err)
	}
	test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "Nickname|SchemasHaveEveryField|FieldRules", "./pkg/user", "./pkg/store", "./pkg/cloudevent")
	test.Dir = copied
	test.Env = append(test.Environ(), pgtest.Environment+"=") // a cluster of its own: its schema is another
	if out, err := test.CombinedOutput(); err != nil {
		t.Errorf("the copy's tests: %v\n%s", err, out)
	}
}

func (e edit) apply(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, e.file)
	before, err := os.ReadFile(path)
	if err != nil && e.before != "" {
		t.Fatal(err)
	}
	after := e.text
	if e.before != "" {
		if strings.Count(string(before), e.before) == 0 {
			t.Fatalf("%s has no line that begins with %q", e.file, e.before)
		}
		after = strings.ReplaceAll(string(before), e.before, e.text+e.before)
	}
	if err := os.WriteFile(path, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyOf copies the Go sources, and what is embedded in them, to a folder that ends with the test.
func copyOf(t *testing.T, root string) string {
	t.Helper()
	to := t.TempDir()
	for _, part := range []string{"go.mod", "go.sum", "pkg", "test/pgtest", "docs/api.md"} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			return copyFile(path, filepath.Join(to, relative))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func copyFile(from, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		return err
	}
	return target.Close()
}
