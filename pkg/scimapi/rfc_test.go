package scimapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// TestRFC has a case for each feature, named after the section that asks for it.
func TestRFC(t *testing.T) {
	t.Parallel()
	for name, run := range features {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t))
		})
	}
}

const searchBody = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]`

var features = map[string]func(*testing.T, *service){
	"7643 5 ServiceProviderConfig": func(t *testing.T, s *service) {
		a := s.ask(t, "GET", "/ServiceProviderConfig?filter=x", "").is(t, 200)
		for path, want := range map[string]string{"patch.supported": "true", "bulk.supported": "false", "bulk.maxOperations": "0", "bulk.maxPayloadSize": "0",
			"filter.supported": "true", "filter.maxResults": "1000", "changePassword.supported": "false", "sort.supported": "true", "etag.supported": "true",
			"authenticationSchemes.0.type": `"oauthbearertoken"`, "pagination.cursor": "true", "pagination.index": "true", "pagination.defaultPaginationMethod": `"index"`,
			"pagination.defaultPageSize": "100", "pagination.maxPageSize": "1000", "pagination.cursorTimeout": "3600"} {
			a.has(t, path, want)
		}
	},
	"7644 4 discovery takes GET alone and ignores parameters": func(t *testing.T, s *service) {
		for _, path := range []string{"/ServiceProviderConfig", "/ResourceTypes", "/Schemas"} {
			s.ask(t, "GET", path+`?filter=userName eq "x"&anything`, "").is(t, 200)
			for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
				if a := s.ask(t, method, path, "{}").fails(t, 405, ""); a.header.Get("Allow") != "GET, HEAD" {
					t.Error(a.header)
				}
			}
		}
		s.ask(t, "GET", "/ResourceTypes/User", "").is(t, 200).has(t, "schema", `"`+coreURN+`"`)
		s.ask(t, "GET", "/ResourceTypes/Nobody", "").fails(t, 404, "")
		s.ask(t, "GET", "/Schemas/"+coreURN, "").is(t, 200).has(t, "id", `"`+coreURN+`"`)
		s.ask(t, "GET", "/Schemas/urn:nothing", "").fails(t, 404, "")
	},
	"7644 3.1 media types": func(t *testing.T, s *service) {
		s.ask(t, "POST", "/Users", userBody("a"), "Content-Type", "application/json; charset=iso-8859-1").is(t, 201)
		s.ask(t, "POST", "/Users", userBody("b"), "Content-Type", "application/xml").fails(t, 415, "")
	},
	"7643 3.1 common attributes": func(t *testing.T, s *service) {
		a := s.ask(t, "POST", "/Users", userBody("a", `"id":"mine"`, `"meta":{"version":"9"}`)).is(t, 201)
		a.has(t, "schemas.0", `"`+coreURN+`"`).has(t, "meta.resourceType", `"User"`).has(t, "meta.version", `"W/\"1\""`)
		if a.at("meta.location") != s.URL+"/scim/v2/Users/"+a.id(t) || a.at("meta.created") == nil || a.at("meta.lastModified") == nil {
			t.Error(a.text)
		}
	},
	"7643 2.1 names in any case": func(t *testing.T, s *service) {
		s.ask(t, "POST", "/Users", `{"SCHEMAS":["`+strings.ToUpper(coreURN)+`"],"USERNAME":"a","Title":"Dr"}`).is(t, 201).has(t, "userName", `"a"`).has(t, "title", `"Dr"`)
	},
	"7643 2.5 null, empty and absent are the same": func(t *testing.T, s *service) {
		s.ask(t, "POST", "/Users", userBody("a", `"title":null`, `"emails":[]`, `"nickName":""`)).is(t, 201).has(t, "title", "null").has(t, "emails", "null")
	},
	"7643 2.4 one primary": func(t *testing.T, s *service) {
		id := s.user(t, "a", `"emails":[{"value":"a@b.ca","type":"work","primary":true},{"value":"c@b.ca","type":"home"}]`)
		a := s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}`)).is(t, 200)
		if strings.Count(a.text, `"primary":true`) != 1 {
			t.Error(a.text)
		}
		a = s.askAt(t, "GET", "/ai/admin/users/"+id, "", "Authorization", "Bearer reader").is(t, 200)
		a.has(t, "email", `"c@b.ca"`)
	},
	"7644 3.3 create": func(t *testing.T, s *service) {
		a := s.ask(t, "POST", "/Users", userBody("a")).is(t, 201)
		if a.header.Get("Location") != a.at("meta.location") || a.header.Get("ETag") != `W/"1"` {
			t.Error(a.header)
		}
		s.ask(t, "POST", "/Users", `{"schemas":["`+coreURN+`"]}`).fails(t, 400, "invalidValue")
		s.ask(t, "POST", "/Users", userBody("A")).fails(t, 409, "uniqueness")
		s.ask(t, "POST", "/Users", userBody("b", `"emails":[{"value":"not an address"}]`)).fails(t, 400, "invalidValue")
		s.ask(t, "POST", "/Users", userBody("c", `"`+ourURN+`":{"role":"king"}`)).fails(t, 400, "invalidValue")
		s.ask(t, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"G","members":[{"$ref":"https://a.b/scim/v2/Users/`+uuid.NewString()+`"}]}`).fails(t, 400, "invalidValue")
		s.ask(t, "POST", "/Groups", groupBody("")).fails(t, 400, "invalidValue")
		s.ask(t, "POST", "/Groups", groupBody("G", uuid.NewString())).fails(t, 400, "invalidValue")
		s.group(t, "G")
		s.ask(t, "POST", "/Groups", groupBody("g")).fails(t, 409, "uniqueness")
	},
	"7644 3.3 a tag that is taken gets a suffix": func(t *testing.T, s *service) {
		tag := dotted(ourURN) + ".tag"
		s.ask(t, "POST", "/Users", userBody("Ada.Love@b.ca")).is(t, 201).has(t, tag, `"ada.love"`)
		a := s.ask(t, "POST", "/Users", userBody("ada.love@c.ca")).is(t, 201)
		if got, _ := a.at(tag).(string); !strings.HasPrefix(got, "ada.love-") || len(got) != len("ada.love-")+4 {
			t.Error(got)
		}
		s.ask(t, "POST", "/Users", userBody("third", `"`+ourURN+`":{"tag":"ada.love"}`)).fails(t, 409, "uniqueness")
	},
	"7644 3.4.1 read": func(t *testing.T, s *service) {
		id := s.user(t, "a")
		s.ask(t, "GET", "/Users/"+uuid.NewString(), "").fails(t, 404, "")
		s.ask(t, "GET", "/Users/not-an-id", "").fails(t, 404, "")
		s.ask(t, "GET", "/Groups/"+id, "").fails(t, 404, "")
		s.ask(t, "HEAD", "/Users/"+id, "").is(t, 200)
	},
	"7644 3.14 ETags": func(t *testing.T, s *service) {
		id, g := s.user(t, "a"), s.group(t, "G")
		for _, path := range []string{"/Users/" + id, "/Groups/" + g} {
			a := s.ask(t, "GET", path, "").is(t, 200)
			for _, tag := range []string{`W/"1"`, `"1"`, "*", `W/"7", W/"1"`} {
				if b := s.ask(t, "GET", path, "", "If-None-Match", tag).is(t, 304); b.header.Get("ETag") != a.header.Get("ETag") {
					t.Error(b.header)
				}
			}
			s.ask(t, "GET", path, "", "If-None-Match", `W/"2"`).is(t, 200)
			change := patchBody(`{"op":"replace","path":"displayName","value":"Other"}`)
			s.ask(t, "PATCH", path, change, "If-Match", `W/"9"`).fails(t, 412, "")
			if b := s.ask(t, "PATCH", path, change, "If-Match", `W/"1"`); b.status >= 300 || b.header.Get("ETag") != `W/"2"` {
				t.Error(b.status, b.header)
			}
			s.ask(t, "DELETE", path, "", "If-Match", `"1"`).fails(t, 412, "")
			for _, tag := range []string{`W/"2"`, `"2"`, "*", `W/"7", W/"2"`} { // RFC 9110, section 13.1.2
				s.ask(t, "PATCH", path, change, "If-None-Match", tag).fails(t, 412, "")
				s.ask(t, "DELETE", path, "", "If-None-Match", tag).fails(t, 412, "")
			}
			if b := s.ask(t, "PATCH", path, change, "If-None-Match", `W/"1"`); b.status >= 300 {
				t.Error(b.status, b.text)
			}
			s.ask(t, "DELETE", path, "", "If-Match", `"2"`).is(t, 204)
		}
	},
	"7644 3.5.1 replace": func(t *testing.T, s *service) {
		id := s.user(t, "a", `"title":"Dr"`, `"externalId":"e"`, `"active":false`)
		a := s.ask(t, "PUT", "/Users/"+id, userBody("b", `"groups":[{"value":"x"}]`, `"id":"`+id+`"`)).is(t, 200)
		a.has(t, "title", "null").has(t, "externalId", "null").has(t, "active", "false").has(t, "userName", `"b"`).has(t, "groups", "null")
		s.ask(t, "PUT", "/Users/"+uuid.NewString(), userBody("c")).fails(t, 404, "")
		s.ask(t, "PUT", "/Users/"+id, `{"schemas":["`+coreURN+`"]}`).fails(t, 400, "invalidValue")
		s.ask(t, "PUT", "/Groups/"+uuid.NewString(), groupBody("G")).fails(t, 404, "")
		g := s.group(t, "G", id)
		s.ask(t, "PUT", "/Groups/"+g, groupBody("H")).is(t, 200).has(t, "displayName", `"H"`).has(t, "members", "null")
	},
	"7644 3.6 delete": func(t *testing.T, s *service) {
		id := s.user(t, "a")
		g := s.group(t, "G", id, s.user(t, "b"))
		s.ask(t, "DELETE", "/Users/"+id, "").is(t, 204)
		s.ask(t, "GET", "/Users/"+id, "").fails(t, 404, "")
		found(t, s, "/Users", `id eq "`+id+`"`)
		if strings.Contains(members(t, s, g), id) {
			t.Error("a deleted user is a member")
		}
	},
	"7644 3.5.2 PATCH as a message": func(t *testing.T, s *service) {
		id := s.user(t, "a")
		for _, body := range []string{`{"Operations":[{"op":"add","path":"title","value":"x"}]}`, patchBody(), `{"schemas":["` + "urn:ietf:params:scim:api:messages:2.0:PatchOp" + `"]}`, patchBody(`{"path":"title","value":"x"}`)} {
			s.ask(t, "PATCH", "/Users/"+id, body).fails(t, 400, "invalidSyntax")
		}
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"title","value":"x"}`, `{"op":"replace","path":"userName","value":null}`)).is(t, 400)
		s.ask(t, "GET", "/Users/"+id, "").has(t, "title", "null").has(t, "meta.version", `"W/\"1\""`) // all or nothing
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"nothing","value":"x"}`)).fails(t, 400, "invalidPath")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"remove"}`)).fails(t, 400, "noTarget")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"remove","path":"userName"}`)).fails(t, 400, "mutability")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"id","value":"x"}`)).fails(t, 400, "mutability")
		s.ask(t, "PATCH", "/Users/"+uuid.NewString(), patchBody(`{"op":"add","path":"title","value":"x"}`)).fails(t, 404, "")
	},
	"7644 3.5.2.1 a value that is there already changes nothing": func(t *testing.T, s *service) {
		id := s.user(t, "a", `"title":"Dr"`)
		before := s.ask(t, "GET", "/Users/"+id, "")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"add","path":"title","value":"Dr"}`)).is(t, 200).has(t, "meta.version", `"W/\"1\""`)
		if after := s.ask(t, "GET", "/Users/"+id, ""); after.text != before.text {
			t.Error(after.text)
		}
	},
	"7644 3.5.2 groups answer 204, or 200 where attributes are asked for": func(t *testing.T, s *service) {
		one := s.user(t, "a")
		g := s.group(t, "G")
		add := patchBody(`{"op":"add","path":"members","value":[{"value":"` + one + `"}]}`)
		s.ask(t, "PATCH", "/Groups/"+g, add).is(t, 204)
		s.ask(t, "PATCH", "/Groups/"+g+"?attributes=displayName", add).is(t, 200).has(t, "displayName", `"G"`).has(t, "members", "null")
		s.ask(t, "PATCH", "/Groups/"+g+"?excludedAttributes=displayName", add).is(t, 200).has(t, "members.0.value", `"`+one+`"`)
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"add","path":"members","value":[{"value":"`+uuid.NewString()+`"}]}`)).fails(t, 400, "invalidValue")
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"add","path":"members","value":[{"value":"`+g+`","type":"Group"}]}`)).fails(t, 400, "invalidValue")
	},
	"7644 3.4.2.2 filters": func(t *testing.T, s *service) {
		ada := s.user(t, "ada@b.ca", `"name":{"givenName":"Ada","familyName":"Lovelace"}`, `"displayName":"Ada L."`, `"title":"Countess"`,
			`"emails":[{"value":"ada@b.ca","type":"work","primary":true},{"value":"home@b.ca","type":"home"}]`, `"externalId":"E1"`)
		bob := s.user(t, "bob", `"active":false`, `"`+ourURN+`":{"role":"viewer","requestsPerMinute":5}`)
		eve := s.native(t, `{"tag":"eve","name":"Eve Ötker","email":"eve@c.ca"}`)
		for filter, want := range map[string][]string{
			`userName eq "ADA@b.ca"`: {ada}, `userName ne "bob"`: {ada, eve}, `userName co "da@"`: {ada}, `userName sw "EVE"`: {eve}, `userName ew ".ca"`: {ada, eve}, `userName gt "b"`: {bob, eve}, `userName le "bob"`: {ada, bob},
			`userName pr`: {ada, bob, eve}, `externalId eq "E1"`: {ada}, `externalId pr`: {ada}, `not (externalId pr)`: {bob, eve}, `id eq "` + bob + `"`: {bob},
			`emails.value eq "home@b.ca"`: {ada}, `emails eq "eve@c.ca"`: {eve}, `emails co "@b"`: {ada}, `emails[type eq "work" and value co "eve"]`: {eve}, `emails[type eq "home" and value eq "ada@b.ca"]`: nil,
			`displayName eq "ada l."`: {ada}, `displayName sw "eve"`: {eve}, `displayName co "ötk"`: {eve}, `name.familyName eq "lovelace"`: {ada}, `name.familyName eq "Ötker"`: {eve}, `name.givenName eq "Eve"`: {eve},
			`active eq true`: {ada, eve}, `active eq false`: {bob}, `active ne true`: {bob}, ourURN + `:role eq "viewer"`: {bob}, ourURN + `:requestsPerMinute gt 4`: {bob}, ourURN + `:tag eq "eve"`: {eve},
			`title eq "COUNTESS"`: {ada}, `title pr`: {ada}, `title ne "x"`: {ada, bob, eve}, `meta.created gt "2020-01-01T00:00:00Z"`: {ada, bob, eve}, `meta.lastModified lt "2020-01-01T00:00:00Z"`: nil,
			`userName eq "bob" or userName eq "x" and title pr`: {bob}, `(userName eq "bob" or userName pr) and title pr`: {ada}, `not (active eq true) and userName pr`: {bob}, `userName eq "ada\u0040b.ca"`: {ada},
			`meta.resourceType eq "User" and title pr`: {ada}, `meta.resourceType ne "User"`: nil, `schemas eq "` + coreURN + `" and title pr`: {ada}, `meta.version eq "W/\"1\"" and title pr`: {ada}, `meta pr`: {ada, bob, eve},
			`emails[value eq "home@b.ca"]`: {ada}, `emails.value eq "a\u0000b"`: nil, `emails[type ne "work"]`: {ada},
			`title eq null`: {bob, eve}, `userName eq "a" and (title co "x" or active eq true)`: nil,
		} {
			found(t, s, "/Users", filter, want...)
			// The other transport of the same search.
			body := searchBody + `,"filter":` + jsonText(filter) + `,"attributes":["userName"]}`
			s.ask(t, "POST", "/Users/.search", body).is(t, 200).has(t, "totalResults", fmt.Sprint(len(want))).has(t, "Resources.0.active", "null")
		}
	},
	"7643 2.3.1 a domain is compared as its A-label": func(t *testing.T, s *service) {
		id := s.user(t, "a@münchen.de", `"emails":[{"value":"a@münchen.de","type":"work"}]`)
		for _, filter := range []string{`userName eq "A@xn--mnchen-3ya.de"`, `userName eq "a@xn--mnchen-3ya.de" and title eq null`, `emails.value eq "a@XN--mnchen-3ya.de"`, `emails[type eq "work"].value eq "a@xn--mnchen-3ya.de"`} {
			found(t, s, "/Users", filter, id)
		}
	},
	"7644 3.4.2.2 filters of groups": func(t *testing.T, s *service) {
		one := s.user(t, "a")
		g, h := s.group(t, "Research", one), s.ask(t, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"Sales","externalId":"S1"}`).is(t, 201).id(t)
		for filter, want := range map[string][]string{`displayName eq "RESEARCH"`: {g}, `displayName co "a"`: {g, h}, `externalId eq "S1"`: {h}, `externalId eq "s1"`: nil, `members.value eq "` + one + `"`: {g},
			`members pr`: {g}, `not (members pr)`: {h}, `members[value eq "` + one + `"]`: {g}, `members[value eq "` + one + `" and type eq "User"]`: {g}, `meta.version eq "W/\"1\"" and displayName eq "sales"`: {h}, `members[not (value eq "` + one + `") or type ne "user"]`: nil,
			`members eq "` + one + `"`: {g}, `members.value ne "` + one + `"`: nil, `members.value sw "` + one[:8] + `" and members.type eq "USER"`: {g}, `displayName eq "sales" or members[type pr]`: {g, h}, `meta.resourceType eq "Group"`: {g, h}, `meta.resourceType eq "User"`: nil, `schemas eq "` + groupURN + `" and externalId pr`: {h}, `id eq "` + h + `" or displayName sw "res"`: {g, h}, `meta.created gt "2020-01-01T00:00:00Z" and displayName ew "s"`: {h}} {
			found(t, s, "/Groups", filter, want...)
		}
		found(t, s, "/Users", `groups.value eq "`+g+`"`, one)
		found(t, s, "/Users", `groups eq "`+h+`"`)
		found(t, s, "/Users", `groups eq "`+strings.ToUpper(g)+`"`) // ids are compared in their exact case
		found(t, s, "/Groups", `members eq "`+strings.ToUpper(one)+`"`)
		for _, filter := range []string{`groups.display eq "research"`, `groups[type eq "direct" and display sw "R"]`, `groups pr`} {
			found(t, s, "/Users", filter, one)
		}
		s.ask(t, "GET", "/Groups?filter="+escaped(`members.display eq "x"`), "").fails(t, 400, "tooMany")
	},
	"7644 3.4.2.2 an empty filter": func(t *testing.T, s *service) {
		s.user(t, "a")
		for _, query := range []string{"filter=", "filter=%20", "count=1&filter"} {
			s.ask(t, "GET", "/Users?"+query, "").fails(t, 400, "invalidFilter")
		}
		s.ask(t, "POST", "/Groups/.search", searchBody+`,"filter":" "}`).fails(t, 400, "invalidFilter")
		s.ask(t, "POST", "/Groups/.search", searchBody+`,"filter":null}`).is(t, 200)
	},
	"7644 3.4.2.3 sorting": func(t *testing.T, s *service) {
		b, a, c := s.user(t, "B", `"displayName":"z"`, `"emails":[{"value":"b@b.ca"}]`), s.user(t, "a", `"displayName":"Y"`), s.user(t, "c", `"displayName":"x"`, `"emails":[{"value":"a@b.ca"}]`)
		for query, want := range map[string][]string{"sortBy=userName": {a, b, c}, "sortBy=USERNAME&sortOrder=descending": {c, b, a}, "sortBy=displayName": {c, a, b},
			"sortBy=emails.value": {c, b, a}, "sortBy=emails&sortOrder=descending": {a, b, c}, "sortBy=meta.created&sortOrder=descending": {c, a, b}, "sortBy=meta.lastModified": {b, a, c},
			"sortBy=title": {b, a, c}, "sortBy=nothing": {b, a, c}, "": {b, a, c}} {
			all := s.ask(t, "GET", "/Users?"+query, "").is(t, 200)
			var paged []string
			cursor := ""
			for {
				page := s.ask(t, "GET", "/Users?count=1&"+query+"&cursor="+cursor, "").is(t, 200)
				paged = append(paged, page.at("Resources.0.id").(string))
				if cursor, _ = page.body["nextCursor"].(string); cursor == "" {
					break
				}
			}
			for i, id := range want {
				all.has(t, fmt.Sprintf("Resources.%d.id", i), `"`+id+`"`)
			}
			if !slices.Equal(paged, want) {
				t.Errorf("%s: by cursor %v, want %v", query, paged, want)
			}
		}
	},
	"9865 2 cursors": func(t *testing.T, s *service) {
		for i := range 5 {
			s.user(t, fmt.Sprintf("u%d", i), `"title":"t"`)
		}
		for _, query := range []string{"count=2", "count=2&filter=" + escaped(`active eq true`), "count=2&filter=" + escaped(`title eq "T"`)} {
			first := s.ask(t, "GET", "/Users?cursor=&"+query, "").is(t, 200).has(t, "totalResults", "5").has(t, "itemsPerPage", "2").has(t, "startIndex", "null")
			next, _ := first.body["nextCursor"].(string)
			if next == "" || strings.Trim(next, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~") != "" {
				t.Fatalf("cursor %q", next)
			}
			seen, pages := map[string]bool{}, 0
			for cursor := ""; ; pages++ {
				a := s.ask(t, "GET", "/Users?"+query+"&cursor="+cursor, "").is(t, 200)
				for _, each := range a.body["Resources"].([]any) {
					seen[each.(map[string]any)["id"].(string)] = true
				}
				if cursor, _ = a.body["nextCursor"].(string); cursor == "" {
					break
				}
			}
			if len(seen) != 5 || pages != 2 {
				t.Errorf("%s: %d users on %d pages", query, len(seen), pages+1)
			}
			for _, wrong := range []string{"x", next[:len(next)-2], "A" + next[1:], next + "A"} {
				s.ask(t, "GET", "/Users?"+query+"&cursor="+url.QueryEscape(wrong), "").fails(t, 400, "invalidCursor")
			}
			s.ask(t, "GET", "/Users?count=2&sortBy=userName&cursor="+next, "").fails(t, 400, "invalidCursor")
			s.ask(t, "GET", "/Groups?count=2&cursor="+next, "").fails(t, 400, "invalidCursor")
		}
		none := s.ask(t, "GET", "/Users?cursor=&count=0", "").is(t, 200).has(t, "itemsPerPage", "0").has(t, "totalResults", "5")
		s.ask(t, "GET", "/Users?count=5&cursor="+none.body["nextCursor"].(string), "").is(t, 200).has(t, "itemsPerPage", "5").has(t, "nextCursor", "null")
		s.ask(t, "GET", "/Users?cursor=&count=-1", "").fails(t, 400, "invalidCount")
		s.ask(t, "GET", "/Users?cursor=&count=x", "").fails(t, 400, "invalidCount")
		for members, wrong := range map[string]string{`"cursor":"","count":-1`: "invalidCount", `"cursor":"","count":"x"`: "invalidCount", `"cursor":5`: "invalidCursor", `"count":"x"`: "invalidValue"} {
			s.ask(t, "POST", "/Users/.search", searchBody+","+members+"}").fails(t, 400, wrong)
		}
		s.ask(t, "POST", "/Users/.search", searchBody+`,"cursor":"","count":3}`).is(t, 200).has(t, "itemsPerPage", "3")
		mixed := s.ask(t, "POST", "/.search", searchBody+`,"cursor":"","count":4}`).is(t, 200).has(t, "totalResults", "5")
		s.ask(t, "POST", "/.search", searchBody+`,"cursor":"`+mixed.body["nextCursor"].(string)+`","count":4}`).is(t, 200).has(t, "itemsPerPage", "1").has(t, "nextCursor", "null")
	},
	"7644 3.4.2.1 and 3.4.3 all types at the root": func(t *testing.T, s *service) {
		id, g := s.user(t, "same", `"displayName":"Same"`), s.group(t, "Same")
		for _, a := range []answer{s.ask(t, "GET", "/?filter="+escaped(`displayName eq "same"`), ""), s.ask(t, "POST", "/.search", searchBody+`,"filter":"displayName eq \"same\""}`)} {
			a.is(t, 200).has(t, "totalResults", "2").has(t, "Resources.0.id", `"`+id+`"`).has(t, "Resources.1.id", `"`+g+`"`)
		}
		for _, path := range []string{"//Users", "/.search/x", "/ServiceProviderConfig/x", "/Users/x/y", "/Nothing"} {
			s.ask(t, "GET", path, "").fails(t, 404, "")
		}
		s.ask(t, "GET", "/?startIndex=2&count=1", "").is(t, 200).has(t, "Resources.0.id", `"`+g+`"`).has(t, "totalResults", "2").has(t, "startIndex", "2")
		s.ask(t, "GET", "/?filter="+escaped(`userName eq "same"`), "").is(t, 200).has(t, "totalResults", "1")
		s.ask(t, "GET", "/?filter="+escaped(`(meta.resourceType eq "User") or (meta.resourceType eq "Group")`), "").is(t, 200).has(t, "totalResults", "2")
		s.ask(t, "GET", "/?filter="+escaped(`nothing eq "same"`), "").fails(t, 400, "invalidFilter")
		s.ask(t, "GET", "/?filter="+escaped(`userName eq "same" and nothing pr`), "").fails(t, 400, "invalidFilter")
		for filter, want := range map[string]int{ // what the other type has alone has no value here
			`userName eq "nobody" or displayName eq "same"`: 2, `userName pr or members pr`: 1, `not (userName pr) and displayName eq "same"`: 1, `userName ne "x" and members eq null`: 2,
			`emails[type eq "work"] or displayName eq "same"`: 2, `displayName eq "same" and not (members[value pr])`: 2, `userName pr and members pr`: 0, ourURN + `:role eq "member"`: 1} {
			s.ask(t, "GET", "/?filter="+escaped(filter), "").is(t, 200).has(t, "totalResults", fmt.Sprint(want))
		}
	},
	"7644 3.4.2.4 a page of all types that ends early": func(t *testing.T, s *service) {
		const users, groups = 150, 5
		for i := range users { // more than one page may have
			s.ask(t, "POST", "/Users", userBody(fmt.Sprint("u", i), `"title":"`+strings.Repeat("x", 15_500)+`"`)).is(t, 201)
		}
		for i := range groups {
			s.group(t, fmt.Sprint("g", i))
		}
		seen := map[string]bool{}
		for start := 1; start <= users+groups; {
			a := s.ask(t, "GET", fmt.Sprintf("/?count=200&attributes=id&startIndex=%d", start), "").is(t, 200).has(t, "totalResults", fmt.Sprint(users+groups))
			found := a.body["Resources"].([]any)
			for _, each := range found {
				seen[each.(map[string]any)["id"].(string)] = true
			}
			if start += len(found); len(found) == 0 || start == users+groups+1 && len(found) >= users {
				t.Fatalf("%d found up to %d", len(found), start)
			}
		}
		if len(seen) != users+groups {
			t.Errorf("%d of %d", len(seen), users+groups)
		}
	},
	"7644 3.9 projection": func(t *testing.T, s *service) {
		a := s.ask(t, "POST", "/Users?attributes=userName,name.givenName", userBody("a", `"name":{"givenName":"A","familyName":"B"}`)).is(t, 201)
		a.has(t, "userName", `"a"`).has(t, "name", `{"givenName":"A"}`).has(t, "meta", "null").has(t, "schemas.0", `"`+coreURN+`"`)
		id := a.id(t)
		for _, method := range []string{"GET", "PUT", "PATCH"} {
			body := map[string]string{"PUT": userBody("a"), "PATCH": patchBody(`{"op":"add","path":"title","value":"x"}`)}[method]
			s.ask(t, method, "/Users/"+id+"?excludedAttributes=userName,"+ourURN, body).is(t, 200).has(t, "userName", "null").has(t, dotted(ourURN), "null").has(t, "id", `"`+id+`"`)
		}
		s.ask(t, "GET", "/Users?attributes=URN:x,id", "").is(t, 200).has(t, "Resources.0.userName", "null")
		s.ask(t, "GET", "/Users?attributes=id&excludedAttributes=id", "").fails(t, 400, "invalidValue")
		g := s.group(t, "G", id)
		s.ask(t, "GET", "/Groups/"+g+"?excludedAttributes=members", "").is(t, 200).has(t, "members", "null")
		s.ask(t, "GET", "/Groups/"+g+"?attributes=members.display", "").is(t, 200).has(t, "members", `[{"display":"a"}]`)
	},
	"7644 3.7 and 3.11 bulk and me": func(t *testing.T, s *service) {
		s.ask(t, "POST", "/Bulk", "{}").fails(t, 501, "")
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "POST"} {
			s.ask(t, method, "/Me", "").fails(t, 501, "")
		}
	},
	"7644 2 authentication": func(t *testing.T, s *service) {
		for _, headers := range [][]string{{"Authorization", ""}, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic x"}} {
			if a := s.ask(t, "GET", "/Users", "", headers...).fails(t, 401, ""); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
				t.Error(a.header)
			}
		}
		id := s.user(t, "a")
		for path, method := range map[string]string{"/Users/" + id: "GET", "/Users": "GET", "/Schemas": "GET", "/Groups/.search": "POST"} {
			s.ask(t, method, path, map[string]string{"POST": searchBody + "}"}[method], "Authorization", "Bearer reader").is(t, 200)
		}
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			s.ask(t, method, "/Users/"+id, "{}", "Authorization", "Bearer reader").fails(t, 403, "")
		}
		s.askAt(t, "GET", "/ai/admin/users", "").is(t, 403) // the scope scim is none of the native API's
	},
	"7644 7.5.2 no query in the log": func(t *testing.T, s *service) {
		s.ask(t, "GET", "/Users?filter="+escaped(`userName eq "very.private@b.ca"`), "").is(t, 200)
		s.ask(t, "GET", "/Users?filter="+escaped(`userName "very.private@b.ca"`), "").is(t, 400)
		if log := s.log.String(); strings.Contains(log, "private") || !strings.Contains(log, `"route":"/scim/v2/Users"`) {
			t.Error(log)
		}
	},
	"limits": func(t *testing.T, s *service) {
		id, g := s.user(t, "a"), s.group(t, "G")
		long := strings.Repeat("x", 1<<20)
		s.ask(t, "POST", "/Users", userBody("b", `"title":"`+long+`"`)).fails(t, 413, "")
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"add","path":"displayName","value":"`+strings.Repeat(long, 8)+`"}`)).fails(t, 413, "")
		s.ask(t, "PATCH", "/Users/"+id, patchBody(slices.Repeat([]string{`{"op":"add","path":"title","value":"x"}`}, 1001)...)).fails(t, 413, "")
		var many []string
		for range 10_001 {
			many = append(many, uuid.NewString())
		}
		s.ask(t, "PUT", "/Groups/"+g, groupBody("G", many...)).fails(t, 413, "")
		s.ask(t, "PUT", "/Users/"+id, userBody("a", `"title":"`+strings.Repeat("x", 17<<10)+`"`)).fails(t, 400, "invalidValue")
		for _, filter := range []string{strings.Repeat("(", 21) + `title pr` + strings.Repeat(")", 21), `title eq "` + strings.Repeat("x", 5000) + `"`, strings.Repeat("title pr or ", 101) + "title pr"} {
			s.ask(t, "POST", "/Users/.search", searchBody+`,"filter":`+jsonText(filter)+`}`).fails(t, 400, "invalidFilter")
		}
	},
	"locations behind a proxy": func(t *testing.T, s *service) {
		if location := s.ask(t, "POST", "/Users", userBody("b"), "Forwarded", "for=192.0.2.1;proto=https").is(t, 201).header.Get("Location"); !strings.HasPrefix(location, "https://") {
			t.Error(location)
		}
		a := s.ask(t, "POST", "/Users", userBody("a"), "X-Forwarded-Proto", "https").is(t, 201)
		if location := a.header.Get("Location"); !strings.HasPrefix(location, "https://") {
			t.Error(location)
		}
	},
	"metrics by operation and provider": func(t *testing.T, s *service) {
		s.ask(t, "GET", "/Users", "", "User-Agent", "Okta SCIM Client 1.0.0").is(t, 200)
		s.ask(t, "POST", "/Groups", "{", "User-Agent", "Google-Auto-Provisioning").is(t, 400)
		eventually(t, "metrics are told", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.served) == 2 })
		if one, two := s.served[0], s.served[1]; one.Operation != "users.list" || one.Provider != "okta" || one.Status != 200 || two.Operation != "groups.create" || two.Provider != "google" || two.Status != http.StatusBadRequest {
			t.Error(s.served)
		}
	},
}
