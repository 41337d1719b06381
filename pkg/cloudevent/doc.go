// Package cloudevent writes the events that tell of changes as CloudEvents 1.0.2: as JSON
// for the change feed (JSON Format), as HTTP headers for the relay and for replies (HTTP
// Protocol Binding, binary mode), and as a value of the CloudEvents SDK.
//
// Every way out of the service goes through here, so that one event looks the same to a
// sink, to a Trigger and to a reader of the feed, and is the same again when it is told a
// second time. It does no I/O and keeps no state.
package cloudevent
