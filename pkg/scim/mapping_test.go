package scim

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// step is one change of a user: a SCIM request or, with native, one of the native API.
type step struct {
	patch  []string
	put    string // members besides schemas
	native string
}

// take carries a step out.
func (s step) take(t *testing.T, p Profile) (Profile, error) {
	t.Helper()
	switch {
	case s.patch != nil:
		return patch(t, p, operations(s.patch...))
	case s.put != "":
		return put(t, p, `{`+coreUser+`,`+s.put+`}`)
	}
	update, err := user.ParseUpdate([]byte(s.native))
	if err == nil {
		err = update.Validate()
	}
	if err != nil {
		return p, err
	}
	u, err := update.Apply(p.User, user.Stamp{Now: someTime})
	if err != nil {
		return p, err
	}
	u.SCIM = p.Reconcile(u)
	p.User = u
	return p, nil
}

// ext makes what the extension shows of a user with the tag u.
func ext(members string) string {
	return `"` + ours + `":{"tag":"u"` + members + `}`
}

// TestMapping has the rows of the contract's mapping table, in its order. Each begins with a POST
// of the members in post, or with a native user.
func TestMapping(t *testing.T) {
	t.Parallel()
	const u = `"userName":"u"`
	for _, row := range []struct {
		name, post string
		steps      []step
		want       string // shown
		product    string // as the native API shows it
		kind       Type   // of the last step's error
	}{
		{name: "id: a client's is ignored", post: u + `,"id":"` + otherID + `"`, want: `{"id":"` + someID + `"}`},
		{name: "userName: kept as written", post: `"userName":"Ada@Example.COM"`, want: `{"userName":"Ada@Example.COM"}`},
		{name: "userName: effective is the e-mail address", want: `{"userName":"ada@example.com"}`},
		{name: "userName: else the tag", steps: []step{{native: `{"email":null}`}}, want: `{"userName":"ada"}`},
		{name: "userName: what was shown stays when the e-mail address goes", steps: []step{{patch: []string{`{"op":"remove","path":"emails"}`}}}, want: `{"userName":"ada@example.com","emails":null}`},
		{name: "userName: not removable", post: u, steps: []step{{put: `"displayName":"x"`}}, kind: InvalidValue},
		{name: "tag: the local part, folded", post: `"userName":"José.O'Brien+AI@example.com"`, product: `{"tag":"jose.o-brien-ai"}`},
		{name: "tag: at most 55, trimmed", post: `"userName":"-` + strings.Repeat("a", 54) + `--b"`, product: `{"tag":"` + strings.Repeat("a", 54) + `"}`},
		{name: "tag: of nothing that folds", post: `"userName":"用户"`, product: `{"tag":"user"}`},
		{name: "tag: given", post: u + `,"` + ours + `":{"tag":"Mine"}`, product: `{"tag":"mine"}`},
		{name: "tag: not changed by a later userName", post: u, steps: []step{{patch: []string{`{"op":"replace","path":"userName","value":"v"}`}}}, product: `{"tag":"u"}`},
		{name: "tag: written", post: u, steps: []step{{patch: []string{`{"op":"replace","path":"` + ours + `:tag","value":"v"}`}}}, product: `{"tag":"v"}`},
		{name: "name: displayName", post: u + `,"displayName":"D","name":{"formatted":"F"}`, product: `{"name":"D"}`},
		{name: "name: else formatted", post: u + `,"name":{"formatted":"F","givenName":"G"}`, product: `{"name":"F"}`, want: `{"displayName":null}`},
		{name: "name: else given family", post: u + `,"name":{"givenName":"G","familyName":"H"}`, product: `{"name":"G H"}`},
		{name: "name: else userName", post: u, product: `{"name":"u"}`},
		{name: "name: follows formatted", post: u + `,"name":{"formatted":"F"}`, steps: []step{{patch: []string{`{"op":"replace","path":"name.formatted","value":"G"}`}}}, product: `{"name":"G"}`},
		{name: "name: follows userName", post: u, steps: []step{{patch: []string{`{"op":"replace","path":"userName","value":"v"}`}}}, product: `{"name":"v"}`},
		{name: "name: cut at 200, and shown as sent", post: u + `,"displayName":"` + strings.Repeat("é", 210) + `"`, product: `{"name":"` + strings.Repeat("é", 200) + `"}`, want: `{"displayName":"` + strings.Repeat("é", 210) + `"}`},
		{name: "name: a native change sets displayName", post: u, steps: []step{{native: `{"name":"N"}`}}, want: `{"displayName":"N"}`},
		{name: "name: and formatted when that was equal", post: u + `,"displayName":"D","name":{"formatted":"D","givenName":"G"}`, steps: []step{{native: `{"name":"N"}`}},
			want: `{"displayName":"N","name":{"formatted":"N","givenName":"G"}}`},
		{name: "name: but not when it was not", post: u + `,"displayName":"D","name":{"formatted":"F"}`, steps: []step{{native: `{"name":"N"}`}}, want: `{"displayName":"N","name":{"formatted":"F"}}`},
		{name: "name.*: kept as sent", post: u + `,"name":{"givenName":" G ","honorificPrefix":"Dr"}`, want: `{"name":{"givenName":" G ","honorificPrefix":"Dr"}}`},
		{name: "name.*: never sent", want: `{"name":{"formatted":"Ada Lovelace","givenName":"Ada","familyName":"Lovelace"}}`},
		{name: "name.*: one word", post: u, want: `{"name":{"formatted":"u","givenName":"u","familyName":"u"}}`},
		{name: "name.*: removed", steps: []step{{patch: []string{`{"op":"remove","path":"name"}`, `{"op":"remove","path":"displayName"}`}}}, want: `{"name":null,"displayName":null}`, product: `{"name":"Ada Lovelace"}`},
		{name: "name.*: sent again", steps: []step{{patch: []string{`{"op":"remove","path":"name"}`}}, {patch: []string{`{"op":"add","path":"name.givenName","value":"G"}`}}}, want: `{"name":{"givenName":"G"}}`},
		{name: "email: the primary one", post: u + `,"emails":[{"value":"a@b.ca","type":"work"},{"value":"c@b.ca","primary":true}]`, product: `{"email":"c@b.ca"}`},
		{name: "email: else type work", post: u + `,"emails":[{"value":"a@b.ca"},{"value":"c@b.ca","type":"Work"}]`, product: `{"email":"c@b.ca"}`},
		{name: "email: else the first", post: u + `,"emails":[{"value":"a@b.ca"},{"value":"c@b.ca","type":"home"}]`, product: `{"email":"a@b.ca"}`,
			want: `{"emails":[{"value":"a@b.ca"},{"value":"c@b.ca","type":"home"}]}`},
		{name: "email: a native change replaces its value", post: u + `,"emails":[{"value":"a@b.ca","type":"home"},{"value":"c@b.ca","primary":true}]`, steps: []step{{native: `{"email":"n@b.ca"}`}},
			want: `{"emails":[{"value":"a@b.ca","type":"home"},{"value":"n@b.ca","primary":true}]}`},
		{name: "email: a native null removes it", post: u + `,"emails":[{"value":"a@b.ca","type":"home"},{"value":"c@b.ca","primary":true}]`, steps: []step{{native: `{"email":null}`}},
			want: `{"emails":[{"value":"a@b.ca","type":"home"}]}`, product: `{"email":null}`},
		{name: "email: and it stays removed", post: u + `,"emails":[{"value":"a@b.ca","type":"home"},{"value":"c@b.ca","primary":true}]`,
			steps: []step{{native: `{"email":null}`}, {patch: []string{`{"op":"add","path":"title","value":"x"}`}}}, product: `{"email":null}`},
		{name: "email: a native one besides those that are left", post: u + `,"emails":[{"value":"a@b.ca","type":"home"},{"value":"c@b.ca","primary":true}]`,
			steps: []step{{native: `{"email":null}`}, {native: `{"email":"n@b.ca"}`}}, want: `{"emails":[{"value":"n@b.ca","type":"work","primary":true},{"value":"a@b.ca","type":"home"}]}`},
		{name: "email: natively changed to another of them", post: u + `,"emails":[{"value":"a@b.ca","type":"work","primary":true},{"value":"c@b.ca","type":"work","display":"C"}]`,
			steps: []step{{native: `{"email":"c@b.ca"}`}}, want: `{"emails":[{"value":"c@b.ca","type":"work","primary":true,"display":"C"}]}`},
		{name: "email: the only one removed natively", post: u + `,"emails":[{"value":"a@b.ca"}]`, steps: []step{{native: `{"email":null}`}}, want: `{"emails":null}`},
		{name: "email: native only", want: `{"emails":[{"value":"ada@example.com","type":"work","primary":true}]}`},
		{name: "email: one without a value is kept, and is no address", post: u + `,"emails":[{"type":"home","display":"none","primary":true},{"value":"a@b.ca"}]`, product: `{"email":"a@b.ca"}`,
			want: `{"emails":[{"type":"home","display":"none","primary":true},{"value":"a@b.ca"}]}`},
		{name: "phoneNumbers: kept without a value", post: u + `,"phoneNumbers":[{"type":"fax","value":"1"}]`, steps: []step{{patch: []string{`{"op":"add","path":"phoneNumbers[type eq \"fax\"].display","value":"office"}`, `{"op":"remove","path":"phoneNumbers[type eq \"fax\"].value"}`}}},
			want: `{"phoneNumbers":[{"type":"fax","display":"office"}]}`},
		{name: "email: cleared by PUT", post: u + `,"emails":[{"value":"a@b.ca"}]`, steps: []step{{put: u}}, product: `{"email":null}`},
		{name: "active: false suspends", post: u + `,"active":false`, product: `{"status":"suspended"}`},
		{name: "active: true restores", post: u + `,"active":false`, steps: []step{{patch: []string{`{"op":"replace","path":"active","value":true}`}}}, product: `{"status":"active"}`},
		{name: "active: PUT without it keeps what is", post: u + `,"active":false`, steps: []step{{put: u}}, product: `{"status":"suspended"}`, want: `{"active":false}`},
		{name: "active: removed, the status stays", post: u + `,"active":false`, steps: []step{{patch: []string{`{"op":"remove","path":"active"}`}}}, product: `{"status":"suspended"}`, want: `{"active":null}`},
		{name: "active: and a native change shows it again", post: u + `,"active":false`, steps: []step{{patch: []string{`{"op":"remove","path":"active"}`}}, {native: `{"status":"active"}`}}, want: `{"active":true}`},
		{name: "externalId: as is", post: u + `,"externalId":" X "`, product: `{"externalId":" X "}`},
		{name: "externalId: cleared by PUT", post: u + `,"externalId":"x"`, steps: []step{{put: u}}, product: `{"externalId":null}`},
		{name: "role: the extension's", post: u + `,"roles":[{"value":"viewer"}],"` + ours + `":{"role":"SERVICE"}`, product: `{"role":"service"}`, want: `{"roles":[{"value":"viewer"}]}`},
		{name: "role: else the highest known", post: u + `,"roles":[{"value":"boss"},{"value":"service"},{"value":"Viewer"}]`, product: `{"role":"viewer"}`},
		{name: "role: else unchanged", post: u + `,"roles":[{"value":"boss"}]`, product: `{"role":"member"}`},
		{name: "role: the extension's wins in a PATCH that does not change it", post: u, product: `{"role":"member"}`,
			steps: []step{{patch: []string{`{"op":"replace","path":"` + ours + `:role","value":"member"}`, `{"op":"add","path":"roles","value":[{"value":"admin"}]}`}}}},
		{name: "role: stays when it is removed", post: u + `,"` + ours + `":{"role":"viewer"}`, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `:role"}`}}}, product: `{"role":"viewer"}`, want: `{` + ext(`,"modelAccess":"all"`) + `}`},
		{name: "role: packed as JSON, as Entra sends it", post: u, product: `{"role":"viewer"}`,
			steps: []step{{patch: []string{`{"op":"Add","path":"roles[primary eq \"True\"].value","value":"{\"value\":\"Viewer\"}"}`}}}, want: `{"roles":[{"value":"Viewer","primary":true}]}`},
		{name: "role: unknown", post: u, steps: []step{{put: u + `,"` + ours + `":{"role":"boss"}`}}, kind: InvalidValue},
		{name: "models: null is all", post: u, product: `{"models":null}`, want: `{` + ext(`,"role":"member","modelAccess":"all"`) + `}`},
		{name: "models: a list is listed", post: u + `,"` + ours + `":{"models":["gpt-5*"]}`, product: `{"models":["gpt-5*"]}`, want: `{` + ext(`,"role":"member","modelAccess":"listed","models":["gpt-5*"]`) + `}`},
		{name: "models: listed with none", post: u + `,"` + ours + `":{"modelAccess":"Listed"}`, product: `{"models":[]}`, want: `{` + ext(`,"role":"member","modelAccess":"listed"`) + `}`},
		{name: "models: a list sets listed, whatever the access", post: u + `,"` + ours + `":{"models":["a"],"modelAccess":"all"}`, product: `{"models":["a"]}`},
		{name: "models: added", post: u, steps: []step{{patch: []string{`{"op":"add","path":"` + ours + `:models","value":["a"]}`}}}, product: `{"models":["a"]}`},
		{name: "role: shown again once roles change it", post: u + `,"` + ours + `":{"role":"viewer"}`, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `:role"}`}}, {patch: []string{`{"op":"add","path":"roles","value":[{"value":"service"}]}`}}}, product: `{"role":"service"}`, want: `{` + ext(`,"role":"service","modelAccess":"all"`) + `}`},
		{name: "models: removed leaves listed", post: u + `,"` + ours + `":{"models":["a"]}`, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `:models"}`}}}, product: `{"models":[]}`, want: `{` + ext(`,"role":"member","modelAccess":"listed"`) + `}`},
		{name: "models: emptied leaves listed", post: u + `,"` + ours + `":{"models":["a"]}`, steps: []step{{patch: []string{`{"op":"replace","path":"` + ours + `:models","value":[]}`}}}, product: `{"models":[]}`},
		{name: "models: cleared by PUT leaves listed", post: u + `,"` + ours + `":{"models":["a"]}`, steps: []step{{put: u + `,"` + ours + `":{"tag":"u"}`}}, product: `{"models":[]}`},
		{name: "models: all opens", post: u + `,"` + ours + `":{"models":["a"]}`, steps: []step{{patch: []string{`{"op":"replace","path":"` + ours + `:modelAccess","value":"all"}`}}}, product: `{"models":null}`, want: `{` + ext(`,"role":"member","modelAccess":"all"`) + `}`},
		{name: "models: access removed", post: u + `,"` + ours + `":{"models":["a"]}`, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `:modelAccess"}`}}}, product: `{"models":["a"]}`, want: `{` + ext(`,"role":"member","models":["a"]`) + `}`},
		{name: "limits: integers", post: u + `,"` + ours + `":{"requestsPerMinute":60,"tokensPerMinute":0,"monthlyBudgetCents":1200}`, product: `{"limits":{"requestsPerMinute":60,"tokensPerMinute":0,"monthlyBudgetUSD":12}}`,
			want: `{` + ext(`,"role":"member","modelAccess":"all","requestsPerMinute":60,"tokensPerMinute":0,"monthlyBudgetCents":1200`) + `}`},
		{name: "limits: unassigned is unlimited", post: u + `,"` + ours + `":{"requestsPerMinute":60}`, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `:requestsPerMinute"}`}}}, product: `{"limits":{"requestsPerMinute":null,"tokensPerMinute":null,"monthlyBudgetUSD":null}}`},
		{name: "limits: PUT without the extension keeps it", post: u + `,"` + ours + `":{"requestsPerMinute":60,"models":["a"],"role":"viewer"}`, steps: []step{{put: u + `,"title":"x"`}}, product: `{"limits":{"requestsPerMinute":60,"tokensPerMinute":null,"monthlyBudgetUSD":null},"models":["a"],"role":"viewer"}`},
		{name: "the extension removed", post: u + `,"` + ours + `":{"requestsPerMinute":60,"models":["a"],"role":"viewer"}`, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `"}`}}}, want: `{"` + ours + `":null,"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]}`,
			product: `{"limits":{"requestsPerMinute":null,"tokensPerMinute":null,"monthlyBudgetUSD":null},"models":[],"role":"viewer","tag":"u"}`},
		{name: "the extension written again", post: u, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `"}`}}, {patch: []string{`{"op":"add","path":"` + ours + `","value":{"role":"viewer"}}`}}}, want: `{"` + ours + `":{"role":"viewer"}}`},
		{name: "the extension and native changes", post: u, steps: []step{{patch: []string{`{"op":"remove","path":"` + ours + `"}`}}, {native: `{"role":"viewer","tag":"v","models":[]}`}}, want: `{"` + ours + `":{"tag":"v","role":"viewer","modelAccess":"listed"}}`},
		{name: "version, createdAt, updatedAt", post: u, want: `{"meta":{"resourceType":"User","created":"2026-01-02T03:04:05.000006Z","lastModified":"2026-01-02T03:04:05.000006Z","location":"` + base + `/Users/` + someID + `","version":"W/\"1\""}}`},
		{name: "others: kept as sent", post: u + `,"nickName":"n","profileUrl":"p","title":"t","userType":"u","preferredLanguage":"l","locale":"o","timezone":"z","phoneNumbers":[{"value":"1"}],"addresses":[{"region":"r"}],"` + enterprise + `":{"employeeNumber":"7"}`,
			want: `{"nickName":"n","profileUrl":"p","title":"t","userType":"u","preferredLanguage":"l","locale":"o","timezone":"z","phoneNumbers":[{"value":"1"}],"addresses":[{"region":"r"}],"` + enterprise + `":{"employeeNumber":"7"}}`},
		{name: "others: cleared by PUT", post: u + `,"nickName":"n","name":{"givenName":"G"},"` + enterprise + `":{"employeeNumber":"7"}`, steps: []step{{put: u}}, want: `{"nickName":null,"` + enterprise + `":null,"name":{"formatted":"u","givenName":"u","familyName":"u"}}`},
		{name: "others: a native change keeps them", post: u + `,"nickName":"n","roles":[{"value":"viewer"}]`, steps: []step{{native: `{"role":"admin"}`}}, want: `{"nickName":"n","roles":[{"value":"viewer"}]}`},
		{name: "manager: any id, its name readOnly", post: u + `,"` + enterprise + `":{"manager":{"value":"nobody","displayName":"N"}}`, want: `{"` + enterprise + `":{"manager":{"value":"nobody"}}}`},
		{name: "16 KiB", post: u, steps: []step{{patch: []string{`{"op":"add","path":"title","value":"` + strings.Repeat("x", maxKeptBytes) + `"}`}}}, kind: InvalidValue},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := native()
			if row.post != "" {
				p = mustPost(t, `{`+coreUser+`,`+row.post+`}`)
			}
			var err error
			for _, s := range row.steps {
				if p, err = s.take(t, p); err != nil && row.kind == "" {
					t.Fatal(err)
				}
			}
			if row.kind != "" {
				wantError(t, err, 400, row.kind)
				return
			}
			if row.want != "" {
				wantShown(t, p, row.want)
			}
			if row.product != "" {
				wantMembers(t, stored(p.AppendJSON(nil)).(Object), row.product)
			}
		})
	}
}

func TestGroupsOfAUser(t *testing.T) {
	t.Parallel()
	p := native()
	p.Groups = []user.GroupRef{{ID: uuid.MustParse(otherID), Name: "G"}}
	wantShown(t, p, `{"groups":[{"value":"`+otherID+`","$ref":"`+base+`/Groups/`+otherID+`","display":"G","type":"direct"}]}`)
}

func TestAlternativeTag(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"ada@example.com": "ada-aaab", "用户": "user-aaab", strings.Repeat("a", 80): strings.Repeat("a", 55) + "-aaab"} {
		c, err := Create(Object{"userName": name}, uuid.MustParse(someID))
		if err != nil || c.AlternativeTag != want {
			t.Errorf("%s: %s, %v", name, c.AlternativeTag, err)
		}
		create := user.Create{Patch: c.Patch}
		create.Tag.Value = c.AlternativeTag
		if err := create.Validate(); err != nil {
			t.Error(err)
		}
	}
	if c, err := Create(Object{"userName": "u", ours: Object{"tag": "mine"}}, uuid.MustParse(someID)); err != nil || c.AlternativeTag != "" || c.Tag.Value != "mine" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestChangeIsSmall holds that a change names nothing that stays: a value that is written again
// makes no version.
func TestChangeIsSmall(t *testing.T) {
	t.Parallel()
	if p := mustPost(t, `{`+coreUser+`,"userName":"u","displayName":"U","emails":[{"value":"a@b.ca","type":"work","primary":true}]}`); string(p.SCIM) != "{}" {
		t.Errorf("what the fields give back is kept: %s", p.SCIM)
	}
	p := full(t)
	resource, err := Users.Read(p.Resource(base).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Replace(resource)
	if err != nil || !c.Empty() {
		t.Errorf("%+v, %v", c, err)
	}
	request, err := Users.ParsePatch([]byte(operations(`{"op":"replace","path":"active","value":false}`)))
	if err != nil {
		t.Fatal(err)
	}
	c, err = p.Patch(request)
	if diff := cmp.Diff(Change{Patch: user.Patch{Status: user.Some(user.Suspended)}}, c); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	p.SCIM = []byte(strings.ReplaceAll(string(p.SCIM), ":", ": ")) // as PostgreSQL writes it
	if c, err = p.Patch(request); err != nil || c.SCIM.Set {
		t.Errorf("%+v, %v", c, err)
	}
}
