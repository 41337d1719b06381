// Package relay sends the events of changes to the sink: at least once, and each user's in
// order.
//
// # Partitions
//
// A row of the table outbox is an event not sent yet. Its partition is a hash of its
// user's id, and one process at a time owns a partition and sends its events:
//
//	free --locked--> owned --above its share--> leaving --nothing under way--> drained --unlocked--> free
//	  ^                |
//	  +------lost------+
//
// Ownership is a lease: a session's advisory locks on a connection that serves nothing else, proved
// by a query each second. Each process also holds a shared lock that registers it. A process that
// owns more than its share of the partitions gives up the surplus.
//
// # Deliveries
//
// The outbox also serves as the queue of users. The first unsent event of a user, its head, is
// found if it is new, if it was postponed until now, or if it follows one that was just
// sent. One statement reads the heads and the events after each as a delivery:
//
//	unsent --read--> ready --> sending --accepted--> ready, or looked up again after the last
//	   ^                          |------failed----> postponed
//	   |                          |------refused---> postponed, or parked after the configured tries
//	   +--due, or released--------+
//
// One snapshot shows all of this, and a user's changes become visible in their order, since
// each holds the user's row lock until it commits. So the first unsent row that is visible
// is the oldest there will be. Neither commits that became visible late nor a restart can
// reverse the order. A user in memory is not read again until its results are recorded.
// Postponed and parked heads wait in the database with their users' other events, and
// delay no other user.
//
// New heads are searched from a per-partition bound on: a row before which no running
// transaction can still commit one. All of the outbox is read when a partition is locked, and
// about once a minute, for rows that were changed by hand.
//
// # Goroutines
//
// A session lasts as long as its lease. Its loop alone reads and writes the outbox: on each wake,
// when an event is due, and each second. It records results first and reads then. Its workers, 64,
// take deliveries from a queue, send one event and put the rest back; the result goes into a
// ledger. One more goroutine keeps the lease. No transaction is open while an event is sent. The
// loop and the lease have connections that are not the pool's: requests that wait for the pool do
// not delay events. Wake may be called from anywhere.
//
// # What happens on failure
//
//   - The sink does not answer, or answers 408, 425, 429, a redirect or 5xx: the event is
//     postponed, with growing and jittered waits up to MaxBackoff, at least as long as
//     Retry-After (within limits), and tried for as long as it takes. When several users'
//     events fail and none is answered, one event at a time is tried until the sink answers
//     again.
//   - The sink refuses with another 4xx: tried MaxAttempts times, then parked. The tries are
//     counted in the outbox, so that a restart does not start over.
//   - The process dies: its connection ends, its locks are free at once, and its successor sends
//     again what was sent but not yet deleted. An event may arrive twice, with the same id;
//     repetitions keep the order of each user's events.
//   - The database dies: the lease is lost and all requests are aborted. Events accepted but
//     not yet deleted are remembered, and deleted when it is back instead of sent again.
//   - The owner is cut off from the database: it stops sending when the proof has had no
//     answer for 5 s, and PostgreSQL frees its locks no sooner than 10 s after it last heard
//     of it, so that by then it has stopped. Two owners at once are possible when PostgreSQL
//     itself forgets the locks before that (its host dies and a standby takes over within
//     those seconds), or when the sink works on a request after the connection was closed:
//     an event may then arrive again after a later one of its user. The attribute sequence
//     tells consumers that it is old.
//   - Behind a pooler that gives each transaction another session (PgBouncer's transaction
//     mode) session locks mean nothing. The proof fails when it is answered by another
//     session; then nothing is sent, and the log says why.
package relay
