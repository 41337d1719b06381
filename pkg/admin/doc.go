// Package admin is the one way in for every change to users, and the reader of them.
//
// Whatever the transport, a change is a [user.Command] given to [Service.Apply], which
// validates it, seals its secrets, and has the store claim, lock, check, write and record
// it in one transaction. Nothing else writes users.
//
// A Service has no state of its own besides the key ring in use, which may be replaced
// while it works; all methods may be called concurrently. An update computes its result
// from the user as read and writes it if nobody changed the user meanwhile; who loses that
// race takes the row's lock and computes again, so that no change is lost and a
// contended user costs one more round trip. Failures are [user.Error]s, or internal.
package admin
