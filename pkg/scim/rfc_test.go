package scim

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// full is a user with attributes of every form.
func full(t *testing.T) Profile {
	t.Helper()
	return mustPost(t, `{`+coreUser+`,"userName":"ada@example.com","externalId":"x1","displayName":"Ada L","title":"Dr","name":{"givenName":"Ada","familyName":"L"},
		"emails":[{"value":"w@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home","display":"Home"}],
		"addresses":[{"type":"work","locality":"London","country":"GB"}],"`+enterprise+`":{"department":"R","manager":{"value":"m","$ref":"https://x/m"}},
		"`+ours+`":{"tag":"ada","role":"member","models":["gpt-5*"],"modelAccess":"listed","requestsPerMinute":60,"monthlyBudgetCents":1250}}`)
}

// TestRFC7644Patch has a case for each rule of RFC 7644, section 3.5.2.
func TestRFC7644Patch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		ops  []string
		want string
		kind Type
	}{
		{name: "§3.5.2.1 add without a path", ops: []string{`{"op":"add","value":{"emails":[{"value":"o@b.ca","type":"other"}],"nickName":"Babs"}}`},
			want: `{"nickName":"Babs","emails":[{"value":"w@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home","display":"Home"},{"value":"o@b.ca","type":"other"}]}`},
		{name: "§3.5.2.1 add to a single value replaces it", ops: []string{`{"op":"add","path":"title","value":"Prof"}`}, want: `{"title":"Prof"}`},
		{name: "§3.5.2.1 add to a complex value merges", ops: []string{`{"op":"add","path":"name","value":{"middleName":"K"}}`}, want: `{"name":{"givenName":"Ada","middleName":"K","familyName":"L"}}`},
		{name: "§3.5.2.1 add of an existing value", ops: []string{`{"op":"add","path":"emails","value":[{"value":"H@b.ca","type":"home"}]}`},
			want: `{"emails":[{"value":"w@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home","display":"Home"}]}`},
		{name: "§3.5.2.1 add to an extension", ops: []string{`{"op":"add","path":"` + enterprise + `","value":{"costCenter":"7"}}`},
			want: `{"` + enterprise + `":{"department":"R","costCenter":"7","manager":{"value":"m","$ref":"https://x/m"}}}`},
		{name: "§3.5.2 a new primary clears the other", ops: []string{`{"op":"add","path":"emails","value":[{"value":"o@b.ca","primary":true}]}`},
			want: `{"emails":[{"value":"w@b.ca","type":"work","primary":false},{"value":"h@b.ca","type":"home","display":"Home"},{"value":"o@b.ca","primary":true}]}`},
		{name: "§3.5.2 an earlier value added as primary", ops: []string{`{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}`, `{"op":"add","path":"emails","value":[{"value":"w@b.ca","type":"work","primary":true}]}`},
			want: `{"emails":[{"value":"w@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home","display":"Home","primary":false}]}`},
		{name: "§3.5.2 an earlier value made primary", ops: []string{`{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}`, `{"op":"replace","path":"emails[type eq \"work\"].primary","value":"True"}`},
			want: `{"emails":[{"value":"w@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home","display":"Home","primary":false}]}`},
		{name: "§3.5.2.2 remove an attribute", ops: []string{`{"op":"remove","path":"title"}`}, want: `{"title":null}`},
		{name: "§3.5.2.2 remove all values", ops: []string{`{"op":"remove","path":"emails"}`}, want: `{"emails":null}`},
		{name: "§3.5.2.2 remove by filter", ops: []string{`{"op":"remove","path":"emails[type eq \"home\" or value co \"nothing\"]"}`}, want: `{"emails":[{"value":"w@b.ca","type":"work","primary":true}]}`},
		{name: "§3.5.2.2 the filter says which, not the value", ops: []string{`{"op":"remove","path":"emails[type eq \"home\"]","value":[{"value":"w@b.ca"}]}`}, want: `{"emails":[{"value":"w@b.ca","type":"work","primary":true}]}`},
		{name: "§3.5.2.2 remove a sub-attribute by filter", ops: []string{`{"op":"remove","path":"emails[type eq \"home\"].display"}`},
			want: `{"emails":[{"value":"w@b.ca","type":"work","primary":true},{"value":"h@b.ca","type":"home"}]}`},
		{name: "§3.5.2.2 remove a sub-attribute of all", ops: []string{`{"op":"remove","path":"emails.type"}`}, want: `{"emails":[{"value":"w@b.ca","primary":true},{"value":"h@b.ca","display":"Home"}]}`},
		{name: "§3.5.2.2 remove a sub-attribute", ops: []string{`{"op":"remove","path":"name.givenName"}`}, want: `{"name":{"familyName":"L"}}`},
		{name: "§3.5.2.2 remove an extension", ops: []string{`{"op":"remove","path":"` + enterprise + `"}`}, want: `{"` + enterprise + `":null,"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + ours + `"]}`},
		{name: "§3.5.2.2 remove what is absent", ops: []string{`{"op":"remove","path":"nickName"}`, `{"op":"remove","path":"phoneNumbers[type eq \"fax\"].value"}`}, want: `{"nickName":null,"phoneNumbers":null}`},
		{name: "§3.5.2.2 remove one model", ops: []string{`{"op":"add","path":"` + ours + `:models","value":["o3"]}`, `{"op":"remove","path":"` + ours + `:models[value eq \"gpt-5*\"]"}`},
			want: `{"` + ours + `":{"tag":"ada","role":"member","models":["o3"],"modelAccess":"listed","requestsPerMinute":60,"monthlyBudgetCents":1250}}`},
		{name: "§3.5.2.2 remove without a path", ops: []string{`{"op":"remove"}`}, kind: NoTarget},
		{name: "§3.5.2.2 remove what is required", ops: []string{`{"op":"remove","path":"userName"}`}, kind: Mutability},
		{name: "§3.5.2.2 remove what is readOnly", ops: []string{`{"op":"remove","path":"groups"}`}, kind: Mutability},
		{name: "§3.5.2.3 replace without a path leaves the rest", ops: []string{`{"op":"replace","value":{"emails":[{"value":"o@b.ca"}],"nickName":"Babs"}}`}, want: `{"emails":[{"value":"o@b.ca"}],"nickName":"Babs","title":"Dr"}`},
		{name: "§3.5.2.3 replace what is absent adds", ops: []string{`{"op":"replace","path":"nickName","value":"Babs"}`}, want: `{"nickName":"Babs"}`},
		{name: "§3.5.2.3 replace all values", ops: []string{`{"op":"replace","path":"emails","value":[{"value":"o@b.ca","type":"other"}]}`}, want: `{"emails":[{"value":"o@b.ca","type":"other"}]}`},
		{name: "§3.5.2.3 replace by filter", ops: []string{`{"op":"replace","path":"addresses[type eq \"work\"]","value":{"type":"work","locality":"Paris"}}`}, want: `{"addresses":[{"type":"work","locality":"Paris"}]}`},
		{name: "§3.5.2.3 replace a sub-attribute by filter", ops: []string{`{"op":"replace","path":"addresses[type eq \"work\"].locality","value":"Paris"}`}, want: `{"addresses":[{"type":"work","locality":"Paris","country":"GB"}]}`},
		{name: "§3.5.2.3 replace a complex value leaves the rest", ops: []string{`{"op":"replace","path":"name","value":{"givenName":"A"}}`}, want: `{"name":{"givenName":"A","familyName":"L"}}`},
		{name: "§3.5.2.3 replace where nothing matches", ops: []string{`{"op":"replace","path":"addresses[type eq \"boat\"].locality","value":"Paris"}`}, kind: NoTarget},
		{name: "§3.5.2.3 replace what is readOnly", ops: []string{`{"op":"replace","path":"meta.version","value":"1"}`}, kind: Mutability},
		{name: "§3.5.2 a part of meta", ops: []string{`{"op":"remove","path":"meta.created"}`}, kind: Mutability},
		{name: "§3.5.2 id is readOnly", ops: []string{`{"op":"replace","path":"id","value":"` + someID + `"}`}, kind: Mutability},
		{name: "§3.5.2 a manager's name is readOnly", ops: []string{`{"op":"add","path":"` + enterprise + `:manager.displayName","value":"M"}`}, kind: Mutability},
		{name: "§3.5.2 readOnly in a value is ignored", ops: []string{`{"op":"add","value":{"groups":[{"value":"g"}],"meta":{"version":"9"},"nope":1,"` + enterprise + `":{"manager":{"displayName":"M","value":"n"}}}}`},
			want: `{"groups":null,"nope":null,"` + enterprise + `":{"department":"R","manager":{"value":"n","$ref":"https://x/m"}}}`},
		{name: "§3.5.2 unknown path", ops: []string{`{"op":"replace","path":"nope","value":"x"}`}, kind: InvalidPath},
		{name: "§3.5.2 a path that is no string", ops: []string{`{"op":"replace","path":1,"value":"x"}`}, kind: InvalidPath},
		{name: "§3.5.2 a value of another type", ops: []string{`{"op":"replace","path":"title","value":1}`}, kind: InvalidValue},
		{name: "§3.5.2 a sub-attribute of another type", ops: []string{`{"op":"replace","path":"emails[type eq \"work\"].primary","value":"perhaps"}`}, kind: InvalidValue},
		{name: "§3.5.2 no value", ops: []string{`{"op":"replace","path":"title"}`}, kind: InvalidValue},
		{name: "§3.5.2 no path and a plain value", ops: []string{`{"op":"add","value":"x"}`}, kind: InvalidValue},
		{name: "§3.5.2 no op", ops: []string{`{"path":"title","value":"x"}`}, kind: InvalidSyntax},
		{name: "§3.5.2 an operation that is no object", ops: []string{`1`}, kind: InvalidSyntax},
		{name: "§3.5.2 a closed set", ops: []string{`{"op":"add","path":"` + ours + `:role","value":"boss"}`}, kind: InvalidValue},
		{name: "§3.5.2 atomic", ops: []string{`{"op":"replace","path":"title","value":"x"}`, `{"op":"replace","path":"nope","value":"x"}`}, kind: InvalidPath},
		{name: "§3.5.2 in order", ops: []string{`{"op":"add","path":"nickName","value":"a"}`, `{"op":"remove","path":"nickName"}`, `{"op":"add","path":"nickName","value":"b"}`}, want: `{"nickName":"b"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := full(t)
			p, err := patch(t, before, operations(test.ops...))
			if test.kind != "" {
				wantError(t, err, 400, test.kind)
				wantUnchanged(t, before, p)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantShown(t, p, test.want)
			if strings.Contains(test.name, "existing value") {
				wantUnchanged(t, before, p)
			}
		})
	}
}

// TestRFC7644PatchRequest is about the message around the operations (section 3.5.2).
func TestRFC7644PatchRequest(t *testing.T) {
	t.Parallel()
	op := `{"op":"add","path":"title","value":"x"}`
	for _, body := range []string{``, `[]`, `{`, `{"Operations":[` + op + `]}`, `{` + coreUser + `,"Operations":[` + op + `]}`, `{` + patchOp + `}`, `{` + patchOp + `,"Operations":[]}`,
		`{` + patchOp + `,"Operations":` + op + `}`, `{` + patchOp + `,"Operations":null}`, `{"schemas":"` + PatchOpURN + `","Operations":[` + op + `]}`, operations(op) + "x"} {
		_, err := Users.ParsePatch([]byte(body))
		wantError(t, err, 400, InvalidSyntax)
	}
	many := func(n int) string { return operations(strings.Repeat(op+",", n-1) + op) }
	if _, err := Users.ParsePatch([]byte(many(maxOperations))); err != nil {
		t.Error(err)
	}
	for _, body := range []string{many(maxOperations + 1), `"` + strings.Repeat("x", 1<<20) + `"`, operations(`{"op":"add","value":{` + manyNames(maxSteps+1) + `}}`)} {
		_, err := Users.ParsePatch([]byte(body))
		wantError(t, err, 413, "")
	}
}

// manyNames makes members that are different names of one attribute.
func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = `"emails[value eq ` + strconv.Itoa(i) + `].display":"x"`
	}
	return strings.Join(names, ",")
}

// TestRFC7643Body has a case for each rule of bodies: RFC 7643, section 2, and RFC 7644, sections 3.3 and 3.5.1.
func TestRFC7643Body(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body, want string }{
		{"§2.1 names in any case", `"NICKNAME":"x"`, `{"nickName":"x"}`},
		{"§2.3 a boolean as a string", `"active":"fAlSe"`, `{"active":false}`},
		{"§2.3 an integer as a string", `"` + ours + `":{"requestsPerMinute":"60","tokensPerMinute":1e3}`, `{"` + ours + `":{"requestsPerMinute":60,"tokensPerMinute":1000,"tag":"u","role":"member","modelAccess":"all"}}`},
		{"§2.4 equal values once", `"emails":[{"value":"A@b.ca","type":"work"},{"value":"a@b.ca","type":"work"},{"value":"a@b.ca","type":"home"}]`, `{"emails":[{"value":"A@b.ca","type":"work"},{"value":"a@b.ca","type":"home"}]}`},
		{"§2.4 equal addresses once", `"addresses":[{"locality":"L","type":"work"},{"type":"work","locality":"L","primary":true}]`, `{"addresses":[{"locality":"L","type":"work","primary":true}]}`},
		{"§2.4 one primary", `"phoneNumbers":[{"value":"1","primary":true},{"value":"2","primary":true}]`, `{"phoneNumbers":[{"value":"1","primary":false},{"value":"2","primary":true}]}`},
		{"§2.4 a value alone", `"emails":{"value":"a@b.ca"}`, `{"emails":[{"value":"a@b.ca"}]}`},
		{"§2.5 null, [] and empty strings are absent", `"title":null,"emails":[],"nickName":"","name":{},"addresses":[{"type":"work"}],"phoneNumbers":[null,{}]`,
			`{"title":null,"emails":null,"nickName":null,"addresses":null,"phoneNumbers":null}`},
		{"§2.2 readOnly is ignored", `"id":"` + otherID + `","groups":[{"value":"g"}],"meta":{"version":"9"}`, `{"id":"` + someID + `","groups":null}`},
		{"§3.3 extensions by URN", `"` + enterprise + `":{"DEPARTMENT":"R"}`, `{"` + enterprise + `":{"department":"R"},"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + enterprise + `","` + ours + `"]}`},
		{"§3.3 core attributes by URN", `"urn:ietf:params:scim:schemas:core:2.0:User":{"title":"Dr"}`, `{"title":"Dr"}`},
		{"§3.3 unknown is ignored", `"nope":{"a":[1]},"urn:example:x":{"a":1},"name":{"nope":1,"givenName":"G"}`, `{"nope":null,"name":{"givenName":"G"}}`},
		{"as sent", `"locale":" x ","profileUrl":"no URL","emails":[{"value":"a@b.ca","type":"boat","display":"D","primary":false}]`,
			`{"locale":" x ","profileUrl":"no URL","emails":[{"value":"a@b.ca","type":"boat","display":"D","primary":false}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wantShown(t, mustPost(t, `{`+coreUser+`,"userName":"u",`+test.body+`}`), test.want)
		})
	}
	long := strings.Repeat("x", maxKeptBytes)
	for body, want := range map[string]Error{
		``: {Status: 400, Type: InvalidSyntax}, `{"userName":"u","userName":"v"}`: {Status: 400, Type: InvalidSyntax}, `{"userName":"` + "\xff" + `"}`: {Status: 400, Type: InvalidSyntax},
		`{"schemas":["urn:x"],"userName":"u"}`: {Status: 400, Type: InvalidSyntax}, `{"schemas":5,"userName":"u"}`: {Status: 400, Type: InvalidSyntax}, `{"schemas":"urn:x","userName":"u"}`: {Status: 400, Type: InvalidSyntax},
		`{"userName":5}`: {Status: 400, Type: InvalidValue}, `{"userName":""}`: {Status: 400, Type: InvalidValue}, `{"userName":"a\u0000"}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","name":"x"}`: {Status: 400, Type: InvalidValue},
		`{"userName":"u","active":"perhaps"}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","active":1}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","emails":[[["x"]]]}`: {Status: 400, Type: InvalidValue},
		`{"userName":"u","emails":[{"value":"no address"}]}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","emails":[{"value":"a@b.ca","primary":true},{"value":"a@` + strings.Repeat("界", 253) + `"}]}`: {Status: 400, Type: InvalidValue},
		`{"userName":"u","` + ours + `":{"requestsPerMinute":"1_0"}}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","` + ours + `":{"requestsPerMinute":9007199254740990.6}}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","` + ours + `":{"requestsPerMinute":"1e2"}}`: {},
		`{"userName":"u","emails":[` + strings.Repeat(`{"value":"a@b.ca"},`, 20) + `{"value":"b@b.ca"}]}`: {Status: 400, Type: InvalidValue},
		`{"userName":"u","title":"` + long + `"}`:                                                         {Status: 400, Type: InvalidValue}, `{"userName":"` + strings.Repeat("x", 1<<20) + `"}`: {Status: 413},
		`{"userName":"u","` + ours + `":{"role":"boss"}}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","` + ours + `":{"modelAccess":"some"}}`: {Status: 400, Type: InvalidValue},
		`{"userName":"u","` + ours + `":{"requestsPerMinute":1.5}}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","` + ours + `":{"requestsPerMinute":-1}}`: {Status: 400, Type: InvalidValue}, `{"userName":"u","` + ours + `":{"tag":"no tag"}}`: {Status: 400, Type: InvalidValue},
		`{"userName":"u","` + enterprise + `":5}`: {}, `{"userName":"u","schemas":[]}`: {}, `{"userName":"u","schemas":null}`: {},
	} {
		_, err := post(t, body)
		if want.Status == 0 && err != nil {
			t.Errorf("%s: %v", body, err)
		} else if want.Status != 0 {
			wantError(t, err, want.Status, want.Type)
		}
	}
}

func TestRFC7644Projection(t *testing.T) {
	t.Parallel()
	resource := full(t).Resource(base)
	for _, test := range []struct {
		name                 string
		attributes, excluded []string
		want                 []string // the names there are, besides id and schemas
	}{
		{"§3.9 default", nil, nil, []string{"active", "addresses", "displayName", "emails", "externalId", "meta", "name", "title", ours, enterprise, "userName"}},
		{"§3.9 attributes", []string{"USERNAME, emails.value", "nope"}, nil, []string{"emails{value}", "userName"}},
		{"§3.9 sub-attributes", []string{"name.givenName,name.familyName,emails.type,emails.display,addresses.primary"}, nil, []string{"emails{display type}", "name{familyName givenName}"}},
		{"§3.9 URN", []string{strings.ToUpper(enterprise) + ":department," + ours}, nil, []string{ours, enterprise + "{department}"}},
		{"§3.9 sub-attribute of an extension", []string{enterprise + ":manager.value"}, nil, []string{enterprise + "{manager}"}},
		{"a value filter, as Microsoft's collection sends it", []string{`emails[type eq "work"],title`, `emails[type eq "x, y"].value`}, nil, []string{"emails", "title"}},
		{"a dot after the URN, as Microsoft sends it", []string{enterprise + ".department"}, nil, []string{enterprise + "{department}"}},
		{"§3.9 core URN", []string{"urn:ietf:params:scim:schemas:core:2.0:User:title"}, nil, []string{"title"}},
		{"§3.9 nothing known", []string{"nope"}, nil, nil},
		{"§3.9 excluded", nil, []string{"emails,name,addresses,meta,active,title", "id,schemas", ours}, []string{"displayName", "externalId", enterprise, "userName"}},
		{"§3.9 excluded sub-attributes, all of them", nil, []string{"emails.value,emails.type,emails.display,emails.primary,name,addresses,meta,active,title,displayName,externalId,userName," + ours + "," + enterprise}, nil},
		{"§3.9 excluded sub-attributes", nil, []string{"emails.display,emails.primary,name.familyName,addresses,meta,active,title,displayName,externalId,userName," + ours + "," + enterprise + ":manager"},
			[]string{"emails{type value}", "name{givenName}", enterprise + "{department}"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := resource.Append(nil)
			projection, err := Users.ParseProjection(test.attributes, test.excluded)
			if err != nil {
				t.Fatal(err)
			}
			got := projection.Apply(resource)
			if got.text("id") != someID || len(listOf(got["schemas"])) == 0 {
				t.Error("id and schemas must be there")
			}
			if diff := cmp.Diff(test.want, shape(got, test.want)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if string(before) != string(resource.Append(nil)) {
				t.Error("the resource was changed")
			}
		})
	}
	_, err := Users.ParseProjection([]string{"id"}, []string{"meta"})
	wantError(t, err, 400, InvalidValue)
}

// shape lists the names in a resource, with their members' names where want has those.
func shape(resource Object, want []string) []string {
	braced := strings.Join(want, " ")
	var names []string
	for _, name := range resource.names() {
		if name == "id" || name == "schemas" {
			continue
		}
		if strings.Contains(braced, name+"{") {
			all := Object{}
			for _, each := range listOf(resource[name]) {
				for member := range each.(Object) {
					all[member] = true
				}
			}
			name += "{" + strings.Join(all.names(), " ") + "}"
		}
		names = append(names, name)
	}
	return names
}

func TestProjectionWants(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		attributes, excluded string
		want, display        bool
	}{{"", "", true, false}, {"displayName", "", false, false}, {"members", "", true, false}, {"members.display", "", true, true}, {"", "members", false, false}, {"", "Members.display", true, false}, {"", "displayName", true, false},
		{"urn:ietf:params:scim:schemas:core:2.0:Group:members", "", true, false}, {"urn:ietf:params:scim:schemas:core:2.0:Group", "", true, false}, {"nope", "", false, false}} {
		p, err := Groups.ParseProjection([]string{test.attributes}, []string{test.excluded})
		if err != nil || p.Wants("members") != test.want || p.WantsDisplay() != test.display || p.Given() != (test.attributes+test.excluded != "") {
			t.Errorf("%+v: %v %v %t", test, err, p.Wants("members"), p.WantsDisplay())
		}
	}
}

func TestGroupResource(t *testing.T) {
	t.Parallel()
	g := Group{Group: &user.Group{ID: uuid.MustParse(someID), DisplayName: "G", ExternalID: optional("e"), Version: 2, CreatedAt: someTime, UpdatedAt: someTime},
		Members: []Member{{uuid.MustParse(otherID), ""}, {uuid.MustParse(thirdID), "Ada"}}}
	want := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"` + someID + `","displayName":"G","externalId":"e","members":[` +
		`{"$ref":"` + base + `/Users/` + otherID + `","type":"User","value":"` + otherID + `"},{"$ref":"` + base + `/Users/` + thirdID + `","display":"Ada","type":"User","value":"` + thirdID + `"}],` +
		`"meta":{"created":"2026-01-02T03:04:05.000006Z","lastModified":"2026-01-02T03:04:05.000006Z","location":"` + base + `/Groups/` + someID + `","resourceType":"Group","version":"W/\"2\""}}`
	if diff := cmp.Diff(want, string(g.Resource(base).Append(nil))); diff != "" {
		t.Error(diff)
	}
	g.Members = nil
	if g.Resource(base)["members"] != nil {
		t.Error("members that were not read are shown")
	}
}

func TestRFC7644Errors(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"d","scimType":"invalidFilter","status":"400"}`:                          Errorf(InvalidFilter, "d"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"d","scimType":"uniqueness","status":"409"}`:                             Errorf(Uniqueness, "d"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"d","status":"413"}`:                                                     StatusError(413, "d"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"taken","scimType":"uniqueness","status":"409"}`:                         user.Errorf(user.DuplicateEmail, "taken"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"away","status":"503"}`:                                                  user.Errorf(user.Unavailable, "away"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"nobody","status":"404"}`:                                                user.Errorf(user.NotFound, "nobody"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"internal error: the log has it under the request's id","status":"500"}`: errors.New("secret SQL"),
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"emails.value must be good; ` + ours + `:monthlyBudgetCents must be small; ` + ours + `:models[2] is bad; active is odd; userName is long","scimType":"invalidValue","status":"400"}`: user.Problems{
			{Field: "email", Message: "must be good"}, {Field: "limits.monthlyBudgetUSD", Message: "must be small"}, {Field: "models[2]", Message: "is bad"}, {Field: "status", Message: "is odd"}, {Field: "userName", Message: "is long"}}.Err(),
	} {
		got, encodeErr := json.Marshal(ErrorOf(err).Object())
		if encodeErr != nil || string(got) != want {
			t.Errorf("%v: %v\ngot  %s\nwant %s", err, encodeErr, got, want)
		}
	}
}

func TestRFC7644Search(t *testing.T) {
	t.Parallel()
	search := `"schemas":["` + SearchRequestURN + `"]`
	n, first, cursor := int64(10), int64(-1), ""
	for body, want := range map[string]Search{
		`{` + search + `}`: {},
		`{` + search + `,"attributes":["displayName","userName"],"FILTER":"displayName sw \"s\"","startIndex":-1,"count":10,"sortBy":"userName","sortOrder":"descending","nope":{}}`: {
			Attributes: []string{"displayName", "userName"}, Filter: `displayName sw "s"`, StartIndex: &first, Count: &n, SortBy: "userName", SortOrder: "descending"},
		`{` + search + `,"excludedAttributes":"members","cursor":"","count":null}`: {ExcludedAttributes: []string{"members"}, Cursor: &cursor},
	} {
		got, err := ReadSearch([]byte(body))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", body, err, diff)
		}
	}
	for body, kind := range map[string]Type{`{}`: InvalidSyntax, `x`: InvalidSyntax, `{` + search + `,"count":"10"}`: InvalidValue, `{` + search + `,"count":1.5}`: InvalidValue, `{` + search + `,"filter":1}`: InvalidValue,
		`{` + search + `,"attributes":[1]}`: InvalidValue, `{` + search + `,"cursor":1}`: InvalidCursor, `{` + search + `,"cursor":"","count":"10"}`: InvalidCount} {
		_, err := ReadSearch([]byte(body))
		wantError(t, err, 400, kind)
	}
}
