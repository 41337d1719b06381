package scimapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// TestRacingProvidersLoseNothing lets two replicas serve two providers and native clients who change
// one user at the same time: every change is there in the end, each at a version of its own.
func TestRacingProvidersLoseNothing(t *testing.T) {
	t.Parallel()
	one := start(t)
	services := []*service{one, startOn(t, one.database)}
	id := one.user(t, "ada", `"emails":[{"value":"ada@b.ca","type":"work","primary":true}]`, `"title":"t"`)
	const each = 12
	var all sync.WaitGroup
	for i := range each {
		s := services[i%2]
		all.Go(func() {
			s.ask(t, "PATCH", "/Users/"+id, patchBody(fmt.Sprintf(`{"op":"add","path":"phoneNumbers","value":[{"value":"%d","type":"work"}]}`, i))).is(t, 200)
		})
		all.Go(func() {
			s.ask(t, "PATCH", "/Users/"+id, patchBody(fmt.Sprintf(`{"op":"add","path":"roles","value":[{"value":"r%d"}]}`, i))).is(t, 200)
		})
		all.Go(func() {
			s.askAt(t, "PATCH", "/ai/admin/users/"+id, fmt.Sprintf(`{"metadata":{"m%d":1},"name":"Ada %d"}`, i, i), "Authorization", "Bearer writer", "Content-Type", "application/merge-patch+json").is(t, 200)
		})
	}
	all.Wait()
	a := one.ask(t, "GET", "/Users/"+id, "").is(t, 200)
	phones, _ := a.body["phoneNumbers"].([]any)
	roles, _ := a.body["roles"].([]any)
	native := one.askAt(t, "GET", "/ai/admin/users/"+id, "", "Authorization", "Bearer reader").is(t, 200)
	metadata, _ := native.body["metadata"].(map[string]any)
	if len(phones) != each || len(roles) != each || len(metadata) != each {
		t.Errorf("%d phone numbers, %d roles, %d metadata: %s", len(phones), len(roles), len(metadata), a.text)
	}
	native.has(t, "version", fmt.Sprint(1+3*each))
}

// TestRacingGroupChangesLoseNothing adds and removes members of one group from two replicas.
func TestRacingGroupChangesLoseNothing(t *testing.T) {
	t.Parallel()
	one := start(t)
	services := []*service{one, startOn(t, one.database)}
	var stay, leave, come []string
	for i := range 8 {
		stay, leave, come = append(stay, one.user(t, fmt.Sprint("stay", i))), append(leave, one.user(t, fmt.Sprint("go", i))), append(come, one.user(t, fmt.Sprint("come", i)))
	}
	g := one.group(t, "G", append(append([]string{}, stay...), leave...)...)
	var all sync.WaitGroup
	for i := range come {
		s := services[i%2]
		all.Go(func() {
			s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"add","path":"members","value":[{"value":"`+come[i]+`"}]}`)).is(t, 204)
		})
		all.Go(func() {
			s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"remove","path":"members[value eq \"`+leave[i]+`\"]"}`)).is(t, 204)
		})
		all.Go(func() { s.ask(t, "DELETE", "/Users/"+stay[i], "").is(t, 204) })
	}
	all.Wait()
	got := members(t, one, g)
	for _, id := range come {
		if !strings.Contains(got, id) {
			t.Errorf("%s was added and is no member", id)
		}
	}
	if n := len(strings.Fields(got)); n != len(come) {
		t.Errorf("%d members, want %d", n, len(come))
	}
	one.ask(t, "GET", "/Groups/"+g+"?attributes=meta.version", "").has(t, "meta.version", fmt.Sprintf("%q", fmt.Sprintf(`W/"%d"`, 1+16)))
}

// TestEventsOfGroups has one event for each version of a group, with at most 1000 ids in each.
func TestEventsOfGroups(t *testing.T) {
	t.Parallel()
	s := start(t)
	const many = 2500
	ids := make([]string, many)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < many; i += 8 {
				ids[i] = s.native(t, fmt.Sprintf(`{"tag":"u%d","name":"N"}`, i))
			}
		})
	}
	all.Wait()
	g := s.group(t, "Big", ids...)
	s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"remove","path":"members[value eq \"`+ids[0]+`\"]"}`)).is(t, 204)
	s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"replace","path":"displayName","value":"Bigger"}`)).is(t, 204)
	s.ask(t, "DELETE", "/Groups/"+g, "").is(t, 204)
	entries, _, err := s.store.History(t.Context(), uuid.MustParse(g), 1<<62, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []user.EventType{user.GroupDeleted, user.GroupUpdated, user.GroupUpdated, user.GroupUpdated, user.GroupUpdated, user.GroupCreated}
	if len(entries) != len(want) {
		t.Fatalf("%d events, want %d", len(entries), len(want))
	}
	for i, kind := range want {
		if e := entries[i]; e.Type != kind || e.Version != int64(len(want)-i) || e.Actor != "okta" {
			t.Errorf("event %d: %s at version %d by %s", i, e.Type, e.Version, e.Actor)
		}
	}
	added := 0
	end := time.Now().Add(20 * time.Second) // the feed waits for older transactions of the whole cluster
	for after := ""; added < many && time.Now().Before(end); {
		feed := s.askAt(t, "GET", "/ai/admin/changes?limit=500&after="+after, "", "Authorization", "Bearer reader").is(t, 200)
		changes := feed.body["changes"].([]any)
		if len(changes) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		for _, e := range changes {
			list, _ := e.(map[string]any)["added"].([]any)
			if added += len(list); len(list) > 1000 {
				t.Errorf("%d ids in one event", len(list))
			}
		}
		after, _ = feed.body["next"].(string)
	}
	if added != many {
		t.Errorf("%d members were told of, want %d", added, many)
	}
}

// TestAdminsAreNotTheProviders refuses to make and unmake admins, and records each attempt.
func TestAdminsAreNotTheProviders(t *testing.T) {
	t.Parallel()
	s := start(t)
	boss := s.native(t, `{"tag":"boss","name":"Boss","role":"admin"}`)
	member := s.user(t, "member")
	role := func(name string) string {
		return patchBody(`{"op":"replace","path":"` + ourURN + `:role","value":"` + name + `"}`)
	}
	try := []struct{ action, id, method, path, body string }{
		{"scim.grant", "", "POST", "/Users", userBody("new", `"`+ourURN+`":{"role":"admin"}`)},
		{"scim.grant", "", "POST", "/Users", userBody("new", `"roles":[{"value":"Admin"}]`)},
		{"scim.grant", member, "PATCH", "/Users/" + member, role("admin")},
		{"scim.grant", member, "PUT", "/Users/" + member, userBody("member", `"`+ourURN+`":{"role":"admin"}`)},
		{"scim.revoke", boss, "PATCH", "/Users/" + boss, role("member")},
		{"scim.suspend", boss, "PATCH", "/Users/" + boss, patchBody(`{"op":"Replace","path":"active","value":"False"}`)},
		{"scim.delete", boss, "DELETE", "/Users/" + boss, ""},
	}
	for i, each := range try {
		s.ask(t, each.method, each.path, each.body).fails(t, 403, "")
		if got := s.refusals[i]; string(got.Action) != each.action || got.Actor != "okta" || got.RequestID == "" || got.SourceIP != "127.0.0.1" || (got.UserID != uuid.Nil) != (each.id != "") {
			t.Errorf("recorded %+v, want %s", got, each.action)
		}
	}
	s.ask(t, "PATCH", "/Users/"+boss, patchBody(`{"op":"add","path":"title","value":"CEO"}`)).is(t, 200)
	s.grants.Store(true)
	for _, each := range try[2:] {
		if a := s.ask(t, each.method, each.path, each.body); a.status >= 300 {
			t.Errorf("%s: %s", a.call, a.text)
		}
	}
}

// TestNativeChangesAreSeen changes a provisioned user natively: what SCIM shows follows.
func TestNativeChangesAreSeen(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.user(t, "ada", `"displayName":"Ada"`, `"name":{"formatted":"Ada","givenName":"A"}`, `"emails":[{"value":"a@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home"}]`, `"title":"Dr"`)
	change := func(body string) {
		t.Helper()
		s.askAt(t, "PATCH", "/ai/admin/users/"+id, body, "Authorization", "Bearer writer", "Content-Type", "application/merge-patch+json").is(t, 200)
	}
	change(`{"name":"Ada L.","email":"new@b.ca","status":"suspended","userName":"ada2"}`)
	a := s.ask(t, "GET", "/Users/"+id, "").has(t, "displayName", `"Ada L."`).has(t, "name.formatted", `"Ada L."`).has(t, "name.givenName", `"A"`).has(t, "title", `"Dr"`)
	a.has(t, "emails.0.value", `"new@b.ca"`).has(t, "emails.1.value", `"h@b.ca"`).has(t, "active", "false").has(t, "userName", `"ada2"`).has(t, "meta.version", `"W/\"2\""`)
	change(`{"email":null}`)
	s.ask(t, "GET", "/Users/"+id, "").has(t, "emails", `[{"type":"home","value":"h@b.ca"}]`)
	found(t, s, "/Users", `emails.value eq "h@b.ca"`, id)
	found(t, s, "/Users", `emails.value eq "a@b.ca"`)
	found(t, s, "/Users", `userName eq "ADA2"`, id)

	native := s.native(t, `{"tag":"eve","name":"Eve Of Destruction"}`)
	s.ask(t, "GET", "/Users/"+native, "").is(t, 200).has(t, "userName", `"eve"`).has(t, "name.givenName", `"Eve"`).has(t, "name.familyName", `"Of Destruction"`).has(t, "displayName", `"Eve Of Destruction"`)
	s.ask(t, "POST", "/Users", userBody("EVE")).fails(t, 409, "uniqueness")
}

// TestGroupsNatively reads groups and members in pages.
func TestGroupsNatively(t *testing.T) {
	t.Parallel()
	s := start(t)
	read := func(path string) answer {
		return s.askAt(t, "GET", path, "", "Authorization", "Bearer reader")
	}
	one, two := s.user(t, "a"), s.user(t, "b")
	b, a := s.group(t, "beta", one, two), s.group(t, "Alpha", one)
	list := read("/ai/admin/groups?limit=1").is(t, 200).has(t, "groups.0.id", `"`+a+`"`).has(t, "groups.0.name", `"Alpha"`)
	next, _ := list.at("page.next").(string)
	read("/ai/admin/groups?limit=1&cursor="+next).is(t, 200).has(t, "groups.0.id", `"`+b+`"`).has(t, "page.next", "null")
	page := read("/ai/admin/groups/"+b+"/members?limit=1").is(t, 200).has(t, "members", `[{"id":"`+one+`","name":"a"}]`)
	next, _ = page.at("page.next").(string)
	read("/ai/admin/groups/"+b+"/members?limit=1&cursor="+next).is(t, 200).has(t, "members.0.id", `"`+two+`"`).has(t, "page.next", "null")
	read("/ai/admin/users/"+one).is(t, 200).has(t, "groups", `[{"id":"`+a+`","name":"Alpha"},{"id":"`+b+`","name":"beta"}]`)
	read("/ai/admin/groups/"+b).is(t, 200).has(t, "version", "1")
	for _, path := range []string{"/ai/admin/groups/" + uuid.NewString(), "/ai/admin/groups/x", "/ai/admin/groups/" + uuid.NewString() + "/members"} {
		read(path).is(t, 404)
	}
	for _, path := range []string{"/ai/admin/groups?cursor=x", "/ai/admin/groups?limit=0", "/ai/admin/groups?nothing=1"} {
		read(path).is(t, 400)
	}
	s.askAt(t, "GET", "/ai/admin/groups", "").is(t, 403)
	read("/ai/admin/users/"+b+"/history").is(t, 404) // a group is no user
}

// TestUsersTakeNoGroupsID: the two would share one history, and the user's deletion would erase the group's events.
func TestUsersTakeNoGroupsID(t *testing.T) {
	t.Parallel()
	s := start(t)
	g := s.group(t, "Research")
	refused := func() {
		t.Helper()
		a := s.askAt(t, "POST", "/ai/admin/users", `{"id":"`+g+`","tag":"t","name":"N"}`, "Authorization", "Bearer admin", "Content-Type", "application/json").is(t, 409)
		if !strings.Contains(a.text, "DUPLICATE_ID") {
			t.Error(a.text)
		}
	}
	refused()
	s.ask(t, "DELETE", "/Groups/"+g, "").is(t, 204)
	refused()
}
