package validate

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// watched has `make watch OVERLAY=local` build and apply a copy of the project, and again once a source of the copy
// has changed: the Service gets the new image by its digest, so that Knative makes a revision of it.
func watched(t *testing.T, c *cluster) {
	copied := t.TempDir()
	args := []string{"-R"}
	for _, part := range []string{"cmd", "pkg", "config", "tools", "Makefile", "ko.yaml", "go.mod", "go.sum", "func.yaml", "function.go"} {
		args = append(args, filepath.Join("../..", part))
	}
	command(t, "cp", append(args, copied)...)
	registry, base := c.registry()
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
	applied := func(before string) (image string) {
		c.eventually("make watch has applied an image", func() (err error) {
			image, err = c.kubectl("", "-n", "ai-admin-local", "get", "ksvc", "ai-admin", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
			if err == nil && (image == before || !digest.MatchString(image)) {
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
	applied(first)
}

// registry starts a registry that has a base image of an empty folder, and returns the addresses of both.
func (c *cluster) registry() (address, base string) {
	c.t.Helper()
	c.build("crane", "../../tools/image", "github.com/google/go-containerregistry/cmd/crane")
	address = "127.0.0.1:" + freePort(c.t)
	c.start(nil, "crane", "registry", "serve", "--address", address, "--disk", c.t.TempDir())
	base = address + "/base"
	layer := filepath.Join(c.t.TempDir(), "layer.tar")
	command(c.t, "tar", "-cf", layer, "-C", c.t.TempDir(), ".")
	for _, args := range [][]string{{"append", "--oci-empty-base", "-f", layer, "-t", base}, {"mutate", base, "--set-platform", "linux/" + runtime.GOARCH, "-t", base}} {
		c.eventually("crane "+args[0], func() error {
			out, err := c.client("crane", "", args...)
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		})
	}
	return address, base
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
