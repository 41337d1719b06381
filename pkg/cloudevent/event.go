package cloudevent

import (
	"github.com/cloudevents/sdk-go/v2/event"

	"aiadmin/pkg/user"
)

// New returns the event as the CloudEvents SDK knows it, for code that goes on with the
// SDK. To send it over HTTP, prefer [SetHeader], which encodes what a header cannot hold.
func New(e user.Event, source string) event.Event {
	out := event.New(event.CloudEventsVersionV1)
	out.SetID(e.ID.String())
	out.SetSource(source)
	out.SetType(string(e.Type))
	out.SetSubject(e.UserID.String())
	out.SetTime(e.At)
	out.SetDataContentType(ContentType)
	out.SetDataSchema(schemaURI(source, e.Type))
	for _, a := range attributes(&e, source) {
		switch a.name {
		case PartitionKey, Sequence, CausationID:
			out.SetExtension(a.name, a.value)
		}
	}
	out.DataEncoded = e.Data
	return out
}
