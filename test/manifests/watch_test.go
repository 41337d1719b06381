package validate

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watched has `make watch OVERLAY=local` build and apply a copy of the project, and again once a source of the copy
// has changed: the Service gets the new image by its digest, so that Knative makes a revision of it.
func watched(t *testing.T, c *cluster) {
	copied := t.TempDir()
	shell(t, "cd ../.. && tar -c cmd pkg config tools Makefile ko.yaml go.mod go.sum func.yaml function.go | tar -x -C "+copied)
	registry := serveImages(t)
	base := registry + "/base"
	layer := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(layer, emptyTar(t), 0o600); err != nil {
		t.Fatal(err)
	}
	shell(t, strings.Join([]string{crane, "append --oci-empty-base -f", layer, "-t", base, "&&", crane, "mutate", base, "--set-platform linux/$(go env GOARCH) -t", base}, " "))

	cmd := exec.Command("make", "watch", "OVERLAY=local")
	log := &bytes.Buffer{}
	cmd.WaitDelay = 20 * time.Second
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = copied, log, log, &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "PATH="+c.bin+":"+os.Getenv("PATH"), "KO_DOCKER_REPO="+registry,
		"KO_DEFAULTBASEIMAGE="+base, "VERSION=watched")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // air ends what it runs, which is in a group of its own
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("make watch:\n%s", log)
		}
	})
	digest := regexp.MustCompile(`^` + regexp.QuoteMeta(registry) + `/.*@sha256:[0-9a-f]{64}$`)
	applied := func(than string) (image string) {
		c.eventually("make watch has applied an image", func() (err error) {
			image, err = c.kubectl("", "-n", "ai-admin-local", "get", "ksvc", "ai-admin", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
			if err == nil && (image == than || !digest.MatchString(image)) {
				err = fmt.Errorf("the image is %s", image)
			}
			return err
		})
		return image
	}
	first := applied("")
	source := filepath.Join(copied, "cmd/ai-admin/main.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte("func main() {"), []byte("func main() {\n\tprintln(\"another\")"), 1)
	if err := os.WriteFile(source, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if second := applied(first); second == first {
		t.Errorf("the image is still %s", first)
	}
}

const crane = "go tool -modfile=../../tools/image/go.mod crane"

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// serveImages starts a registry and returns its address.
func serveImages(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+crane+" registry serve --address 127.0.0.1:0 --disk "+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	port := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); { // read on, or the registry would block
			if m := regexp.MustCompile(`serving on port (\d+)`).FindStringSubmatch(lines.Text()); m != nil {
				port <- m[1]
			}
		}
	}()
	select {
	case found := <-port:
		return "127.0.0.1:" + found
	case <-time.After(2 * time.Minute): // the first time, it is compiled
		t.Fatal("the registry did not start")
		return ""
	}
}

// emptyTar holds what a static image cannot do without: a folder for temporary files.
func emptyTar(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
