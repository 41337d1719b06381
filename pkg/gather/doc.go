// Package gather has jobs that come while others of their kind are under way wait, and then
// go together. A few jobs wait for nothing; under load, what each costs by itself (a round
// trip, a transaction) is shared by many.
//
// A lane is free, taken by a job alone, or taken by a group:
//
//	free --Enter, no group is under way--> alone --Leave--> free
//	free --jobs wait----------------------> group, again and again while jobs wait --> free
//
// A job alone is carried out by whoever brought it, in its own context. While a group is
// under way, those that come wait for it and then go together, in the order in which they
// came: one group after the other shares most. A further lane is taken for a group beside it
// only when half of the most that can go together wait, or when jobs have waited too long,
// because what is under way is slow. A job alone that is stuck no longer counts.
//
// Group runs in a goroutine of its own and must answer every job that it is given; jobs that
// were given up meanwhile are for it to skip. It must not panic, which would end the process:
// [Guarded] makes an error of that.
//
// [Shared] is for jobs that are the same question: of those who ask it while it is under way, all
// get the answer to its next asking, which begins when the one under way is over:
//
//	unknown --Ask--> asked by one, in its own context --answered--> unknown
//	asked --Ask--> asked, others wait --answered--> asked for all who wait, in a goroutine of its own
package gather
