package packaging_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// podman runs containers in folders of the test's own.
type podman struct {
	path  string
	flags []string
}

func findPodman(t *testing.T) podman {
	t.Helper()
	path, err := exec.LookPath("podman")
	if err != nil {
		t.Skip("SKIP: podman is not installed")
	}
	dir := t.TempDir()
	p := podman{path, []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"),
		"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"}}
	if _, err := exec.LookPath("runc"); err == nil {
		p.flags = append(p.flags, "--runtime=runc")
	}
	if out, err := try(t.Context(), "", nil, path, append(p.flags, "info")...); err != nil {
		t.Skipf("SKIP: podman does not run here: %.300s", out)
	}
	return p
}

func (p podman) run(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", nil, p.path, append(p.flags, args...)...)
}

// TestContainer runs the image as the cluster does: its own user, a read-only root, no
// capabilities, 128 MB, and 500 requests at once.
func TestContainer(t *testing.T) {
	t.Parallel()
	pod := findPodman(t)
	r := startRegistry(t)
	archive := filepath.Join(t.TempDir(), "image.tar")
	run(t, root(t), []string{"KO_CONFIG_PATH=./ko.yaml", "VERSION=" + stamped, "KO_DOCKER_REPO=ai-admin.local", "KO_DEFAULTBASEIMAGE=" + r.pushBase(t)},
		r.ko, "build", "--base-import-paths", "--platform=linux/amd64", "--push=false", "--tarball="+archive, "./cmd/ai-admin")
	image := strings.TrimSpace(regexp.MustCompile(`[^ ]+$`).FindString(pod.run(t, "load", "-q", "-i", archive)))

	dir, port := readable(t, mounts(t, pgtest.Database(t), "metricsPort: 0\n")), freePort(t)
	started := time.Now()
	out, err := try(t.Context(), "", nil, pod.path, append(pod.flags, "run", "--detach", "--name=ai-admin", "--network=host",
		"--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=128m", "--memory-swap=128m",
		"--ulimit=nofile=10000:10000", "--ulimit=nproc=8000:8000",
		"--env=PORT="+port, "--env=GOMEMLIMIT=112MiB", "--volume="+dir+":/etc/ai-admin:ro", image, "serve")...)
	if err != nil {
		t.Skipf("SKIP: podman cannot start a container here: %.500s", out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := exec.Command(pod.path, append(pod.flags, "logs", "--tail=40", "ai-admin")...).CombinedOutput()
			t.Logf("%s", log)
		}
		_ = exec.Command(pod.path, append(pod.flags, "rm", "--force", "--time=1", "ai-admin")...).Run()
	})
	address := "http://127.0.0.1:" + port
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		answer, err := http.Get(address + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %v", err)
		}
	}
	t.Logf("podman run to the first 200 of /readyz: %v", time.Since(started).Round(time.Millisecond))
	isConfined(t, pod.run(t, "inspect", "--format={{.State.Pid}}", "ai-admin"))
	manyAtOnce(t, address)
	everyRoute(client{t, address})
	if state := pod.run(t, "inspect", "--format={{.State.OOMKilled}} {{.State.Running}}", "ai-admin"); state != "false true" {
		t.Errorf("killed for memory, running: %s", state)
	}
	pod.run(t, "stop", "--time=10", "ai-admin")
	if code := pod.run(t, "inspect", "--format={{.State.ExitCode}}", "ai-admin"); code != "0" {
		t.Errorf("exit code %s after SIGTERM", code)
	}
}

// isConfined reads what the kernel says of the process.
func isConfined(t *testing.T, pid string) {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	for _, want := range []string{`Uid:\s+65532\s+65532`, `CapEff:\s+0+\n`, `CapBnd:\s+0+\n`, `NoNewPrivs:\s+1`} {
		if !regexp.MustCompile(want).Match(status) {
			t.Errorf("/proc/%s/status has no %s", pid, want)
		}
	}
	mounted, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil || !regexp.MustCompile(`(?m)^\S+ \S+ \S+ \S+ / ro[, ]`).Match(mounted) {
		t.Errorf("the root is not read-only: %v", err)
	}
	t.Log(strings.TrimSpace(fmt.Sprint(regexp.MustCompile(`VmRSS:.*`).FindString(string(status)))))
}

// readable lets the image's user read volumes that belong to the test's.
func readable(t *testing.T, dir string) string {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
