package scimapi_test

import "testing"

func TestSmoke(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.ask(t, "POST", "/Users", userBody("ada@example.com", `"name":{"givenName":"Ada","familyName":"Lovelace"}`, `"emails":[{"value":"ada@example.com","type":"work","primary":true},{"value":"h@x.org","type":"home"}]`, `"externalId":"e1"`, `"title":"Dr"`)).is(t, 201)
	id := a.id(t)
	t.Log(a.text, a.header)
	s.ask(t, "GET", "/Users/"+id, "").is(t, 200)
	for _, f := range []string{`userName eq "ADA@example.com"`, `externalId eq "e1"`, `id eq "` + id + `"`, `emails.value eq "h@x.org"`, `emails[type eq "work"].value eq "ada@example.com"`,
		`name.familyName eq "lovelace"`, `active eq true`, `title eq "dr"`, `meta.created gt "2020-01-01T00:00:00Z"`, `userName sw "ada" and active eq true`, `not (userName eq "x")`, `userName co "da@"`, `userName pr`, `roles pr or title pr`} {
		a := s.ask(t, "GET", "/Users?filter="+f, "").is(t, 200)
		t.Log(f, a.at("totalResults"))
		a.has(t, "totalResults", "1")
	}
	t.Log(s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"active","value":"False"}`)).is(t, 200).text)
	g := s.ask(t, "POST", "/Groups", groupBody("Team", id)).is(t, 201)
	t.Log(g.text)
	t.Log(s.ask(t, "PATCH", "/Groups/"+g.id(t), patchBody(`{"op":"remove","path":"members[value eq \"`+id+`\"]"}`)).is(t, 204).header)
	t.Log(s.ask(t, "GET", "/Groups?filter=displayName eq \"team\"&excludedAttributes=members", "").is(t, 200).text)
	t.Log(s.ask(t, "GET", "/Users?cursor=&count=1", "").is(t, 200).text)
	t.Log(s.ask(t, "GET", "/?count=10", "").is(t, 200).text)
	s.ask(t, "POST", "/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"displayName pr"}`).is(t, 200)
	s.ask(t, "DELETE", "/Users/"+id, "").is(t, 204)
	s.ask(t, "GET", "/Users/"+id, "").fails(t, 404, "")
	s.ask(t, "GET", "/Nothing", "").fails(t, 404, "")
	s.ask(t, "POST", "/Schemas", "{}").fails(t, 405, "")
	s.ask(t, "GET", "/Me", "").fails(t, 501, "")
	s.ask(t, "GET", "/Users", "", "Authorization", "Bearer nobody").fails(t, 401, "")
}
