package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// takeOver ends a server that a crashed owner left running on data, and removes the
// traces of one that died. The caller holds the folder's lock, so no living owner loses
// its server. A process that merely has the pid now is left alone.
func takeOver(data string) {
	pid := serverPID(data)
	if pid == 0 {
		return
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if !serves(pid, data) || syscall.Kill(pid, sig) != nil {
			break
		}
		for end := time.Now().Add(5 * time.Second); serves(pid, data) && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if !serves(pid, data) {
		// PostgreSQL believes the file when some process has the pid, whoever it is.
		_ = os.Remove(filepath.Join(data, "postmaster.pid"))
	}
}

// serverPID is the pid in data's postmaster.pid, or 0.
func serverPID(data string) int {
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 { // never a process group or init
		return 0
	}
	return pid
}

// serves tells whether process pid is a PostgreSQL server on data. A server's working directory is
// its data folder, which Linux shows; elsewhere its command line names the folder.
func serves(pid int, data string) bool {
	if runtime.GOOS == "linux" {
		cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
		return err == nil && cwd == data
	}
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), data)
}
