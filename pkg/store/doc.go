// Package store keeps users, sealed secrets and the event log in PostgreSQL.
//
// A change is one statement: a data-modifying CTE that claims the request, locks the
// user, writes it and appends the event, or does none of it. Statements are prepared once
// per connection. Listings are built by Bun, since their shape depends on the request; the
// frequent statements run on the driver's own connection, borrowed from Bun's pool, and
// their rows are decoded by hand: see direct.go, and docs/performance.md for why.
//
// All methods may be called concurrently. A method that finds the database away, busy
// past the caller's deadline, or violating a unique index says so as a [user.Error]; any
// other failure is passed on for the log and is internal to clients. The error text of
// the database never becomes a public message.
package store
