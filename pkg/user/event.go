package user

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// EventType is the CloudEvents type of a change that happened.
type EventType string

// The types of outgoing events.
const (
	Created EventType = "ai.admin.user.created"
	Updated EventType = "ai.admin.user.updated"
	Deleted EventType = "ai.admin.user.deleted"
)

// Event is a change that happened: an entry of the event log, from which the outbox, the
// history and the change feed are read.
type Event struct {
	ID      uuid.UUID // version 7
	Type    EventType
	UserID  uuid.UUID
	Version int64 // the user's, after the change
	At      time.Time
	Actor   string
	Cause   string
	// TraceParent is the W3C trace context of the cause; empty for none.
	TraceParent string
	// Data is the outgoing event's data, {"user":…,"changed":[…]}, with no secret in it.
	Data jsontext.Value
	// Changes is the history's list of [{"field","from","to"}].
	Changes jsontext.Value
}

// Recorded makes the event of a creation (before is nil) or an update.
func Recorded(before, after *User, command Command) Event {
	eventType := Updated
	if before == nil {
		eventType = Created
	}
	differences := differencesOf(before, after)
	return Event{ID: NewID(), Type: eventType, UserID: after.ID, Version: after.Version, At: after.UpdatedAt,
		Actor: command.Actor, Cause: command.Cause, TraceParent: command.TraceParent,
		Data: eventData(after, differences), Changes: encodeChanges(differences)}
}

// Removed makes the event of a deletion, which tells the id and the tag alone.
func Removed(before *User, command Command, at time.Time) Event {
	data := appendString([]byte(`{"user":{"id":"`+before.ID.String()+`","tag":`), before.Tag)
	return Event{ID: NewID(), Type: Deleted, UserID: before.ID, Version: before.Version + 1, At: at,
		Actor: command.Actor, Cause: command.Cause, TraceParent: command.TraceParent,
		Data: append(data, `},"changed":[]}`...), Changes: jsontext.Value("[]")}
}

// roomForUser is what most users need as JSON, with some room to spare: in bytes.
const roomForUser = 1 << 9

func eventData(u *User, differences []fieldChange) jsontext.Value {
	data := u.appendFields(append(make([]byte, 0, roomForUser), `{"user":`...), func(f *field) bool { return !f.hidden && !f.live })
	data = append(data, `,"changed":[`...)
	for i, d := range differences {
		if i > 0 {
			data = append(data, ',')
		}
		data = strconv.AppendQuote(data, d.Field) // field names are ours: plain ASCII
	}
	return append(data, "]}"...)
}

func encodeChanges(differences []fieldChange) jsontext.Value {
	out := append(make(jsontext.Value, 0, roomForUser), '[')
	for i, d := range differences {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"field":"`+d.Field+`","from":`...)
		out = append(out, d.From...)
		out = append(out, `,"to":`...)
		out = append(out, d.To...)
		out = append(out, '}')
	}
	return append(out, ']')
}

// UserJSON is the user in the event's data, as it was right after the change.
func (e *Event) UserJSON() jsontext.Value { return e.member("user") }

// Key returns a key of the user in the event's data, as its user shows it; the zero Key when it is not
// there.
func (e *Event) Key(id uuid.UUID) Key {
	for name, value := range Members(e.UserJSON()) {
		if name != "keys" {
			continue
		}
		var keys []Key
		if json.Unmarshal(value, &keys) != nil {
			return Key{}
		}
		if i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id }); i >= 0 {
			return keys[i]
		}
	}
	return Key{}
}

func (e *Event) member(name string) jsontext.Value {
	for found, value := range Members(e.Data) {
		if found == name {
			return value
		}
	}
	return nil
}

// Restore fills in what was erased from the event of a creation once its user was deleted:
// the repeated request has it, word for word.
func (e *Event) Restore(from Create) error {
	requested, err := from.Apply(0, Stamp{})
	if err != nil {
		return err
	}
	kept := maps.Collect(Members(e.UserJSON()))
	data := []byte(`{"user":{`)
	for name, value := range Members(requested.AppendJSON(nil)) {
		if old, ok := kept[name]; ok {
			value = old
		}
		data = append(data, `"`+name+`":`...) // field names are ours: plain ASCII
		data = append(append(data, value...), ',')
	}
	data = append(data[:len(data)-1], `},"changed":`...)
	e.Data = append(append(data, e.member("changed")...), '}')
	return nil
}
