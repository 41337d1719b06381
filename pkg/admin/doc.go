// Package admin is the one way in for every change to users, and the reader of them.
//
// Whatever the transport, a change is a [user.Command]. Commands are carried out in batches of one to a
// thousand, each batch in one transaction of two round trips:
//
//	learn: find the answers to claims, lock the users, and find who holds the unique keys in question
//	judge: judge each command in memory, with the effects of those before it applied
//	write: write users, sealed secrets, API keys, events and claims, and COMMIT
//
// [Service.Apply] takes one command. It is carried out at once if no batch is under way. Otherwise it waits and
// shares the next batch; a further batch begins beside one under way only once half of a full batch waits. A
// caller that gives up before its batch begins has changed nothing. [Service.ApplyAll] takes a batch as it is.
//
// Creations whose ids the service makes skip the first round trip. If a value is taken they fail, and are tried
// again with that round trip. A batch that fails because of one command is split in halves, down to that
// command. No batch waits for a user whom another session holds: commands on such a user wait apart, in one
// goroutine for each user, and end with 503 after ten seconds.
//
// [Service.ApplyGroup] changes a group in the same three steps, alone: it locks the group's row and looks at the
// members that the command names, so that its cost does not depend on the group's size. Memberships are not part
// of a user: the user's row is only read.
//
// A Service has no state of its own besides the key ring in use, which may be replaced while it works,
// and the commands that wait. All methods may be called concurrently. Failures are [user.Error]s, or
// internal.
package admin
