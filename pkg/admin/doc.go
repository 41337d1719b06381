// Package admin is the one way in for every change to users, and the reader of them.
//
// Whatever the transport, a change is a [user.Command]. Commands are carried out in batches of one to a
// thousand, each batch in one transaction of two round trips:
//
//	learn: the claims' answers, the users, locked, and who holds the unique keys that they want
//	judge: each command in memory, after the effects of those before it
//	write: users, sealed secrets, API keys, events, claims, and COMMIT
//
// [Service.Apply] takes one command. It goes at once when a worker is free, and otherwise with all that
// wait; the caller that gives up before its batch begins has changed nothing. [Service.ApplyAll] takes a batch
// as it is.
//
// Creations whose ids the service makes skip the first round trip: what is taken makes them fail, and
// they are tried again with it. A batch that fails for one of its commands is carried out in halves, down
// to one command. No batch waits for a user whom another session holds: commands on such a user wait apart,
// in one goroutine for each user, and end with 503 after ten seconds.
//
// [Service.ApplyGroup] changes a group in the same three steps, alone: it locks the group's row and looks at the
// members that the command names, so that its cost does not depend on the group's size. Memberships are no part
// of a user: its row is only read.
//
// A Service has no state of its own besides the key ring in use, which may be replaced while it works,
// and the commands that wait. All methods may be called concurrently. Failures are [user.Error]s, or
// internal.
package admin
