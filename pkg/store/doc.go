// Package store keeps users, sealed secrets, API keys, groups, the event log and the audit log in
// PostgreSQL, through Bun.
//
// Each table is declared once, as a model (model.go). A batch of changes is a [Tx]: one transaction of two
// round trips, Begin (learn.go) and Commit (write.go). Frequent statements are composed by Bun once and run
// prepared; listings are composed at each call, since their shape depends on the request. A dry run has its
// transactions on a [Draft].
//
// All methods may be called concurrently. A method that finds the database away, busy past the caller's
// deadline, or violating a unique index says so as a [user.Error]; any other failure is passed on for the
// log and is internal to clients. The error text of the database never becomes a public message.
package store
