package user

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
)

func manyIDs(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = NewID()
	}
	return ids
}

// TestGroupCommands applies commands to groups: the versions, the events and how many ids each names.
func TestGroupCommands(t *testing.T) {
	t.Parallel()
	before := &Group{ID: NewID(), DisplayName: "Research", Version: 7, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(1, 0)}
	now := time.Unix(2, 0).UTC()
	external := "e1"
	for name, test := range map[string]struct {
		action         GroupAction
		before         *Group
		patch          GroupPatch
		added, removed int
		want           string // of each event: type, version, ids added and removed, fields changed
	}{
		"created":             {CreateGroup, nil, GroupPatch{DisplayName: Some("G")}, 0, 0, "created 1 +0 -0 1"},
		"created with many":   {CreateGroup, nil, GroupPatch{DisplayName: Some("G"), ExternalID: Some(&external)}, 2500, 0, "created 1 +1000 -0 2, updated 2 +1000 -0 0, updated 3 +500 -0 0"},
		"nothing":             {UpdateGroup, before, GroupPatch{DisplayName: Some("Research")}, 0, 0, ""},
		"renamed":             {UpdateGroup, before, GroupPatch{DisplayName: Some("research")}, 0, 0, "updated 8 +0 -0 1"},
		"externalId":          {UpdateGroup, before, GroupPatch{ExternalID: Some(&external)}, 0, 0, "updated 8 +0 -0 1"},
		"members":             {UpdateGroup, before, GroupPatch{}, 1, 1, "updated 8 +1 -1 0"},
		"members in portions": {UpdateGroup, before, GroupPatch{DisplayName: Some("R")}, 1500, 600, "updated 8 +1000 -0 1, updated 9 +500 -500 0, updated 10 +0 -100 0"},
		"deleted":             {DeleteGroup, before, GroupPatch{}, 0, 0, "deleted 8 +0 -0 0"},
	} {
		command := GroupCommand{Action: test.action, ID: before.ID, Patch: test.patch, Origin: Origin{Actor: "okta", Cause: "r1"}}
		outcome := command.Apply(test.before, manyIDs(test.added), manyIDs(test.removed), now)
		got := ""
		for i, e := range outcome.Events {
			var data struct {
				Group          struct{ ID, Name string }
				Added, Removed []string
			}
			var changes []any
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(e.Changes, &changes); err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprintf("%s %d +%d -%d %d", string(e.Type)[len("ai.admin.group."):], e.Version, len(data.Added), len(data.Removed), len(changes))
			if e.UserID != before.ID || data.Group.ID != before.ID.String() || e.Actor != "okta" || e.Cause != "r1" || !e.At.Equal(now) || !e.Type.OfGroup() {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		switch {
		case test.action == DeleteGroup:
			if outcome.Group != nil {
				t.Errorf("%s: there is still a group", name)
			}
		case test.want == "":
			if outcome.Group != test.before {
				t.Errorf("%s: the group has changed", name)
			}
		case outcome.Group.Version != outcome.Events[len(outcome.Events)-1].Version || !outcome.Group.UpdatedAt.Equal(now):
			t.Errorf("%s: %+v", name, outcome.Group)
		}
	}
	if before.Version != 7 || before.DisplayName != "Research" {
		t.Errorf("the group before was changed: %+v", before)
	}
}

// TestSCIMFacets finds parts of the name and further e-mail addresses by their facets.
func TestSCIMFacets(t *testing.T) {
	t.Parallel()
	u := &User{SCIM: []byte(`{"name":{"givenName":"ÄDA","middleName":"B"},"emails":[{"value":"H@x.org","type":"home"},"odd"],"title":"Dr","phoneNumbers":[{"value":"1"}]}`)}
	var got []string
	for _, facet := range Facets(u) {
		if len(facet) > 5 && facet[:5] == "scim/" {
			got = append(got, facet)
		}
	}
	if want := []string{"scim/emails.value=h@x.org", "scim/name.givenName=äda"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}
