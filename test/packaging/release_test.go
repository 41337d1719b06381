package packaging_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReleaseIsReproducible makes a release from this folder and from a copy elsewhere: the bytes are the same,
// and the binary is static and knows its version. One system's archive stands for all, which are built alike.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	base := startRegistry(t).pushBase(t)
	release := func(source string) (out, sums string) {
		out = t.TempDir()
		run(t, source, []string{"VERSION=" + stamped, "DIST=" + out, "KO_DEFAULTBASEIMAGE=" + base}, "make", "--silent", "release", "ARGS=-systems=linux/amd64")
		text, err := os.ReadFile(filepath.Join(out, "release", "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(out, "release"), string(text)
	}
	out, here := release(root(t))
	if _, there := release(copyOfSource(t)); here != there {
		t.Errorf("one source, two releases:\n%s\n%s", here, there)
	}
	if lines := strings.Count(here, "\n"); lines != 3 {
		t.Errorf("%d files: %s", lines, here)
	}
	if layout := unpack(t, filepath.Join(out, "ai-admin_"+stamped+"_oci.tar.gz")); layout["image/index.json"] == nil {
		t.Errorf("no image in the OCI layout: %v", slices.Sorted(maps.Keys(layout)))
	}
	name := "ai-admin_" + stamped + "_linux_amd64"
	files := unpack(t, filepath.Join(out, name+".tar.gz"))
	program := files[name+"/ai-admin"]
	binary, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary is not static")
		}
	}
	if !bytes.Contains(program, []byte(stamped)) || len(files) != 4 {
		t.Errorf("the binary does not know its version, or files are missing: %d", len(files))
	}
	bill, err := os.ReadFile(filepath.Join(out, "ai-admin_"+stamped+"_sbom.cdx.json"))
	if err != nil || !strings.Contains(string(bill), "github.com/jackc/pgx") {
		t.Errorf("the SBOM does not list what is in the binary: %v", err)
	}
}

// unpack reads a .tar.gz.
func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	packed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unzipped, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}
