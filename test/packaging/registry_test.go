package packaging_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// registry is crane's own, on loopback, with its blobs in a temporary folder.
type registry struct{ address, ko, cranePath string }

func startRegistry(t *testing.T) registry {
	t.Helper()
	const modfile = "tools/image/go.mod"
	r := registry{ko: tool(t, modfile, "ko"), cranePath: tool(t, modfile, "crane")}
	cmd := exec.CommandContext(t.Context(), r.cranePath, "registry", "serve", "--address", "127.0.0.1:0", "--disk", t.TempDir())
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); { // read on, or the registry would block
			if m := regexp.MustCompile(`serving on port (\d+)`).FindStringSubmatch(lines.Text()); m != nil {
				ready <- "127.0.0.1:" + m[1]
			}
		}
	}()
	select {
	case r.address = <-ready:
	case <-time.After(10 * time.Second):
		t.Fatal("the registry did not start")
	}
	return r
}

func (r registry) crane(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", nil, r.cranePath, args...)
}

// pushBase makes a base image on the spot, since no public one can be pulled here: what a
// static distroless has, for both platforms. It returns its reference.
func (r registry) pushBase(t *testing.T) string {
	t.Helper()
	layer := filepath.Join(t.TempDir(), "base.tar")
	if err := os.WriteFile(layer, baseLayer(t), 0o644); err != nil {
		t.Fatal(err)
	}
	index := []string{"index", "append", "-t", r.address + "/base:latest"}
	for _, arch := range []string{"amd64", "arm64"} {
		ref := r.address + "/base:" + arch
		r.crane(t, "append", "--oci-empty-base", "-f", layer, "-t", ref)
		r.crane(t, "mutate", ref, "--set-platform", "linux/"+arch, "--user", "65532:65532", "-t", ref)
		index = append(index, "-m", ref)
	}
	r.crane(t, index...)
	return r.address + "/base:latest"
}

func baseLayer(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	entry := func(h tar.Header, content string) {
		h.Size, h.ModTime = int64(len(content)), time.Unix(0, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	certificates, _ := os.ReadFile("/etc/ssl/certs/ca-certificates.crt") // absent: nothing here is verified by it
	entry(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	entry(tar.Header{Name: "etc/passwd", Mode: 0o644}, "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
	entry(tar.Header{Name: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644}, string(certificates))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// makeImage runs `make image` in dir, which pushes to r, and returns the pushed reference
// with its digest, and the SBOM.
func (r registry) makeImage(t *testing.T, dir, base string) (ref, sbom string) {
	t.Helper()
	dist := t.TempDir()
	ref = run(t, dir, []string{"VERSION=" + stamped, "DIST=" + dist, "KO_DOCKER_REPO=" + r.address, "KO_DEFAULTBASEIMAGE=" + base},
		"make", "--silent", "image")
	files, err := filepath.Glob(filepath.Join(dist, "sbom", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no SBOM was written: %v", err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return ref, all.String()
}

// extract returns one file of an image.
func (r registry) extract(t *testing.T, ref, platform, name string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	r.crane(t, "export", "--platform", platform, ref, path)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if err != nil {
			t.Fatalf("%s is not in the image: %v", name, err)
		}
		if strings.TrimPrefix(header.Name, "/") == name {
			return readAll(t, reader)
		}
	}
}
