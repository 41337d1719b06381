//go:build unix && !linux

package postgres

import "syscall"

// attributes put the child in a group of its own. No other kernel than Linux ends it when
// we die: there, the next Start on its folder does.
func attributes(as account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: as.credential()}
}
