package cloudevent

import (
	"fmt"
	"net/url"
	"strings"

	"aiadmin/pkg/user"
)

// SpecVersion is the version of CloudEvents that is spoken here.
const SpecVersion = "1.0"

// ContentType is the datacontenttype of every event.
const ContentType = "application/json"

// The extension attributes of an outgoing event.
const (
	PartitionKey = "partitionkey" // the user's id: whoever shards by it keeps each user's order
	Sequence     = "sequence"     // the user's version, zero-padded so that it sorts as text
	CausationID  = "causationid"  // the id of the event or request that caused the change
)

// attribute is a context attribute in its canonical string form (CloudEvents 1.0.2, section 3).
type attribute struct{ name, value string }

// attributes are all that an event has but its data, in the order of the specification.
func attributes(e *user.Event, source string) []attribute {
	all := []attribute{
		{"specversion", SpecVersion},
		{"id", e.ID.String()},
		{"source", source},
		{"type", string(e.Type)},
		{"subject", e.UserID.String()},
		{"time", user.FormatTime(e.At)},
		{"datacontenttype", ContentType},
		{"dataschema", schemaURI(source, e.Type)},
		{PartitionKey, e.UserID.String()},
		{Sequence, fmt.Sprintf("%020d", e.Version)},
	}
	if e.Cause != "" {
		all = append(all, attribute{CausationID, e.Cause})
	}
	return all
}

// schemaURI names the schema of an event's data. The attribute must be an absolute URI
// (CloudEvents 1.0.2, dataschema), and consumers that check refuse a relative one: where
// the source has a host, the schema is at that host; else the scheme says which service
// serves the path.
func schemaURI(source string, t user.EventType) string {
	path := SchemaPath + strings.TrimPrefix(string(t), "ai.admin.") + ".json"
	base, err := url.Parse(source)
	if err != nil || base.Host == "" || base.Scheme == "" {
		return "ai-admin:" + path
	}
	return base.Scheme + "://" + base.Host + path
}
