// Package eventapi takes CloudEvents 1.0 in over HTTP: binary, structured and batched. It
// turns each event into the same [user.Command] that a request makes, and gives it to the
// one writer.
//
// # What an event goes through
//
// A delivery is read (bounded), taken apart by its mode into attributes and data, checked
// more strictly than the CloudEvents SDK does, parsed by the SDK, and turned into a
// command that claims (source, id). What cannot be taken apart is malformed: 400. From
// there on every refusal goes through the writer too, since an earlier delivery of the
// same event may have succeeded: then that one's answer is given again.
//
// # What happens on failure
//
// The status decides what Knative Eventing does: it retries 404, 408, 409, 429 and 5xx,
// and sends every other 4xx to the dead letter sink at once. [statuses] is the one table.
// A rejected event is not claimed, so that it is judged afresh when it is sent again.
// A panic, of the SDK for one, ends in the answer to its own request.
//
// Handlers run concurrently. They share nothing but the room for batches: the bodies of one
// of the largest, or of many small ones, are held at a time, and few of them parsed. The
// others wait, their bodies unread, until there is room or their requests end.
package eventapi
