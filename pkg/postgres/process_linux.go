package postgres

import "syscall"

// attributes puts the child in a group of its own and lets the kernel end it (SIGINT is
// PostgreSQL's fast shutdown) when we die, even by kill -9.
func attributes(as account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT, Credential: as.credential()}
}
