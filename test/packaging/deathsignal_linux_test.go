package packaging_test

import (
	"os/exec"
	"runtime"
	"syscall"
)

// endWithUs lets the kernel kill cmd when this test's process dies, by a timeout's panic
// for one, so that no sidecar keeps its fixed ports. The signal comes with the end of the
// thread that starts cmd: the caller's goroutine keeps it until cmd has ended.
func endWithUs(cmd *exec.Cmd) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
