package scim

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// habit is a request that an identity provider really sends, numbered as the providers' habits
// in the contract.
type habit struct {
	name string
	base Profile // native() when it has no user
	body string  // of a PATCH; a POST or PUT where the name says so
	want string  // what is shown then
	kind Type    // of the error instead
}

// patchHabits are also the seeds of FuzzPatch.
var patchHabits = []habit{
	{name: "1 Entra, active is a string", body: operations(`{"op":"Replace","path":"active","value":"False"}`), want: `{"active":false}`},
	{name: "1 Entra, and back", body: operations(`{"op":"Replace","path":"active","value":"True"}`), want: `{"active":true}`},
	{name: "1 Entra with aadOptscim062020", body: operations(`{"op":"replace","path":"active","value":false}`), want: `{"active":false}`},
	{name: "2 Entra, op capitalized", body: operations(`{"op":"Add","path":"title","value":"Dr"}`, `{"op":"Remove","path":"title"}`), want: `{"title":null}`},
	{name: "2 another op", body: operations(`{"op":"Move","path":"title","value":"Dr"}`), kind: InvalidSyntax},
	{name: "3 Okta, no path", body: operations(`{"op":"replace","value":{"active":false}}`),
		want: `{"active":false,"displayName":"Ada Lovelace","emails":[{"value":"ada@example.com","type":"work","primary":true}]}`},
	{name: "4 dotted and URN keys", body: operations(`{"op":"replace","value":{"displayName":"B","name.givenName":"K","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber":"7"}}`),
		want: `{"displayName":"B","name":{"formatted":"Ada Lovelace","givenName":"K","familyName":"Lovelace"},"` + enterprise + `":{"employeeNumber":"7"}}`},
	{name: "5 Entra, Add to a value path that nothing matches", base: without("emails"), body: operations(`{"op":"Add","path":"emails[type eq \"work\"].value","value":"a@b.ca"}`),
		want: `{"emails":[{"type":"work","value":"a@b.ca","primary":true}]}`},
	{name: "5 not the only one", body: operations(`{"op":"Add","path":"emails[type eq \"home\"].value","value":"a@b.ca"}`),
		want: `{"emails":[{"value":"ada@example.com","type":"work","primary":true},{"type":"home","value":"a@b.ca"}]}`},
	{name: "6 Entra, Replace of a value path that nothing matches", body: operations(`{"op":"Replace","path":"phoneNumbers[type eq \"mobile\"].value","value":"+1"}`),
		want: `{"phoneNumbers":[{"type":"mobile","value":"+1","primary":true}]}`},
	{name: "6 primary eq true", body: operations(`{"op":"Replace","path":"phoneNumbers[primary eq true].value","value":"+1"}`),
		want: `{"phoneNumbers":[{"primary":true,"value":"+1"}]}`},
	{name: "6 no canonical type", body: operations(`{"op":"Replace","path":"phoneNumbers[type eq \"boat\"].value","value":"+1"}`), kind: NoTarget},
	{name: "6 no sub-attribute", body: operations(`{"op":"Replace","path":"phoneNumbers[type eq \"work\"]","value":{"value":"+1"}}`), kind: NoTarget},
	{name: "6 another filter", body: operations(`{"op":"Replace","path":"phoneNumbers[value eq \"+2\"].value","value":"+1"}`), kind: NoTarget},
	{name: "6 two conditions", body: operations(`{"op":"Replace","path":"phoneNumbers[type eq \"work\" and primary eq true].value","value":"+1"}`), kind: NoTarget},
	{name: "7 Entra, manager is a string", body: operations(`{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":"` + otherID + `"}`),
		want: `{"` + enterprise + `":{"manager":{"value":"` + otherID + `"}}}`},
	{name: "7 Replace", body: operations(`{"op":"Replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":"m"}`),
		want: `{"` + enterprise + `":{"manager":{"value":"m"}}}`},
	{name: "7 in a list of one", body: operations(`{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":[{"$ref":"http://x/Users/m","value":"m"}]}`),
		want: `{"` + enterprise + `":{"manager":{"value":"m","$ref":"http://x/Users/m"}}}`},
	{name: "7 an empty string unassigns", base: managed(), body: operations(`{"op":"Replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":""}`),
		want: `{"` + enterprise + `":null}`},
	{name: "8 a removal with a value, of a user", body: operations(`{"op":"Add","path":"emails","value":[{"type":"home","value":"h@b.ca"}]}`,
		`{"op":"Remove","path":"emails","value":[{"value":"ADA@example.com"}]}`), want: `{"emails":[{"type":"home","value":"h@b.ca"}]}`},
	{name: "11 Okta, the id besides", body: operations(`{"op":"replace","value":{"id":"` + someID + `","displayName":"x"}}`), want: `{"displayName":"x"}`},
	{name: "11 another id", body: operations(`{"op":"replace","value":{"id":"` + otherID + `","displayName":"x"}}`), kind: Mutability},
	{name: "14 password", body: operations(`{"op":"replace","value":{"password":"1mz050nq"}}`, `{"op":"replace","path":"password","value":"1mz050nq"}`), want: `{"password":null}`},
	{name: "18 names in another case", body: operations(`{"OP":"REPLACE","Path":"DISPLAYNAME","Value":"x"}`,
		`{"op":"add","path":"URN:IETF:params:scim:schemas:EXTENSION:enterprise:2.0:user:COSTCENTER","value":"7"}`), want: `{"displayName":"x","` + enterprise + `":{"costCenter":"7"}}`},
	{name: "23 Entra, SingleAppRoleAssignment", body: operations(`{"op":"Add","path":"roles[primary eq \"True\"].value","value":"viewer"}`),
		want: `{"roles":[{"primary":true,"value":"viewer"}],"` + ours + `":{"tag":"ada","role":"viewer","modelAccess":"all"}}`},
	{name: "23 replaced", base: viewer(), body: operations(`{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"member"}`),
		want: `{"roles":[{"primary":true,"value":"member"}],"` + ours + `":{"tag":"ada","role":"member","modelAccess":"all"}}`},
	{name: "23 Entra, AppRoleAssignmentsComplex", body: operations(`{"op":"Add","path":"roles","value":[{"value":"{\"id\":\"1\",\"value\":\"Viewer\",\"displayName\":\"Viewers\"}"},{"value":"{\"id\":\"2\",\"value\":\"Other\"}"}]}`),
		want: `{"roles":[{"value":"Viewer","display":"Viewers"},{"value":"Other"}],"` + ours + `":{"tag":"ada","role":"viewer","modelAccess":"all"}}`},
	{name: "23 the highest known counts", body: operations(`{"op":"Add","path":"roles","value":[{"value":"service"},{"value":"VIEWER"},{"value":"boss"}]}`),
		want: `{"` + ours + `":{"tag":"ada","role":"viewer","modelAccess":"all"}}`},
	{name: "24 Entra, null unassigns", base: managed(), body: operations(`{"op":"Replace","path":"nickName","value":null}`, `{"op":"Replace","path":"emails[type eq \"work\"].value","value":null}`),
		want: `{"nickName":null,"emails":null}`},
	{name: "24 an empty string unassigns", base: managed(), body: operations(`{"op":"Replace","path":"nickName","value":""}`, `{"op":"Replace","path":"emails[type eq \"home\"].value","value":""}`),
		want: `{"nickName":null,"emails":[{"value":"ada@example.com","type":"work","primary":true}]}`},
	{name: "24 within a complex value", base: managed(), body: operations(`{"op":"Replace","value":{"name":{"givenName":"","familyName":"L"}}}`),
		want: `{"name":{"formatted":"Ada Lovelace","familyName":"L"}}`},
	{name: "24 but the userName", body: operations(`{"op":"Replace","path":"userName","value":""}`), kind: InvalidValue},
	{name: "24 but the userName, null", body: operations(`{"op":"Replace","value":{"userName":null}}`), kind: InvalidValue},
	{name: "24 but the userName, removed", body: operations(`{"op":"Remove","path":"userName"}`), kind: Mutability},
	{name: "30 soft deletion keeps the rest", base: managed(), body: operations(`{"op":"Replace","path":"active","value":"False"}`), want: `{"active":false,"nickName":"A"}`},
}

func without(attribute string) Profile {
	p := native()
	if attribute == "emails" {
		user := *p.User
		user.Email, p.User = nil, &user
	}
	return p
}

// managed has attributes that are kept as sent.
func managed() Profile {
	p := native()
	p.SCIM = []byte(`{"nickName":"A","` + enterprise + `":{"manager":{"value":"m"}}}`)
	return p
}

func viewer() Profile {
	p := native()
	p.Role, p.SCIM = user.Viewer, []byte(`{"roles":[{"primary":true,"value":"viewer"}]}`)
	return p
}

func TestHabitsOfPatch(t *testing.T) {
	t.Parallel()
	for _, h := range patchHabits {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			if h.base.User == nil {
				h.base = native()
			}
			p, err := patch(t, h.base, h.body)
			if h.kind != "" {
				wantError(t, err, 400, h.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantShown(t, p, h.want)
			again, err := patch(t, p, h.body)
			if err != nil {
				t.Fatalf("repeated: %v", err)
			}
			wantUnchanged(t, p, again)
		})
	}
}

// postHabits are also the seeds of FuzzResource.
var postHabits = []habit{
	{name: "1 Entra, active is a string", body: `{` + coreUser + `,"userName":"u","active":"False"}`, want: `{"active":false}`},
	{name: "7 Entra, manager is a string", body: `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + enterprise + `"],"userName":"u","` + enterprise + `":{"manager":"` + otherID + `"}}`,
		want: `{"` + enterprise + `":{"manager":{"value":"` + otherID + `"}}}`},
	{name: "14 Okta", body: `{` + coreUser + `,"userName":"test.user@okta.local","name":{"givenName":"Test","familyName":"User"},"emails":[{"primary":true,"value":"test.user@okta.local","type":"work"}],
		"displayName":"Test User","locale":"en-US","externalId":"00ujl29u0le5T6Aj10h7","groups":[],"password":"1mz050nq","active":true}`,
		want: `{"userName":"test.user@okta.local","name":{"givenName":"Test","familyName":"User"},"emails":[{"primary":true,"value":"test.user@okta.local","type":"work"}],
		"displayName":"Test User","locale":"en-US","externalId":"00ujl29u0le5T6Aj10h7","groups":null,"password":null,"active":true}`},
	{name: "18 names in another case", body: `{"SCHEMAS":["URN:ietf:params:scim:schemas:core:2.0:user"],"USERNAME":"U@B.ca","Emails":[{"VALUE":"U@B.ca"}]}`, want: `{"userName":"U@B.ca","emails":[{"value":"U@B.ca"}]}`},
	{name: "22 Entra", body: `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User","urn:example:unknown"],"externalId":"0a21f0f2","userName":"Test_User",
		"active":true,"emails":[{"primary":true,"type":"work","value":"t@example.com"}],"meta":{"resourceType":"User"},"name":{"formatted":"given family","familyName":"family","givenName":"given"},"roles":[],"urn:example:unknown":{"a":1}}`,
		want: `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + ours + `"],"roles":null,"urn:example:unknown":null,"userName":"Test_User"}`},
	{name: "23 Entra, JSON in a string", body: `{` + coreUser + `,"userName":"u","roles":["{\"value\":\"viewer\"}"]}`, want: `{"roles":[{"value":"viewer"}]}`},
	{name: "24 nulls", body: `{` + coreUser + `,"userName":"u","title":null,"emails":null,"name":{"givenName":null},"externalId":""}`, want: `{"title":null,"emails":null,"externalId":null}`},
	{name: "unpublished attributes", body: `{` + coreUser + `,"userName":"u","ims":[{"value":"x"}],"photos":[{"value":"x"}],"entitlements":[{"value":"x"}],"x509Certificates":[{"value":"x"}]}`,
		want: `{"ims":null,"photos":null,"entitlements":null,"x509Certificates":null}`},
	{name: "no userName", body: `{` + coreUser + `}`, kind: InvalidValue},
}

func TestHabitsOfPost(t *testing.T) {
	t.Parallel()
	for _, h := range postHabits {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			p, err := post(t, h.body)
			if h.kind != "" {
				wantError(t, err, 400, h.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantShown(t, p, h.want)
		})
	}
}

// TestHabit13 puts back what was got, as Okta does, with one attribute changed.
func TestHabit13(t *testing.T) {
	t.Parallel()
	for _, before := range []Profile{native(), managed(), viewer(), mustPost(t, postHabits[2].body)} {
		before.Groups = []user.GroupRef{{ID: uuid.MustParse(otherID), Name: "G"}}
		same, err := put(t, before, string(before.Resource(base).Append(nil)))
		if err != nil {
			t.Fatal(err)
		}
		wantUnchanged(t, before, same)
		resource := before.Resource(base)
		resource["active"] = false
		off, err := put(t, before, string(resource.Append(nil)))
		if err != nil {
			t.Fatal(err)
		}
		if off.Status != user.Suspended {
			t.Error("still active")
		}
		resource["meta"], resource["schemas"] = off.Resource(base)["meta"], off.Resource(base)["schemas"]
		if diff := cmp.Diff(resource, off.Resource(base)); diff != "" {
			t.Error(diff)
		}
	}
}

// groupHabits are PATCHes of the group someID.
var groupHabits = []struct {
	name, body string
	want       user.GroupPatch
	status     int
	kind       Type
}{
	{name: "8 Entra removes members by value", body: operations(`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"` + otherID + `"}]}`), want: user.GroupPatch{Removed: ids(otherID)}},
	{name: "8 a removal of nothing", body: operations(`{"op":"Remove","path":"members","value":[]}`)},
	{name: "9 a removal without a value empties", body: operations(`{"op":"remove","path":"members"}`), want: user.GroupPatch{ReplaceAll: true}},
	{name: "10 Okta", body: operations(`{"op":"remove","path":"members[value eq \"`+otherID+`\"]"}`, `{"op":"add","path":"members","value":[{"value":"`+thirdID+`","display":"x"}]}`),
		want: user.GroupPatch{Added: ids(thirdID), Removed: ids(otherID)}},
	{name: "10 the order counts", body: operations(`{"op":"add","path":"members","value":[{"value":"`+otherID+`"}]}`, `{"op":"remove","path":"members[value eq \"`+otherID+`\"]"}`), want: user.GroupPatch{Removed: ids(otherID)}},
	{name: "10 an unknown member", body: operations(`{"op":"remove","path":"members[value eq \"nobody\"]"}`)},
	{name: "11 Okta, the name after each change", body: operations(`{"op":"replace","value":{"id":"` + someID + `","displayName":"x"}}`), want: user.GroupPatch{DisplayName: user.Some("x")}},
	{name: "11 another id", body: operations(`{"op":"replace","value":{"id":"` + otherID + `","displayName":"x"}}`), status: 400, kind: Mutability},
	{name: "12 Okta, full push", body: operations(`{"op":"replace","path":"members","value":[{"value":"` + otherID + `"},{"value":"` + thirdID + `"},{"value":"` + otherID + `"}]}`),
		want: user.GroupPatch{ReplaceAll: true, Added: ids(otherID, thirdID)}},
	{name: "12 without a path", body: operations(`{"op":"replace","value":{"members":[{"value":"` + otherID + `"}]}}`), want: user.GroupPatch{ReplaceAll: true, Added: ids(otherID)}},
	{name: "12 an empty list", body: operations(`{"op":"replace","path":"members","value":[]}`), want: user.GroupPatch{ReplaceAll: true}},
	{name: "12 replaced and changed", body: operations(`{"op":"replace","path":"members","value":[{"value":"`+otherID+`"}]}`, `{"op":"add","path":"members","value":{"value":"`+thirdID+`"}}`, `{"op":"remove","path":"members","value":[{"value":"`+otherID+`"}]}`),
		want: user.GroupPatch{ReplaceAll: true, Added: ids(thirdID)}},
	{name: "12 replaced twice", body: operations(`{"op":"replace","path":"members","value":[{"value":"`+otherID+`"}]}`, `{"op":"replace","path":"members","value":[{"value":"`+otherID+`"}]}`), want: user.GroupPatch{ReplaceAll: true, Added: ids(otherID)}},
	{name: "28 Entra adds in portions", body: operations(`{"op":"Add","path":"members","value":[{"value":"`+otherID+`"}]}`, `{"op":"Add","path":"members","value":[{"value":"`+thirdID+`"}]}`), want: user.GroupPatch{Added: ids(otherID, thirdID)}},
	{name: "a filter of several", body: operations(`{"op":"remove","path":"members[value eq \"` + otherID + `\" or value eq \"` + thirdID + `\"]"}`), want: user.GroupPatch{Removed: ids(otherID, thirdID)}},
	{name: "another filter", body: operations(`{"op":"remove","path":"members[display co \"x\"]"}`), status: 400, kind: InvalidFilter},
	{name: "a nested group by type", body: operations(`{"op":"add","path":"members","value":[{"value":"` + otherID + `","type":"Group"}]}`), status: 400, kind: InvalidValue},
	{name: "a nested group by $ref", body: operations(`{"op":"add","path":"members","value":[{"value":"` + otherID + `","$ref":"https://x/Groups/1"}]}`), status: 400, kind: InvalidValue},
	{name: "a member that cannot exist", body: operations(`{"op":"add","path":"members","value":[{"value":"nobody"}]}`), status: 400, kind: InvalidValue},
	{name: "a member's display", body: operations(`{"op":"replace","path":"members[value eq \"` + otherID + `\"].display","value":"x"}`), status: 400, kind: Mutability},
	{name: "externalId", body: operations(`{"op":"add","path":"externalId","value":"e"}`), want: user.GroupPatch{ExternalID: user.Some(optional("e"))}},
	{name: "externalId removed", body: operations(`{"op":"remove","path":"externalId"}`), want: user.GroupPatch{ExternalID: user.Some[*string](nil)}},
	{name: "an empty name", body: operations(`{"op":"replace","path":"displayName","value":""}`), status: 400, kind: InvalidValue},
	{name: "a name too long", body: operations(`{"op":"replace","path":"displayName","value":"` + strings.Repeat("x", 256) + `"}`), status: 400, kind: InvalidValue},
	{name: "too many members", body: operations(`{"op":"add","path":"members","value":[` + strings.Repeat(`{"value":"`+otherID+`"},`, maxMembers) + `{"value":"` + thirdID + `"}]}`), status: 413},
}

func TestHabitsOfGroupPatch(t *testing.T) {
	t.Parallel()
	for _, h := range groupHabits {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			got, err := PatchGroup(uuid.MustParse(someID), []byte(h.body))
			if h.status != 0 {
				wantError(t, err, h.status, h.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(h.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestReadGroup(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]user.GroupPatch{
		// 13: Okta puts the whole group back.
		`{` + coreGroup + `,"id":"` + someID + `","displayName":"G","members":[{"value":"` + otherID + `","display":"x"}],"meta":{"version":"W/\"1\""}}`: {
			DisplayName: user.Some("G"), ExternalID: user.Some[*string](nil), ReplaceAll: true, Added: ids(otherID)},
		// 22: Entra's second schema.
		`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"externalId":"8aa1","displayName":"G","meta":{"resourceType":"Group"}}`: {
			DisplayName: user.Some("G"), ExternalID: user.Some(optional("8aa1")), ReplaceAll: true},
	} {
		got, err := ReadGroup([]byte(body))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", body, err, diff)
		}
	}
	for body, kind := range map[string]Type{
		`{` + coreGroup + `}`: InvalidValue,
		`{` + coreGroup + `,"displayName":"G","members":[{"value":"` + otherID + `","type":"group"}]}`: InvalidValue,
		`{` + coreUser + `,"displayName":"G"}`:                                                         InvalidSyntax,
		`[]`:                                                                                           InvalidSyntax,
	} {
		_, err := ReadGroup([]byte(body))
		wantError(t, err, 400, kind)
	}
}
