// Package gather lets what comes while others are under way share their next turn.
//
// A [Queue] is for different jobs of one kind. A lone job begins at once; what comes
// meanwhile waits, and goes together when that ends, in the order in which it came. Up to Workers batches are
// carried out at once, each of them beside others only once half of a full batch waits. A batch that is stuck
// for stuckAfter gives its worker's place to another.
//
// [Shared] is for the same question: those who ask it while it is under way all get the answer to its
// next asking, which begins when the one under way is over:
//
//	unknown --Ask--> asked by one, in its own context --answered--> unknown
//	asked --Ask--> asked, others wait --answered--> asked for all who wait, in a goroutine of its own
package gather
