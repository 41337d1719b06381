package scimapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// habit is what an identity provider really sends, and the answer that works: see the contract's table.
type habit struct {
	who string
	run func(t *testing.T, s *service)
}

// TestHabits plays the habits of identity providers one by one.
func TestHabits(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i, h := range habits {
		t.Run(fmt.Sprintf("%02d %s", i+1, h.who), func(t *testing.T) { h.run(t, s) })
	}
}

// escaped encodes a filter for a query.
func escaped(filter string) string { return url.QueryEscape(filter) }

func found(t testing.TB, s *service, endpoint, filter string, want ...string) {
	t.Helper()
	a := s.ask(t, "GET", endpoint+"?filter="+escaped(filter), "").is(t, 200)
	resources, _ := a.body["Resources"].([]any)
	var ids []string
	for _, each := range resources {
		ids = append(ids, each.(map[string]any)["id"].(string))
	}
	if strings.Join(ids, " ") != strings.Join(want, " ") || a.at("totalResults") != float64(len(want)) {
		t.Errorf("%s finds %v, want %v: %.300s", filter, ids, want, a.text)
	}
}

// members reads the ids in a group, in order.
func members(t testing.TB, s *service, group string) string {
	t.Helper()
	a := s.ask(t, "GET", "/Groups/"+group, "").is(t, 200)
	list, _ := a.body["members"].([]any)
	var ids []string
	for _, each := range list {
		ids = append(ids, each.(map[string]any)["value"].(string))
	}
	return strings.Join(ids, " ")
}

var habits = []habit{
	{"Entra: Replace active with the string False", func(t *testing.T, s *service) {
		id := s.user(t, "h1")
		for _, body := range []string{`{"op":"Replace","path":"active","value":"False"}`, `{"op":"replace","path":"active","value":false}`} {
			s.ask(t, "PATCH", "/Users/"+id, patchBody(body)).is(t, 200).has(t, "active", "false")
			s.ask(t, "PATCH", "/Users/"+id+"?aadOptscim062020", patchBody(`{"op":"Replace","path":"active","value":"True"}`)).is(t, 200).has(t, "active", "true")
		}
		s.ask(t, "POST", "/Users", userBody("h1b", `"active":"False"`)).is(t, 201).has(t, "active", "false")
		s.ask(t, "PUT", "/Users/"+id, userBody("h1", `"active":"false"`)).is(t, 200).has(t, "active", "false")
	}},
	{"Entra: op in any case, and no other op", func(t *testing.T, s *service) {
		id := s.user(t, "h2")
		for _, op := range []string{"Add", "Replace", "ADD"} {
			s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"`+op+`","path":"title","value":"`+op+`"}`)).is(t, 200).has(t, "title", `"`+op+`"`)
		}
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Remove","path":"title"}`)).is(t, 200).has(t, "title", "null")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"move","path":"title","value":"x"}`)).fails(t, 400, "invalidSyntax")
	}},
	{"Okta: replace without a path merges", func(t *testing.T, s *service) {
		id := s.user(t, "h3", `"title":"Dr"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":{"active":false}}`)).is(t, 200).has(t, "active", "false").has(t, "title", `"Dr"`)
	}},
	{"Entra with flag: dotted and URN keys without a path", func(t *testing.T, s *service) {
		id := s.user(t, "h4")
		a := s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":{"displayName":"B","name.givenName":"K","`+enterpriseURN+`:employeeNumber":"7"}}`)).is(t, 200)
		a.has(t, "displayName", `"B"`).has(t, "name.givenName", `"K"`).has(t, dotted(enterpriseURN)+".employeeNumber", `"7"`)
	}},
	{"Entra: add a work address where there is none", func(t *testing.T, s *service) {
		id := s.user(t, "h5")
		a := s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Add","path":"emails[type eq \"work\"].value","value":"h5@b.ca"}`)).is(t, 200)
		a.has(t, "emails.0.value", `"h5@b.ca"`).has(t, "emails.0.type", `"work"`)
		found(t, s, "/Users", `emails.value eq "H5@b.ca"`, id)
	}},
	{"Entra: replace by a filter that matches nothing", func(t *testing.T, s *service) {
		id := s.user(t, "h6")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"emails[type eq \"work\"].value","value":"h6@b.ca"}`)).is(t, 200).has(t, "emails.0.value", `"h6@b.ca"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"emails[value eq \"no@b.ca\"].value","value":"x@b.ca"}`)).fails(t, 400, "noTarget")
	}},
	{"Entra: a manager as a string", func(t *testing.T, s *service) {
		boss := uuid.NewString()
		id := s.user(t, "h7", `"`+enterpriseURN+`":{"manager":"`+boss+`"}`)
		path := dotted(enterpriseURN) + ".manager"
		s.ask(t, "GET", "/Users/"+id, "").has(t, path+".value", `"`+boss+`"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"`+enterpriseURN+`:manager","value":"m2"}`)).is(t, 200).has(t, path+".value", `"m2"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"`+enterpriseURN+`:manager","value":""}`)).is(t, 200).has(t, path, "null")
	}},
	{"Entra: remove members with a value removes those alone", func(t *testing.T, s *service) {
		one, two := s.user(t, "h8a"), s.user(t, "h8b")
		g := s.group(t, "H8", one, two)
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"`+one+`"}]}`)).is(t, 204)
		if got := members(t, s, g); got != two {
			t.Errorf("members %q", got)
		}
	}},
	{"all: remove members without a value empties the group", func(t *testing.T, s *service) {
		g := s.group(t, "H9", s.user(t, "h9"))
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"remove","path":"members"}`)).is(t, 204)
		if got := members(t, s, g); got != "" {
			t.Errorf("members %q", got)
		}
	}},
	{"Okta: remove by a filter and add in one PATCH", func(t *testing.T, s *service) {
		one, two := s.user(t, "h10a"), s.user(t, "h10b")
		g := s.group(t, "H10", one)
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"remove","path":"members[value eq \"`+one+`\"]"}`,
			`{"op":"add","path":"members","value":[{"value":"`+two+`","display":"x"}]}`, `{"op":"remove","path":"members[value eq \"`+uuid.NewString()+`\"]"}`)).is(t, 204)
		if got := members(t, s, g); got != two {
			t.Errorf("members %q", got)
		}
	}},
	{"Okta: the group's id and name after a change leave the members", func(t *testing.T, s *service) {
		one := s.user(t, "h11")
		g := s.group(t, "H11", one)
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"replace","value":{"id":"`+g+`","displayName":"H11 new"}}`)).is(t, 204)
		if got := members(t, s, g); got != one {
			t.Errorf("members %q", got)
		}
		found(t, s, "/Groups", `displayName eq "h11 NEW"`, g)
	}},
	{"Okta: a full push, with a path and without", func(t *testing.T, s *service) {
		one, two := s.user(t, "h12a"), s.user(t, "h12b")
		g := s.group(t, "H12", one)
		for _, body := range []string{`{"op":"replace","path":"members","value":[{"value":"` + two + `"}]}`, `{"op":"replace","value":{"members":[{"value":"` + two + `"}]}}`} {
			s.ask(t, "PATCH", "/Groups/"+g, patchBody(body)).is(t, 204)
			if got := members(t, s, g); got != two {
				t.Errorf("members %q", got)
			}
		}
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"replace","path":"members","value":[]}`)).is(t, 204)
		if got := members(t, s, g); got != "" {
			t.Errorf("members %q", got)
		}
	}},
	{"Okta (AIW): everything by PUT, as it was read", func(t *testing.T, s *service) {
		id := s.user(t, "h13", `"title":"Dr"`, `"emails":[{"value":"h13@b.ca","type":"work","primary":true}]`)
		g := s.group(t, "H13", id)
		read := s.ask(t, "GET", "/Users/"+id, "").is(t, 200)
		body := strings.Replace(read.text, `"active":true`, `"active":false`, 1)
		s.ask(t, "PUT", "/Users/"+id, body).is(t, 200).has(t, "active", "false").has(t, "title", `"Dr"`).has(t, "groups.0.value", `"`+g+`"`)
		read = s.ask(t, "GET", "/Groups/"+g, "").is(t, 200)
		s.ask(t, "PUT", "/Groups/"+g, read.text).is(t, 200).has(t, "meta.version", `"W/\"1\""`)
	}},
	{"Okta: POST with a password and empty groups", func(t *testing.T, s *service) {
		a := s.ask(t, "POST", "/Users", userBody("h14", `"password":"1mz050nq"`, `"locale":"en-US"`, `"groups":[]`)).is(t, 201).has(t, "locale", `"en-US"`)
		if strings.Contains(a.text+s.log.String(), "1mz050nq") || a.body["password"] != nil {
			t.Error("the password is shown")
		}
	}},
	{"Okta: a deactivated user is posted again", func(t *testing.T, s *service) {
		id := s.user(t, "h15", `"externalId":"h15"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":{"active":false}}`)).is(t, 200)
		s.ask(t, "POST", "/Users", userBody("H15", `"externalId":"h15"`)).fails(t, 409, "uniqueness")
		s.ask(t, "POST", "/Users", userBody("other15", `"externalId":"h15"`)).fails(t, 409, "uniqueness")
		found(t, s, "/Users", `userName eq "h15"`, id)
	}},
	{"Entra: the filters of its matching", func(t *testing.T, s *service) {
		id := s.user(t, "h16", `"externalId":"jyoung"`, `"emails":[{"value":"h16@b.ca","type":"work"}]`)
		g := s.group(t, "H16", id)
		for _, filter := range []string{`externalId eq "jyoung"`, `externalId eq jyoung`, `userName eq "h16"`, `emails[type eq "work"].value eq "h16@b.ca"`, `id eq "` + id + `"`} {
			found(t, s, "/Users", filter, id)
		}
		found(t, s, "/Groups", `id eq "`+g+`" and members eq "`+id+`"`, g)
		found(t, s, "/Groups", `members.value eq "`+id+`"`, g)
		found(t, s, "/Groups", `id eq "`+g+`" and members eq "`+uuid.NewString()+`"`)
		found(t, s, "/Users", `externalId eq "JYOUNG"`)
	}},
	{"all: a filter that cannot be read", func(t *testing.T, s *service) {
		for _, filter := range []string{`userName eq`, `userName like "x"`, `nothing eq "x"`, `(userName eq "x"`, `userName eq "x" and`, `active gt true`} {
			s.ask(t, "GET", "/Users?filter="+escaped(filter), "").fails(t, 400, "invalidFilter")
		}
	}},
	{"all: names in another case", func(t *testing.T, s *service) {
		id := s.user(t, "H18@B.ca")
		found(t, s, "/Users", `USERNAME EQ "h18@b.CA"`, id)
		s.ask(t, "GET", "/Users/"+id, "").has(t, "userName", `"H18@B.ca"`)
	}},
	{"Entra: Test Connection", func(t *testing.T, s *service) {
		for _, path := range []string{`/Users?filter=userName eq "` + uuid.NewString() + `"`, `/Groups?excludedAttributes=members&filter=displayName+eq+"` + uuid.NewString() + `"`} {
			s.ask(t, "GET", path, "").is(t, 200).has(t, "totalResults", "0").has(t, "Resources", "[]")
		}
	}},
	{"OneLogin, Google, JumpCloud: their tests", func(t *testing.T, s *service) {
		s.ask(t, "GET", "/Users?count=1", "").is(t, 200).has(t, "itemsPerPage", "1")
		id, g := s.user(t, "h20"), s.group(t, "H20")
		s.ask(t, "PUT", "/Users/"+id, userBody("h20b")).is(t, 200)
		s.ask(t, "PUT", "/Groups/"+g, groupBody("H20b", id)).is(t, 200)
		s.ask(t, "DELETE", "/Users/"+id, "").is(t, 204)
		s.ask(t, "DELETE", "/Groups/"+g, "").is(t, 204)
		s.ask(t, "GET", "/Groups/"+g, "").fails(t, 404, "")
	}},
	{"Google: application/json", func(t *testing.T, s *service) {
		s.ask(t, "POST", "/Users", userBody("h21"), "Content-Type", "application/json", "Accept", "text/html", "User-Agent", "Google-Auto-Provisioning").is(t, 201)
		s.ask(t, "POST", "/Users", userBody("h21b"), "Content-Type", "application/scim+json; charset=UTF-8", "Accept", "*/*").is(t, 201)
		s.ask(t, "POST", "/Users", userBody("h21c"), "Content-Type", "text/plain").fails(t, 415, "")
	}},
	{"Entra: unknown schemas and attributes", func(t *testing.T, s *service) {
		body := `{"schemas":["` + groupURN + `","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"displayName":"H22","externalId":"h22","meta":{"resourceType":"Group"}}`
		a := s.ask(t, "POST", "/Groups", body).is(t, 201)
		if strings.Contains(a.text, "microsoft") {
			t.Error(a.text)
		}
		s.ask(t, "POST", "/Users", userBody("h22", `"roles":[]`, `"meta":{"resourceType":"User"}`, `"favourite":"x"`)).is(t, 201).has(t, "favourite", "null").has(t, "roles", "null")
	}},
	{"Entra: roles", func(t *testing.T, s *service) {
		id := s.user(t, "h23")
		role := dotted(ourURN) + ".role"
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Add","path":"roles[primary eq \"True\"].value","value":"viewer"}`)).is(t, 200).has(t, role, `"viewer"`)
		complexRole := `[{"value":"{\"id\":\"1\",\"value\":\"Service\",\"displayName\":\"S\"}"}]`
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Remove","path":"roles"}`, `{"op":"Add","path":"roles","value":`+complexRole+`}`)).is(t, 200).has(t, role, `"service"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Add","path":"roles","value":[{"value":"member"}]}`)).is(t, 200).has(t, role, `"member"`)
	}},
	{"Entra: nulls and empty strings unassign", func(t *testing.T, s *service) {
		id := s.user(t, "h24", `"title":"Dr"`, `"nickName":"H"`)
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"title","value":""}`, `{"op":"Replace","path":"nickName","value":null}`)).is(t, 200).has(t, "title", "null").has(t, "nickName", "null")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"userName","value":""}`)).is(t, 400)
	}},
	{"Entra gallery: /Schemas", func(t *testing.T, s *service) {
		a := s.ask(t, "GET", "/Schemas", "").is(t, 200)
		a.has(t, "totalResults", "4")
		if strings.Contains(a.text, "null") || !strings.Contains(a.text, `"`+groupURN+`"`) {
			t.Errorf("%.300s", a.text)
		}
	}},
	{"Okta, MS: pages by index", func(t *testing.T, s *service) {
		var ids []string
		for i := range 5 {
			ids = append(ids, s.user(t, fmt.Sprintf("h26-%d", i)))
		}
		filter := "filter=" + escaped(`userName sw "h26-"`)
		for query, want := range map[string][]string{"": ids, "&startIndex=0": ids, "&startIndex=-3": ids, "&startIndex=1&count=2": ids[:2], "&startIndex=3&count=2": ids[2:4],
			"&startIndex=5&count=2": ids[4:], "&startIndex=6": nil, "&startIndex=100&count=2": nil, "&count=0": nil, "&count=-1": nil} {
			a := s.ask(t, "GET", "/Users?"+filter+query, "").is(t, 200).has(t, "totalResults", "5").has(t, "itemsPerPage", fmt.Sprint(len(want)))
			for i, id := range want {
				a.has(t, fmt.Sprintf("Resources.%d.id", i), `"`+id+`"`)
			}
		}
		s.ask(t, "GET", "/Users?startIndex=one", "").fails(t, 400, "invalidValue")
	}},
	{"all: errors are SCIM's", func(t *testing.T, s *service) {
		s.user(t, "h27")
		s.ask(t, "POST", "/Users", userBody("h27")).fails(t, 409, "uniqueness")
		s.ask(t, "POST", "/Users", "{").fails(t, 400, "invalidSyntax")
		s.ask(t, "GET", "/Nothing", "").fails(t, 404, "")
		s.ask(t, "GET", "/Users//x", "").fails(t, 404, "")
		s.ask(t, "DELETE", "/Users", "").fails(t, 405, "")
		s.askAt(t, "GET", "/scim/v3/Users", "").fails(t, 404, "")
		s.ask(t, "GET", "/Users", "", "Authorization", "").fails(t, 401, "")
		s.ask(t, "GET", "/Users", "", "Authorization", "Bearer writer").is(t, 200)
		s.ask(t, "POST", "/Users", userBody("h27b"), "Authorization", "Bearer writer").fails(t, 403, "")
	}},
	{"Entra: members in portions, each of them quick", func(t *testing.T, s *service) {
		g := s.group(t, "H28")
		one := s.user(t, "h28")
		for range 2 { // adding is idempotent
			a := s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"Add","path":"members","value":[{"value":"`+one+`"}]}`)).is(t, 204)
			if a.header.Get("ETag") != `W/"2"` {
				t.Error(a.header)
			}
		}
	}},
	{"Entra: overload is told by Retry-After", func(t *testing.T, s *service) {
		// The gate's own test floods it; here the answer's form is checked.
		a := problemOf(t, user.Errorf(user.Unavailable, "busy")).fails(t, 503, "")
		if a.header.Get("Retry-After") == "" {
			t.Error(a.header)
		}
	}},
	{"Entra: disabled, then deleted, then deleted again", func(t *testing.T, s *service) {
		id := s.user(t, "h30")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"active","value":"False"}`)).is(t, 200)
		s.ask(t, "GET", "/Users/"+id, "").is(t, 200)
		found(t, s, "/Users", `userName eq "h30"`, id)
		s.ask(t, "DELETE", "/Users/"+id, "").is(t, 204)
		s.ask(t, "DELETE", "/Users/"+id, "").fails(t, 404, "")
		found(t, s, "/Users", `userName eq "h30"`)
	}},
}
