// Package outbox sends the events of changes to the sink, and serves them as a stream.
//
// # Partitions
//
// A row of the table outbox is an event not sent yet. Its partition is a hash of its
// user's id, and one process at a time owns a partition and sends its events:
//
//	free --gained--> owned --asked to share--> leaving --drained--> free
//	  ^                |
//	  +------lost------+
//
// Ownership is a session's advisory lock on a connection that serves nothing else, and it
// is checked by a query each second. Each process also holds a shared lock that says it is
// there; whoever owns more than its share of the partitions gives the surplus up.
//
// # Lanes
//
// A user with unsent events in memory has a lane, and a lane sends one event at a time:
//
//	ready --> flying --accepted--> ready, or gone when it was the last
//	              |--failed------> waiting --due, read again--> ready
//	              |--refused-----> waiting, or parked after the configured tries
//
// An event enters its lane only if its user's previous event is known to be sent: it is no
// longer in the outbox, or it is ahead in the same lane. The database says which, in the
// statement that reads the event, so the order does not depend on which rows were seen
// when: neither commits that became visible late nor a restart can turn it round.
// Different users' lanes know nothing of each other: one that waits or is parked delays
// none but itself.
//
// # Who does what
//
// One goroutine, the loop of relay, owns all lanes. Sends run in goroutines of their own,
// at most as many as the pace allows; one database job at a time runs beside the loop.
// Neither touches a lane: they report to the loop. No transaction is open while an event is
// sent. The jobs have a connection of their own, so that requests that wait for the pool's do
// not hold events up, and the keeper's goroutine owns the connection of the locks: two
// beside the pool. Wake may be called from anywhere.
//
// Rows are found in two ways: "fresh" ones behind the last row seen, on each wake; all
// others (events that committed late, parked ones that were released) by a sweep over the
// outbox each second, less often when it is long.
//
// # What happens on failure
//
//   - The sink does not answer, or with 408, 425, 429, a redirect or 5xx: the lane waits,
//     growing and jittered up to MaxBackoff, at least as long as Retry-After (within
//     limits), and tries for as long as it takes. When nothing but failures comes, from
//     several users, one event at a time is tried until the sink answers again.
//   - The sink refuses with another 4xx: tried MaxAttempts times, then parked. The tries are
//     counted in the outbox, so that a restart does not begin anew.
//   - The process dies: its connection ends, its locks are free at once, and its successor
//     sends again what was sent but not yet deleted. An event may arrive twice, with the
//     same id; those of one user never arrive in another order than they do again.
//   - The database dies: the lock is lost and all requests are aborted. Events accepted but
//     not yet deleted are remembered, and deleted when it is back instead of sent again.
//   - The owner is cut off from the database: it stops sending when the check has had no
//     answer for 5 s, and PostgreSQL frees its locks no sooner than 10 s after it last heard
//     of it, so that by then it has stopped. Two owners at once are possible when PostgreSQL
//     itself forgets the locks before that (its host dies and a standby takes over within
//     those seconds), or when the sink works on a request after the connection was closed:
//     an event may then arrive again after a later one of its user. The attribute sequence
//     tells consumers that it is old.
//   - Behind a pooler that gives each transaction another session (PgBouncer's transaction
//     mode) session locks mean nothing. The check notices when it is answered by another
//     session; then nothing is sent, and the log says why.
package outbox
