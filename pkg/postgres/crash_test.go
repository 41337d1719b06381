package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aiadmin/pkg/postgres"
)

// TestMain lets the test binary be the owner of a cluster that other tests kill: with
// OWN_CLUSTER_IN set it starts one there, says so, and waits for its end.
func TestMain(m *testing.M) {
	dir, owner := os.LookupEnv("OWN_CLUSTER_IN")
	if !owner {
		os.Exit(m.Run())
	}
	c, err := postgres.Start(context.Background(), postgres.Options{Dir: dir})
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(c.Addr() + "\n")
	select {}
}

// owner starts a process that owns a cluster in dir, and returns it once that runs.
func owner(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "OWN_CLUSTER_IN="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "127.0.0.1:") {
		t.Fatalf("the owner said %q, %v", line, err)
	}
	return cmd
}

// serverIn reads the server's pid.
func serverIn(t *testing.T, dir string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone tells whether a process has ended. One that nobody has reaped yet has a pid still,
// but no working folder.
func gone(pid int) bool {
	_, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	return errors.Is(err, os.ErrNotExist)
}

func TestServerDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	requireLinux(t)
	dir := folder(t)
	process := owner(t, dir)
	server := serverIn(t, dir)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !gone(server); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server outlived its owner")
		}
	}
}

func TestALeftoverServerIsTakenOver(t *testing.T) {
	t.Parallel()
	requireLinux(t)
	dir := folder(t)
	process := owner(t, dir)
	server := serverIn(t, dir)
	// Stopped, the server cannot heed its owner's death: it is left behind, like one on a
	// system without parent-death signals.
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	if gone(server) {
		t.Fatal("there is no leftover to take over")
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = syscall.Kill(server, syscall.SIGCONT) })
	c := start(t, postgres.Options{Dir: dir})
	if !gone(server) {
		t.Error("the old server still runs")
	}
	ask(t, c, "SHOW port")
}

func TestAStalePidFileHarmsNobody(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := start(t, postgres.Options{Dir: dir})
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bystander.Wait() }()
	defer bystander.Process.Kill()
	// The pid of a crashed server, given to another process since.
	file := filepath.Join(dir, "data", "postmaster.pid")
	content := strconv.Itoa(bystander.Process.Pid) + "\n" + filepath.Join(dir, "data") + "\n"
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, postgres.Options{Dir: dir})
	select {
	case err := <-ended:
		t.Fatalf("a bystander was ended: %v", err)
	default:
	}
}

func TestAnInterruptedInitdbIsBegunAnew(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	partial := filepath.Join(dir, "data.new")
	if err := os.Mkdir(partial, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(partial, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, postgres.Options{Dir: dir})
	if _, err := os.Stat(partial); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", partial)
	}
}

func requireLinux(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/cwd"); err != nil {
		t.Skip("only Linux ends a child with its parent")
	}
}
