// Package eventapi takes CloudEvents 1.0 in over HTTP: binary, structured and batched. It
// turns each event into the same [user.Command] that a request makes, and gives it to the
// one writer.
//
// # What an event goes through
//
// A delivery is read (bounded in size and time), taken apart by its mode into the SDK's
// event.Event, checked more strictly than the SDK does, and turned into a command that
// claims (source, id). An extension that is not read is not looked at. What cannot be taken
// apart is malformed: 400. From there on every refusal goes through the writer too, since an
// earlier delivery of the same event may have succeeded: then that one's answer is given again.
//
// # What happens on failure
//
// The status decides what Knative Eventing does: it retries 404, 408, 409, 429 and 5xx,
// and sends every other 4xx to the dead letter sink at once. [statuses] is the one table.
// A rejected event is not claimed, so that it is judged afresh when it is sent again.
//
// Handlers run concurrently. They share two budgets for bodies, of single events and of
// batches, and few batches are parsed at a time. The gate is entered once a body has
// arrived, so that a slow sender takes nobody's place.
package eventapi
