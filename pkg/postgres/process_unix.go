//go:build unix && !linux

package postgres

import "syscall"

// attributes puts the child in a group of its own. Only Linux ends it when we die; elsewhere the
// next Start on its folder does.
func attributes(as account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: as.credential()}
}
