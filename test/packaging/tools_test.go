package packaging_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is the repository's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a command to its end and returns what it printed; a failure ends the test.
// It is killed when the test's time is over, so that nothing outlives the test.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String() + errs.String(), err
	}
	return strings.TrimSpace(out.String()), nil
}

// tool returns the path of a pinned tool's executable, building it the first time; it
// skips the test where the tool's modules cannot be had. modfile is relative to the
// repository.
func tool(t *testing.T, modfile, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: not building " + name)
	}
	dir := filepath.Join(root(t), filepath.Dir(modfile))
	args := []string{"-modfile=" + filepath.Base(modfile)}
	if filepath.Base(modfile) != "go.mod" { // a modfile of the product's own module
		dir, args = root(t), []string{"-modfile=" + modfile}
	}
	if out, err := try(t.Context(), dir, nil, "go", append([]string{"mod", "download"}, args...)...); err != nil {
		t.Skipf("SKIP: the modules of %s cannot be had here: %s", name, out)
	}
	return run(t, dir, nil, "go", append(append([]string{"tool", "-n"}, args...), name)...)
}
