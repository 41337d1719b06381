// Package admin is the one way in for every change to users, and the reader of them.
//
// Whatever the transport, a change is a [user.Command] given to [Service.Apply], which
// validates it, seals its secrets, and has the store claim, lock, check, write and record
// it in one transaction. Nothing else writes users.
//
// A Service has no state of its own besides the key ring in use, which may be replaced
// while it works, and the commands that wait; all methods may be called concurrently. Under
// load, commands that wait for others are carried out together, in one transaction and as
// if one after another: a lane takes them over, and whoever gave up waiting before that has
// changed nothing. If one of them makes the transaction fail, all are carried out by
// themselves; if the connection breaks, all get that error, as one alone would. An update computes its result
// from the user as read and writes it if nobody changed the user meanwhile; who loses that
// race takes the row's lock and computes again, so that no change is lost and a
// contended user costs one more round trip. Failures are [user.Error]s, or internal.
package admin
