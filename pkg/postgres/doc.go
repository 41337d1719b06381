// Package postgres runs a private PostgreSQL cluster for `ai-admin dev`, the tests and
// the benchmarks, on machines where nobody has set one up. `ai-admin serve` never uses it: there the
// settings of a database are mounted.
//
// # States
//
// A Cluster is a folder: lock (flock, held while a process has it open), password, data
// (PGDATA) and postgres.log. Open takes the lock and brings the folder to "initialized";
// Start and Stop move between "initialized" and "running"; Close ends it.
//
//	closed --Open--> initialized --Start--> running --Stop--> initialized --Close--> closed
//	                      ^                    |
//	                      +---- it crashed ----+   (Done is closed, Start works again)
//
// # Who may do what
//
// One process at a time has a folder open; a second Open fails with ErrLocked. Start,
// Stop and StopImmediate may be called from any goroutine, one at a time per Cluster.
// The server listens on 127.0.0.1 alone, with a random password of 128 bits that only
// the caller's user and the server's user can read. PostgreSQL refuses to run as root,
// so for root it runs as the user postgres, or nobody where that is absent.
//
// # What happens on failure
//
//   - The owner dies, kill -9 included: Linux sends the server SIGINT, a fast shutdown.
//     Elsewhere the server lives on until the next Open ends it.
//   - The server is left running, or died without a word: the next Open ends it, if the
//     process in postmaster.pid is this folder's own, and PostgreSQL recovers from its log.
//   - Ctrl-C reaches a terminal's whole process group; the server is in a group of its
//     own, so that it ends after its clients and not under them.
//   - initdb is interrupted: it works in data.new, renamed to data when it is complete.
//   - The port is taken between choosing and listening: Start chooses another one. Once a
//     Cluster ran, it keeps its port, because its clients hold the address.
//   - A throw-away folder whose owner died is removed by the next OpenTemporary.
package postgres
