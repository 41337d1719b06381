// Command bench measures the service beside the physical limit, in one run:
//
//	make bench
//
// It starts a PostgreSQL of its own with fsync on, fills it by COPY, starts the service
// and, in processes of their own, two yardsticks. The first is noop, the service's HTTP
// server answering the very same bytes from memory. The second is pgbench -M prepared,
// running the very statements that the service runs: they are read from PostgreSQL's own
// log while the service answers one request, so that they cannot differ from what it does.
// What a service could at best reach then follows as limit = 1 / (1/noop + 1/sql).
//
// This process is the load: one goroutine per connection, HTTP/1.1 with keep-alive, each
// request written from a ready buffer. It shares the machine with all that it measures, so
// its cost is in noop and in the service alike. The three are measured in turns, several
// rounds of each, so that a slow moment of the machine meets all of them.
//
// Nothing of this is in the product's binary.
package main
