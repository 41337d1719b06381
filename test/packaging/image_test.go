package packaging_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	stamped  = "v9.8.7-test"
	maxImage = 15_000_000 // bytes, compressed, base and all
)

// TestImage makes the image from this folder and from a copy elsewhere, pushes
// both to a local registry, and looks at what a cluster would pull.
func TestImage(t *testing.T) {
	t.Parallel()
	registry := startRegistry(t)
	base := registry.pushBase(t)
	here, sbom := registry.makeImage(t, root(t), base)
	there, _ := registry.makeImage(t, copyOfSource(t), base)
	if digest(here) != digest(there) {
		t.Errorf("one source, two digests: %s here, %s in another folder", digest(here), digest(there))
	}
	layout, err := os.MkdirTemp("", "layout-*") // t.TempDir has upper-case letters, which ko refuses in a path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(layout)
	run(t, root(t), []string{"VERSION=" + stamped, "DIST=" + layout, "KO_DOCKER_REPO=", "KO_DEFAULTBASEIMAGE=" + base}, "make", "--silent", "image")
	if index, err := os.ReadFile(filepath.Join(layout, "image", "index.json")); err != nil || !strings.Contains(string(index), digest(here)) {
		t.Errorf("the OCI layout has another image than the registry: %v %s", err, index)
	}
	if !strings.Contains(sbom, `"spdxVersion"`) || !strings.Contains(sbom, "github.com/jackc/pgx") {
		t.Error("the SBOM does not list what is in the binary")
	}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		t.Run(platform, func(t *testing.T) { registry.inspect(t, here, platform) })
	}
}

func digest(ref string) string { return ref[strings.LastIndex(ref, "@")+1:] }

// inspect checks one platform's image: how it is run, how big it is, what is in it.
func (r registry) inspect(t *testing.T, ref, platform string) {
	var image struct {
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(r.crane(t, "config", "--platform", platform, ref)), &image); err != nil {
		t.Fatal(err)
	}
	if image.Config.User != "65532:65532" || !cmp.Equal(image.Config.Entrypoint, []string{"/ko-app/ai-admin"}) {
		t.Errorf("runs %q as %q", image.Config.Entrypoint, image.Config.User)
	}
	want := map[string]string{"title": "ai-admin", "version": stamped, "licenses": "Apache-2.0"}
	for key, value := range want {
		if got := image.Config.Labels["org.opencontainers.image."+key]; got != value {
			t.Errorf("label %s is %q, want %q", key, got, value)
		}
	}
	var manifest struct{ Layers []struct{ Size int } }
	if err := json.Unmarshal([]byte(r.crane(t, "manifest", "--platform", platform, ref)), &manifest); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	t.Logf("%s: %.1f MB compressed", platform, float64(size)/1e6)
	if size > maxImage {
		t.Errorf("%d bytes compressed, at most %d", size, maxImage)
	}
	r.inspectBinary(t, ref, platform)
}

// inspectBinary checks that the executable needs nothing of its base, carries its version
// and tells nothing of the machine that built it.
func (r registry) inspectBinary(t *testing.T, ref, platform string) {
	binary := r.extract(t, ref, platform, "ko-app/ai-admin")
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	machine := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}[platform]
	if file.Machine != machine {
		t.Errorf("built for %v", file.Machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("not static: it asks for a loader that the base lacks")
		}
	}
	if file.Section(".symtab") != nil {
		t.Error("not stripped")
	}
	if !bytes.Contains(binary, []byte(stamped)) {
		t.Error("the version is not stamped")
	}
	if bytes.Contains(binary, []byte(root(t)+"/")) {
		t.Error("not trimmed: it names the folder it was built in")
	}
	if platform == "linux/amd64" {
		path := filepath.Join(t.TempDir(), "ai-admin")
		if err := os.WriteFile(path, binary, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := try(t.Context(), "", nil, path, "version"); err == nil && !strings.Contains(out, stamped) {
			t.Errorf("version prints %q", out)
		}
	}
}

// copyOfSource copies what the image and a release are made of to a folder with another name.
func copyOfSource(t *testing.T) string {
	t.Helper()
	from, to := root(t), t.TempDir()
	for _, dir := range []string{"cmd", "pkg", "config", "tools"} {
		if err := os.CopyFS(filepath.Join(to, dir), os.DirFS(filepath.Join(from, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "ko.yaml", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// readAll is io.ReadAll for a file that a test has just been promised.
func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
