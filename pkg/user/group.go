package user

import (
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Group is a group of users. Identity providers keep groups and their members; a membership gives
// no rights.
type Group struct {
	ID          uuid.UUID
	DisplayName string // as written; unique by NameKey
	ExternalID  *string
	// Version is 1 at creation and grows by one with every event about the group.
	Version              int64
	CreatedAt, UpdatedAt time.Time // UTC, microseconds
}

// NameKey returns the comparison form of the group's name.
func (g *Group) NameKey() string { return Fold(g.DisplayName) }

// AppendJSON appends the group as clients of the native API read it.
func (g *Group) AppendJSON(dst []byte) []byte {
	dst = appendQuotedUUID(append(dst, `{"id":`...), g.ID)
	dst = appendString(append(dst, `,"name":`...), g.DisplayName)
	dst = appendOptional(append(dst, `,"externalId":`...), g.ExternalID)
	dst = strconv.AppendInt(append(dst, `,"version":`...), g.Version, 10)
	dst = appendTime(append(dst, `,"createdAt":`...), g.CreatedAt)
	dst = appendTime(append(dst, `,"updatedAt":`...), g.UpdatedAt)
	return append(dst, '}')
}

// GroupMember is a user in a group.
type GroupMember struct {
	ID   uuid.UUID
	Name string
}

// GroupPatch is what a request says of a group. Nothing in it depends on who the members are.
type GroupPatch struct {
	DisplayName Optional[string]
	ExternalID  Optional[*string] // nil unassigns it
	// ReplaceAll says that the members become Added, whoever they were. Removed is empty then.
	ReplaceAll bool
	// Added and Removed have no id twice and none in common. They may name members that are, or
	// are not, in the group already: neither is an error. An added user must exist.
	Added, Removed []uuid.UUID
}

// GroupAction is what a [GroupCommand] does.
type GroupAction int

// The actions.
const (
	CreateGroup GroupAction = iota
	UpdateGroup
	DeleteGroup
)

// GroupCommand asks for one change of a group.
type GroupCommand struct {
	Action GroupAction
	ID     uuid.UUID // of the group; a creation's is new
	Patch  GroupPatch
	Origin
	Preconditions
}

// GroupOutcome is what a group command came to.
type GroupOutcome struct {
	Group  *Group // after the change; nil after a deletion
	Events []Event
}

// The types of events about groups.
const (
	GroupCreated EventType = "ai.admin.group.created"
	GroupUpdated EventType = "ai.admin.group.updated"
	GroupDeleted EventType = "ai.admin.group.deleted"
)

// OfGroup reports whether events of the type are about a group: their UserID is the group's id.
func (t EventType) OfGroup() bool { return t == GroupCreated || t == GroupUpdated || t == GroupDeleted }

// maxIDsOfEvent bounds the members that one event names.
const maxIDsOfEvent = 1000

// Apply returns the group that the command makes of before, nil in a creation, and the events that say
// so. Added and removed are the users who become members and who cease to be. Without events nothing
// changes. Each event is a version of the group.
func (c *GroupCommand) Apply(before *Group, added, removed []uuid.UUID, now time.Time) GroupOutcome {
	after := &Group{ID: c.ID, CreatedAt: now}
	if before != nil {
		*after = *before
	}
	set(&after.DisplayName, c.Patch.DisplayName)
	set(&after.ExternalID, c.Patch.ExternalID)
	kind := GroupUpdated
	switch {
	case c.Action == CreateGroup:
		kind = GroupCreated
	case c.Action == DeleteGroup:
		after.Version++
		return GroupOutcome{Events: []Event{c.event(GroupDeleted, before, after, nil, nil, now)}}
	case len(added)+len(removed) == 0 && after.DisplayName == before.DisplayName && equalText(after.ExternalID, before.ExternalID):
		return GroupOutcome{Group: before}
	}
	after.UpdatedAt = now
	outcome := GroupOutcome{Group: after}
	for first := true; first || len(added)+len(removed) > 0; first = false {
		nAdded := min(len(added), maxIDsOfEvent)
		nRemoved := min(len(removed), maxIDsOfEvent-nAdded)
		after.Version++
		outcome.Events = append(outcome.Events, c.event(kind, before, after, added[:nAdded], removed[:nRemoved], now))
		added, removed, kind, before = added[nAdded:], removed[nRemoved:], GroupUpdated, after
	}
	return outcome
}

func equalText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func (c *GroupCommand) event(kind EventType, before, after *Group, added, removed []uuid.UUID, now time.Time) Event {
	data := appendQuotedUUID([]byte(`{"group":{"id":`), after.ID)
	data = appendString(append(data, `,"name":`...), after.DisplayName)
	data = appendList(append(data, `},"added":`...), added, appendIDElement)
	data = appendList(append(data, `,"removed":`...), removed, appendIDElement)
	return Event{ID: NewID(), Type: kind, UserID: after.ID, Version: after.Version, At: now, Actor: c.Actor, Cause: c.Cause,
		TraceParent: c.TraceParent, Data: append(data, '}'), Changes: groupChanges(before, after)}
}

func appendIDElement(dst []byte, id *uuid.UUID) []byte { return appendQuotedUUID(dst, *id) }

func groupChanges(before, after *Group) jsontext.Value {
	var changes []fieldChange
	from, fromID := jsontext.Value("null"), jsontext.Value("null")
	if before != nil {
		from, fromID = appendString(nil, before.DisplayName), appendOptional(nil, before.ExternalID)
	}
	for _, change := range []fieldChange{{"name", from, appendString(nil, after.DisplayName)}, {"externalId", fromID, appendOptional(nil, after.ExternalID)}} {
		if !slices.Equal(change.From, change.To) {
			changes = append(changes, change)
		}
	}
	return encodeChanges(changes)
}
