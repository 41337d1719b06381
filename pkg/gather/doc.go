// Package gather lets work that arrives while other work is under way share the next batch.
//
// A [Queue] is for different jobs of one kind. A lone job begins at once. Jobs that arrive meanwhile wait, and
// are carried out together when it ends, in the order in which they arrived. Up to Workers batches are carried
// out at once: a further one begins beside others only when at least half a full batch is waiting. A batch that
// is stuck for stuckAfter gives its worker's place to another.
//
// [Shared] is for the same question: those who ask it while it is under way all get the answer to the next time
// it is asked, which begins when the one under way is over:
//
//	unknown --Ask--> asked by one, in its own context --answered--> unknown
//	asked --Ask--> asked, others wait --answered--> asked for all who wait, in a goroutine of its own
package gather
