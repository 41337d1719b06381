// Package gather has jobs that come while others of their kind are under way wait, and then
// go together. A lone job waits for nothing; under load, what each costs by itself (a round
// trip, a transaction) is shared by many.
//
// A job takes a lane ([Lanes.Enter]) and is carried out by whoever brought it, in its own
// context, until [Lanes.Leave]:
//
//	free --Enter--> taken --Leave, nobody waits--> free
//	                  +----Leave, jobs wait----> taken: Group, again and again while jobs wait
//
// While all lanes are taken, jobs wait in the order in which they came. The lane that ends
// first takes all of them along, up to Most. Group runs in a goroutine of its own and must
// answer every job that it is given; jobs that were given up meanwhile are for it to skip.
// It must not panic, which would end the process: [Guarded] makes an error of that.
package gather
