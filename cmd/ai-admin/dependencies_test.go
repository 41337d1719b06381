package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// modFiles are this repository's: the product's, and those of tools and packaging tests.
var modFiles = []string{"go.mod", "tools/lint/go.mod", "bench/go.mod", "tools/image/go.mod", "test/manifests/go.mod", "test/envoy/go.mod",
	"tools/etcd/go.mod", "tools/node/go.mod", "tools/kn/go.mod", "tools/clients/go.mod", "tools/release/go.mod", "tools/watch/go.mod"}

// TestDependenciesAreNamed: docs/dependencies.md says of each direct dependency and tool, of
// whichever module, what it is for.
func TestDependenciesAreNamed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	tracked, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "*.mod").Output()
	if err == nil && len(strings.Fields(string(tracked))) != len(modFiles) {
		t.Errorf("modules: %s", tracked)
	}
	for _, file := range modFiles {
		for _, path := range direct(t, "../../"+file) {
			name := "`" + strings.TrimPrefix(path, "github.com/") + "`"
			if !strings.Contains(string(text), name) {
				t.Errorf("%s: docs/dependencies.md does not name %s", file, name)
			}
		}
	}
}

// direct are the modules that a mod file requires for itself, and those of its tools.
func direct(t *testing.T, file string) (paths []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, required := range mod.Require {
		needed := !required.Indirect && required.Path != "aiadmin"
		for _, tool := range mod.Tool {
			needed = needed || tool.Path == required.Path || strings.HasPrefix(tool.Path, required.Path+"/")
		}
		if needed {
			paths = append(paths, required.Path)
		}
	}
	return paths
}
