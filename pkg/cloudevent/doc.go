// Package cloudevent writes the events that tell of changes as CloudEvents 1.0.2: as JSON
// for the change feed (JSON Format), and as HTTP headers for the relay and for replies (HTTP
// Protocol Binding, binary mode). The SDK leaves header values unencoded, and its event costs
// a dozen allocations that no writer needs; the tests hold that it reads what is written here.
//
// Every way out of the service goes through here, so that one event looks the same to a
// sink, to a Trigger and to a reader of the feed, and is the same again when it is sent a
// second time. It does no I/O and keeps no state.
package cloudevent
