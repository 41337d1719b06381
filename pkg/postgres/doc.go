// Package postgres runs a private PostgreSQL cluster for `ai-admin dev`, the tests and
// the benchmarks, on machines where nobody has set one up. `ai-admin serve` never uses it:
// its database is configured by mounted settings.
//
// # States
//
// A Cluster is a folder: lock (flock, held while a process has it open), password, data
// (PGDATA) and postgres.log. The function Start takes the lock, initializes the folder where
// needed, and starts the server. The methods Start and Stop restart and stop it; Close stops it
// and releases the lock.
//
//	closed --Start--> running --Stop--> stopped --Close--> closed
//	                     ^                 |
//	                     +----- Start -----+   (also after a crash, when Done is closed)
//
// # Who may do what
//
// One process at a time has a folder open; Start fails with ErrLocked in a second one.
// Start, Stop and StopImmediate may be called from any goroutine, one at a time per Cluster.
// The server listens on 127.0.0.1 alone, with a random password of 128 bits that only
// the caller's user and the server's user can read. PostgreSQL refuses to run as root,
// so for root it runs as the user postgres, or nobody where that is absent.
//
// # What happens on failure
//
//   - The owner dies, even by kill -9: Linux sends the server SIGINT, a fast shutdown.
//     On other systems the server lives on until the next Start on its folder ends it.
//   - The server is left running, or died without cleaning up: the next Start ends it, if the
//     process in postmaster.pid is this folder's own, and PostgreSQL recovers from its log.
//   - Ctrl-C reaches a terminal's whole process group. The server is in a group of its
//     own, so it outlives the service, which still needs it while it drains.
//   - initdb is interrupted: it works in data.new, which is renamed to data when complete.
//   - The port is taken between choosing it and listening: Start chooses another one. Once a
//     Cluster has run, it keeps its port, because its clients hold the address.
//   - The owner of a throw-away folder dies: the next Start of a throw-away cluster removes it.
package postgres
