package validate

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// exportedMetrics reads the product's source for the names it registers: Name in a
// composite literal of client_golang's …Opts, and the arguments of calls such as NewDesc;
// in pkg/relay they follow a constant prefix. A scrape would miss those that have
// counted nothing yet.
func exportedMetrics(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir("../../pkg", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			names = append(names, metricNames(n, filepath.Base(filepath.Dir(path)) == "relay")...)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// metricNames are the names that n gives, which relay writes without their prefix.
func metricNames(n ast.Node, relay bool) (names []string) {
	literal := func(e ast.Expr) {
		if sum, ok := e.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
			e = sum.Y
		}
		basic, ok := e.(*ast.BasicLit)
		if !ok || basic.Kind != token.STRING {
			return
		}
		name, err := strconv.Unquote(basic.Value)
		switch {
		case err != nil:
		case strings.HasPrefix(name, "ai_admin_"):
			names = append(names, name)
		case relay:
			names = append(names, "ai_admin_outbox_"+name)
		}
	}
	switch n := n.(type) {
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Name" {
			literal(n.Value)
		}
	case *ast.CallExpr:
		for _, argument := range n.Args {
			literal(argument)
		}
	}
	return names
}
