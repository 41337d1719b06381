package request

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aiadmin/pkg/user"
)

func TestSourceIP(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"no proxy":                             {"203.0.113.9:80", nil, "203.0.113.9"},
		"a client's own header":                {"203.0.113.9:80", []string{"192.0.2.1"}, "203.0.113.9"},
		"behind a sidecar":                     {"127.0.0.1:80", []string{"192.0.2.1"}, "192.0.2.1"},
		"a made-up hop before the true one":    {"127.0.0.1:80", []string{"1.2.3.4, 192.0.2.1, 10.0.0.7"}, "192.0.2.1"},
		"several header lines":                 {"[::1]:80", []string{"1.2.3.4", "192.0.2.1", "10.0.0.7"}, "192.0.2.1"},
		"from within the cluster":              {"127.0.0.1:80", []string{"10.0.0.9, 10.0.0.7"}, "10.0.0.9"},
		"rubbish":                              {"127.0.0.1:80", []string{"unknown"}, "127.0.0.1"},
		"rubbish before a hop":                 {"127.0.0.1:80", []string{"x, 10.0.0.7"}, "10.0.0.7"},
		"a hop with a port":                    {"127.0.0.1:80", []string{"192.0.2.1:5555"}, "192.0.2.1"},
		"IPv6 with a port":                     {"127.0.0.1:80", []string{"[2001:db8::1]:5555"}, "2001:db8::1"},
		"IPv4 in IPv6":                         {"[::ffff:203.0.113.9]:80", nil, "203.0.113.9"},
		"no peer":                              {"@", nil, ""},
		"link-local with a zone, as a sidecar": {"[fe80::1%eth0]:80", nil, "fe80::1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = test.peer, test.forwarded
		if got := sourceIP(r); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestEveryKindHasAStatus reads the kinds from their source, so that a new one cannot be
// forgotten.
func TestEveryKindHasAStatus(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../user/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
			kind := user.Kind(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			if kinds++; statuses[kind] == 0 {
				t.Errorf("%s has no status", kind)
			}
		}
		return true
	})
	if kinds != len(statuses) {
		t.Errorf("%d kinds, %d statuses", kinds, len(statuses))
	}
}
