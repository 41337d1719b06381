package scim

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// maxMembers bounds the members that one request adds or removes.
const maxMembers = 10_000

func tooManyMembers() error {
	return StatusError(413, "a request may have at most %d members: send the rest in further requests", maxMembers)
}

// Group is a group as SCIM shows it.
type Group struct {
	*user.Group
	Members []Member // nil when they were not read
}

// Member is a user in a group, or a group of a user.
type Member struct {
	ID      uuid.UUID
	Display string // the user's or group's displayName; empty when it was not read
}

// Resource returns the group as SCIM shows it; base is the URL that /Groups is below.
func (g Group) Resource(base string) Object {
	resource := Object{"schemas": List{GroupSchema.ID}, "id": g.ID.String(), "displayName": g.DisplayName,
		"meta": meta(Groups, base, g.ID, g.Version, g.CreatedAt, g.UpdatedAt)}
	if g.ExternalID != nil {
		resource["externalId"] = *g.ExternalID
	}
	if len(g.Members) > 0 {
		resource["members"] = memberList(g.Members, Users, base, "User")
	}
	return resource
}

// memberList shows users of a group, or groups of a user.
func memberList(of []Member, t *ResourceType, base, kind string) List {
	list := make(List, len(of))
	for i, m := range of {
		element := Object{"value": m.ID.String(), "$ref": base + t.Endpoint + "/" + m.ID.String(), "type": kind}
		if m.Display != "" {
			element["display"] = m.Display
		}
		list[i] = element
	}
	return list
}

// ReadGroup reads the body of a POST or PUT. The group then has the members that it names and no
// others.
func ReadGroup(body []byte) (user.GroupPatch, error) {
	resource, err := Groups.Read(body)
	if err != nil {
		return user.GroupPatch{}, err
	}
	change := user.GroupPatch{DisplayName: user.Some(resource.text("displayName")), ExternalID: user.Some[*string](nil)}
	if id := resource.text("externalId"); id != "" {
		change.ExternalID = user.Some(&id)
	}
	delta := newDelta()
	delta.clear()
	err = delta.add(listOf(resource["members"]))
	delta.into(&change)
	return checked(change, err)
}

// PatchGroup reads the body of a PATCH of the group with the given id. It does not need the
// existing members: the change is the net effect of the operations in order. Members are selected
// by their values alone; another filter on members is [InvalidFilter].
func PatchGroup(id uuid.UUID, body []byte) (user.GroupPatch, error) {
	patch, err := Groups.ParsePatch(body)
	if err != nil {
		return user.GroupPatch{}, err
	}
	if patch.id != "" && !strings.EqualFold(patch.id, id.String()) {
		return user.GroupPatch{}, Errorf(Mutability, "id is readOnly: the group's is %q", id)
	}
	var change user.GroupPatch
	delta := newDelta()
	for _, op := range patch.operations {
		switch s, _ := op.assigned().(string); op.path.Attribute.Name {
		case "displayName":
			change.DisplayName = user.Some(s)
		case "externalId":
			change.ExternalID = user.Some[*string](nil)
			if s != "" {
				change.ExternalID = user.Some(&s)
			}
		case "members":
			if err := delta.apply(op); err != nil {
				return change, err
			}
		}
	}
	delta.into(&change)
	return checked(change, nil)
}

// checked enforces the rules of a group's fields.
func checked(c user.GroupPatch, err error) (user.GroupPatch, error) {
	name, id := c.DisplayName, c.ExternalID
	switch {
	case err != nil:
	case name.Set && (strings.TrimSpace(name.Value) == "" || utf8.RuneCountInString(name.Value) > 255 || strings.ContainsFunc(name.Value, unicode.IsControl)):
		err = Errorf(InvalidValue, "displayName must be 1 to 255 characters, not only blanks and with no control character")
	case id.Value != nil && utf8.RuneCountInString(*id.Value) > 255:
		err = Errorf(InvalidValue, "externalId must be 1 to 255 characters")
	case len(c.Added)+len(c.Removed) > maxMembers:
		err = tooManyMembers()
	}
	return c, err
}

// delta is the net effect of the operations so far on the members.
type delta struct {
	all     bool // every member that is not in members as added is gone
	members map[uuid.UUID]bool
	order   []uuid.UUID // each id once, as first named
}

func newDelta() *delta { return &delta{members: map[uuid.UUID]bool{}} }

func (d *delta) clear() {
	d.all, d.order = true, nil
	clear(d.members)
}

func (d *delta) set(id uuid.UUID, added bool) {
	if _, seen := d.members[id]; !seen {
		d.order = append(d.order, id)
	}
	d.members[id] = added
}

func (d *delta) add(values List) error {
	for _, each := range values {
		member, _ := each.(Object)
		if strings.EqualFold(member.text("type"), "Group") || strings.Contains(member.text("$ref"), "/Groups/") {
			return Errorf(InvalidValue, "nested groups are not supported: add the users of the group")
		}
		id, ok := user.ParseID(member.text("value"))
		if !ok {
			return Errorf(InvalidValue, "members.value must be the id of a user, not %s", quote(member.text("value")))
		}
		d.set(id, true)
	}
	return nil
}

// remove removes ids; one that is not a UUID matches nobody.
func (d *delta) remove(values []string) {
	for _, each := range values {
		if id, ok := user.ParseID(each); ok {
			d.set(id, false)
		}
	}
}

func (d *delta) apply(op operation) error {
	given := listOf(op.value)
	if op.path.Filter != nil {
		selected, ok := memberIDs(op.path.Filter)
		if !ok || op.op != opRemove && op.value != nil {
			return Errorf(InvalidFilter, `a filter on members must be value eq "id", and only a removal may have one`)
		}
		d.remove(selected)
		return nil
	}
	switch {
	case op.op == opRemove && len(given) > 0:
		values := make([]string, len(given))
		for i, each := range given {
			member, _ := each.(Object)
			values[i] = member.text("value")
		}
		d.remove(values)
		return nil
	case op.op != opAdd:
		d.clear()
	}
	if op.op == opRemove {
		return nil
	}
	return d.add(given)
}

// memberIDs returns the ids that a filter of value eq, joined by or, selects. All members are of the type User.
func memberIDs(f Filter) ([]string, bool) {
	switch f := f.(type) {
	case Compare:
		id, ok := f.Value.(string)
		return []string{id}, ok && f.Op == Equal && f.Path.Sub.Name == "value"
	case And:
		if len(f) == 2 && isTypeUser(f[0]) {
			return memberIDs(f[1])
		}
		if len(f) == 2 && isTypeUser(f[1]) {
			return memberIDs(f[0])
		}
	case Or:
		var all []string
		for _, each := range f {
			ids, ok := memberIDs(each)
			if !ok {
				return nil, false
			}
			all = append(all, ids...)
		}
		return all, true
	}
	return nil, false
}

func isTypeUser(f Filter) bool {
	c, ok := f.(Compare)
	text, _ := c.Value.(string)
	return ok && c.Op == Equal && c.Path.Sub != nil && c.Path.Sub.Name == "type" && strings.EqualFold(text, "User")
}

func (d *delta) into(c *user.GroupPatch) {
	c.ReplaceAll = d.all
	for _, id := range d.order {
		switch {
		case d.members[id]:
			c.Added = append(c.Added, id)
		case !d.all:
			c.Removed = append(c.Removed, id)
		}
	}
}
