package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestColumnsAreListedInModels: a list of more than five columns of a table, in a statement or as arguments,
// repeats the table's declaration. It belongs into model.go.
func TestColumnsAreListedInModels(t *testing.T) {
	t.Parallel()
	const most = 5
	var lists []*regexp.Regexp
	for _, columns := range Models() {
		name := `(\w+\.)?(` + strings.Join(columns, "|") + `)(::\w+(\[\])?)?( AS \w+)?`
		lists = append(lists, regexp.MustCompile(`\b`+name+`(,\s*`+name+`){`+strconv.Itoa(most)+`}`))
	}
	searched := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "model.go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), `"github.com/uptrace/bun"`) && !strings.Contains(string(text), "jackc/pgx") {
			return err
		}
		searched++
		for _, list := range stringLists(t, path, text) {
			for _, pattern := range lists {
				if columns := pattern.FindString(list); columns != "" {
					t.Errorf("%s: %s", path, columns)
				}
			}
		}
		return nil
	})
	if err != nil || searched < 10 {
		t.Errorf("%d files searched: %v", searched, err)
	}
}

// stringLists returns a file's string literals, and the arguments of each call and the elements of each list that are
// string literals, joined by commas.
func stringLists(t *testing.T, path string, text []byte) (lists []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	literals := func(expressions []ast.Expr) {
		var joined []string
		for _, e := range expressions {
			if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, _ := strconv.Unquote(literal.Value)
				joined = append(joined, value)
			}
		}
		lists = append(lists, strings.Join(joined, ", "))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			literals([]ast.Expr{n})
		case *ast.CallExpr:
			literals(n.Args)
		case *ast.CompositeLit:
			literals(n.Elts)
		}
		return true
	})
	return lists
}

// TestDecoderHasEveryColumn holds the decoder of users against their model.
func TestDecoderHasEveryColumn(t *testing.T) {
	t.Parallel()
	read := columnsOf(fieldsOf[userRow](schemaOnly(), derivedColumns...))
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(read, "groups"))), slices.Sorted(maps.Keys(decodeUserColumn))); diff != "" {
		t.Errorf("(-model +decoder):\n%s", diff)
	}
}
