package console

import (
	"compress/gzip"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// TestListIsSearchedFilteredAndSorted goes through the list as an administrator does, with and without JavaScript.
func TestListIsSearchedFilteredAndSorted(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(120)
	s.create(`{"tag":"ada","name":"Ada Lovelace","role":"admin","status":"suspended"}`)
	s.bothWays(t, func(p *tab, code bool) {
		p.sees("121 users")
		p.fill("Search", "lovelace")
		if !code {
			p.follows(button("Find"))
		}
		p.sees("1 user")
		if at := p.location(); code {
			p.wait("the search in the address", `location.search === '?q=lovelace'`)
		} else if !strings.Contains(at, "q=lovelace") {
			p.Errorf("the address does not have the search: %s", at)
		}
		p.sees("Ada Lovelace")
		p.follows(link("Search: lovelace" + "remove this filter"))
		p.open("users?role=admin&status=suspended")
		p.sees("Ada Lovelace")
		p.follows(link("Role: admin" + "remove this filter"))
		p.follows(link("Status: suspended" + "remove this filter"))
		p.sees("121 users")
		p.follows(link("Name"))
		if state := p.eval(`document.querySelector('th[aria-sort]').innerText + document.querySelector('th[aria-sort]').getAttribute('aria-sort')`); state != "Nameascending" {
			p.Errorf("sorted: %s", state)
		}
		p.sees("Person 0048")
		p.follows(link("Next"))
		p.sees("Person 0049")
		p.follows(link("Next"))
		p.sees("Person 0119")
		p.follows(link("Previous"))
		p.sees("Person 0098")
		p.follows(link("Previous"))
		p.sees("Ada Lovelace")
		p.open("users?sort=-tag")
		if state := p.eval(`[...document.querySelectorAll('th[aria-sort]')].map(th => th.innerText + th.ariaSort).join()`); state != "Tagdescending" {
			p.Errorf("sorted: %s", state)
		}
		p.open("users")
		p.fill("Search", "ada")
		if code {
			p.wait("the search in the address", `location.search === '?q=ada'`)
		} else {
			p.follows(button("Find"))
		}
		p.do(`document.querySelector('.filters').open = true`)
		p.put("Role", "admin")
		p.follows(button("Add filter"))
		p.sees("1 user")
		if at := p.location(); !strings.HasSuffix(at, "/users?q=ada&role=admin") {
			p.Errorf("the address of a filtered list: %s", at)
		}
		p.do(`document.querySelector('.filters').open = true`)
		p.put("Filter by", "createdTo")
		p.put("Value", "2020-01-31")
		p.follows(button("Add filter"))
		p.sees("No user matches.")
		if at := p.location(); !strings.Contains(at, "createdTo=2020-01-31T00") {
			p.Errorf("the address of a list by time: %s", at)
		}
		p.open("users?role=king")
		p.sees("role must be")
		p.open("users?count=none")
		p.sees("All users found")
		p.open("users?q=nobody")
		p.sees("No user matches.")
	})
}

// TestRefusedFilterIsKept: a filter for metadata that lacks its value can be mended where it was typed.
func TestRefusedFilterIsKept(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.create(`{"tag":"ada","name":"Ada","role":"admin","metadata":{"team":"research"}}`)
	s.bothWays(t, func(p *tab, code bool) {
		p.open("users?role=admin")
		p.do(`document.querySelector('.filters').open = true`)
		p.put("Filter by", "metadata")
		p.put("Value", "team")
		p.follows(button("Add filter"))
		p.sees("must be a name and a value with = between them")
		if code {
			p.accessible("a refused filter")
		}
		if chips := p.eval(`[...document.querySelectorAll('.chip > span:first-child')].map(c => c.innerText).join()`); chips != "Role: admin" {
			p.Errorf("filters in force: %s", chips)
		}
		p.wait("the filter", `document.querySelector('.filters').open && document.querySelector('#filter').value === 'metadata' && document.querySelector('#value').value === 'team'`)
		p.put("Value", "team=research")
		p.follows(button("Add filter"))
		p.sees("1 user")
		if at := p.location(); !strings.HasSuffix(at, "/users?metadata.team=research&role=admin") {
			p.Errorf("the address: %s", at)
		}
	})
}

// TestKeyboardAlone signs in, searches, opens a user, changes the name and signs out without a pointer.
func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.create(`{"tag":"ada","name":"Ada Lovelace"}`)
	p := s.person(t)
	p.open("signin")
	p.tabTo("Token")
	p.keys(s.token + kb.Enter)
	p.sees("1 user")
	p.keys(kb.Tab)
	if first := p.eval("document.activeElement.textContent"); first != "Skip to the content" {
		t.Errorf("first is %q", first)
	}
	p.keys(kb.Enter)
	p.tabTo("Search")
	p.keys("love")
	p.sees("Ada Lovelace")
	p.tabTo("Ada Lovelace")
	p.keys(kb.Enter)
	p.sees("Profile")
	p.tabTo("Name")
	p.do("document.activeElement.select()")
	p.keys("Ada King")
	p.tabTo("Save")
	if outline := p.eval("getComputedStyle(document.activeElement).outlineStyle"); outline == "none" {
		t.Error("the focus is not seen")
	}
	p.keys(kb.Enter)
	p.sees("Saved.")
	p.tabTo("Sign out")
	p.keys(kb.Enter)
	p.sees("Sign in")
}

// tabTo presses the tab key until the focus is on what has a name.
func (p *tab) tabTo(name string) {
	p.Helper()
	for range 80 {
		if p.eval("(document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim()") == name {
			return
		}
		p.keys(kb.Tab)
	}
	p.Fatalf("the tab key does not reach %s", name)
}

// TestUserIsEdited changes each field of a user, and sees the API's messages beside them.
func TestUserIsEdited(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.create(`{"tag":"taken","name":"Somebody"}`)
	id := s.create(`{"tag":"ada","name":"Ada Lovelace","models":["gpt-5*"],"metadata":{"team":"research","old":{"a":1}}}`)
	s.bothWays(t, func(p *tab, code bool) {
		p.open("users/" + id)
		p.put("E-mail", "not an address")
		if code {
			p.sees("You have changes that are not saved.")
		}
		p.put("Requests per minute", "many")
		p.put("Metadata", `{"team":`)
		p.follows(button("Save"))
		p.sees("the JSON ends too early")
		p.put("Metadata", `{"team":"research","new":[1]}`)
		p.follows(button("Save"))
		p.sees("must be a valid email address")
		p.sees("must be a number")
		if invalid := eval[int](p, "document.querySelectorAll('main [aria-invalid=true]').length"); invalid != 2 {
			p.Errorf("%d fields are marked", invalid)
		}
		p.put("E-mail", "ada@example.com")
		p.put("Requests per minute", "60")
		p.put("Tag", "taken")
		p.follows(button("Save"))
		p.sees("tag")
		p.put("Tag", "ada")
		p.put("Models", "gpt-5*\nclaude-?")
		p.follows(button("Save"))
		p.sees("Saved.")
		got := s.api("GET", "users/"+id, "")
		if got["email"] != "ada@example.com" || fmt.Sprint(got["models"]) != "[gpt-5* claude-?]" || fmt.Sprint(got["metadata"]) != "map[new:[1] team:research]" {
			p.Errorf("%v", got)
		}
		p.put("Would this name match?", "claude-4")
		if code {
			p.sees("Yes: claude-4 is matched.")
		} else {
			p.follows(button("Try the name"))
		}
		p.sees("Yes: claude-4 is matched.")
		p.open("users/" + id)
		p.fill("May this user use …?", "gpt-4o")
		p.follows(button("Ask"))
		p.sees("No, this user may not use gpt-4o: the model gpt-4o is not allowed")
		p.fill("May this user use …?", "gpt-5-mini")
		p.follows(button("Ask"))
		p.sees("Yes, this user may use gpt-5-mini: the pattern gpt-5* allows it")
		p.open("users/" + id + "?may=%20")
		if answer := p.text("#answer"); answer != "" {
			p.Errorf("nothing was asked, and the answer is %s", answer)
		}
		p.follows(button("Suspend"))
		p.sees("The status was changed.")
		p.follows(button("Activate"))
		p.open("users/" + id + "?field=email#history")
		p.sees("ada@example.com")
		s.api("PATCH", "users/"+id, `{"email":null,"models":["gpt-5*"],"limits":null,"metadata":{"old":{"a":1},"new":null}}`)
	})
}

// TestLongListsOfModels: a name is tried against the longest list, and the page says so where there is no answer.
func TestLongListsOfModels(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	models := make([]string, 100)
	for i := range models {
		models[i] = fmt.Sprintf("%q", fmt.Sprintf("%03d-", i)+strings.Repeat("é", 124))
	}
	id := s.create(`{"tag":"ada","name":"Ada","models":[` + strings.Join(models, ",") + `]}`)
	s.bothWays(t, func(p *tab, code bool) {
		p.open("users/" + id)
		p.put("Would this name match?", "gpt-5")
		if !code {
			p.follows(button("Try the name"))
		}
		p.sees("No: gpt-5 is not matched.")
		if code {
			p.do(`window.fetch = () => Promise.reject(new TypeError('away'))`)
			p.put("Would this name match?", "gpt-6")
			p.sees("No answer: ")
		}
	})
}

// TestOnlyTheEditedFieldIsSaved: line breaks that fields of a browser cannot hold stay as they are.
func TestOnlyTheEditedFieldIsSaved(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada","externalId":"cn=a\nou=b","models":["a\rb"]}`)
	p := s.person(t).signIn(s.token)
	p.open("users/" + id)
	p.put("Name", "Ada King")
	p.follows(button("Save"))
	p.sees("Saved.")
	got := s.api("GET", "users/"+id, "")
	if models := got["models"].([]any); got["name"] != "Ada King" || got["externalId"] != "cn=a\nou=b" || len(models) != 1 || models[0] != "a\rb" {
		t.Errorf("%q %q %q", got["name"], got["externalId"], models)
	}
}

// TestNewUserAndDelete makes a user and deletes it by typing the tag.
func TestNewUserAndDelete(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.bothWays(t, func(p *tab, _ bool) {
		p.follows(link("New user"))
		p.fill("Tag", "grace")
		p.put("Name", strings.Repeat("G", 201))
		p.follows(button("Create"))
		p.wait("the name's problem", `document.querySelector('#p-name')`)
		p.put("Name", "Grace Hopper")
		p.follows(button("Create"))
		p.sees("The user was created.")
		if title := p.eval("document.title"); !strings.Contains(title, "Grace Hopper") {
			p.Errorf("title %q", title)
		}
		p.follows(button("Delete"))
		p.fill("Tag", "nobody")
		p.follows(button("Delete"))
		p.sees("This is not the tag")
		p.fill("Tag", "grace")
		p.follows(button("Delete"))
		p.sees("The user was deleted.")
	})
}

// TestTwoTabs: of two people who edit one user, neither overwrites what the other saved without seeing it.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada Lovelace","email":"ada@example.com"}`)
	first := s.person(t).signIn(s.token)
	first.open("users/" + id)
	second := first.another()
	second.open("users/" + id)
	second.put("Name", "Ada King")
	second.put("Requests per minute", "77")
	second.follows(button("Save"))
	second.sees("Saved.")
	first.put("Name", "Ada Byron")
	first.put("E-mail", "ada@new.example.com")
	first.follows(button("Save"))
	first.sees("was changed meanwhile")
	first.sees("Ada King")
	first.sees("Ada Byron")
	first.sees("77")
	if got := s.api("GET", "users/"+id, ""); got["name"] != "Ada King" || got["email"] != "ada@example.com" {
		t.Errorf("overwritten unseen: %v", got)
	}
	first.accessible("conflict")
	first.shot("conflict-1280")
	first.view("conflict")
	first.do(`document.querySelector('[name="choose.name"][value=mine]').click()`)
	first.follows(button("Save the chosen values"))
	first.sees("Saved.")
	got := s.api("GET", "users/"+id, "")
	if limits := fmt.Sprint(got["limits"]); got["name"] != "Ada Byron" || got["email"] != "ada@new.example.com" || !strings.Contains(limits, "77") {
		t.Errorf("%v", got)
	}
}

// TestBulk suspends a thousand users and more, of whom one is gone by then, and deletes some.
func TestBulk(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(1050)
	p := s.person(t).signIn(s.token)
	p.open("users?q=person")
	p.do(`document.querySelector('[name=all]').click()`)
	p.follows(button("Suspend"))
	p.sees("1,050 users will be suspended.")
	s.api("DELETE", "users/tag:p0007", "")
	p.follows(button("Suspend"))
	p.sees("The matching users have changed.")
	p.sees("1,049 users will be suspended.")
	p.follows(button("Suspend"))
	p.sees("1,049 users done, 0 failed")
	if found := s.api("GET", "users?status=suspended&limit=1&count=exact", ""); fmt.Sprint(found["page"].(map[string]any)["total"]) != "1049" {
		t.Errorf("%v", found["page"])
	}
	p.open("users?sort=tag&limit=500")
	p.do(`document.querySelector('[data-tick-all]').click()`)
	p.follows(button("Activate"))
	p.sees("500 users will be activated.")
	s.api("DELETE", "users/tag:p0003", "")
	p.follows(button("Activate"))
	p.sees("499 users done, 1 failed")
	p.sees("no such user")
	p.shot("bulk-1280")

	bare := s.person(t).withoutJavaScript().signIn(s.token)
	bare.open("users?tag=p0001&tag=p0002")
	bare.do(`[...document.querySelectorAll('tbody input[name=id]')].forEach(box => { box.checked = true })`)
	bare.follows(button("Delete"))
	bare.sees("2 users will be deleted for good.")
	bare.fill("Type 2 to confirm", "3")
	bare.follows(button("Delete"))
	bare.sees("type 2")
	bare.fill("Type 2 to confirm", "2")
	bare.follows(button("Delete"))
	bare.sees("2 users done, 0 failed")
}

// TestBulkKeepsTheList: when nothing is chosen, the way back leads to the list as it was, and an export of all users
// found has its order.
func TestBulkKeepsTheList(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(30)
	s.bothWays(t, func(p *tab, _ bool) {
		const query = "users?limit=5&q=person&sort=-tag"
		p.open(query)
		p.follows(button("Suspend"))
		p.sees("no user is chosen")
		p.follows(link("Back to the list"))
		if at := p.location(); !strings.HasSuffix(at, query) {
			p.Errorf("back at %s", at)
		}
		p.do(`document.querySelector('[name=all]').checked = true`)
		dir := p.saves()
		p.press(button("Export"))
		if lines := p.saved(dir, "users.csv"); len(lines) != 31 || !strings.Contains(lines[1], "p0029") {
			p.Errorf("%d lines, then %.60s", len(lines), lines[1])
		}
	})
}

// TestExport saves the list as files.
func TestExport(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(60)
	p := s.person(t).signIn(s.token)
	dir := p.saves()
	p.open("users?q=p000")
	p.press(link("Export as CSV"))
	p.press(link("Export as NDJSON"))
	for _, name := range []string{"users.csv", "users.ndjson"} {
		if lines := p.saved(dir, name); len(lines) != 11 {
			t.Errorf("%s has %d lines", name, len(lines))
		}
	}
	p.open("users/export?format=csv&role=king")
	p.sees("role must be")
}

// TestChosenAreExported: more users than the API's listing takes by id come as one file with one header.
func TestChosenAreExported(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(250)
	p := s.person(t).signIn(s.token)
	dir := p.saves()
	p.open("users?sort=tag&limit=250")
	p.do(`document.querySelector('[data-tick-all]').click()`)
	p.press(button("Export"))
	lines := p.saved(dir, "users.csv")
	if len(lines) != 251 || !strings.HasPrefix(lines[0], "id,tag,") {
		t.Errorf("%d lines, the first %.40s", len(lines), lines[0])
	}
	slices.Sort(lines)
	if n := len(slices.Compact(lines)); n != 251 {
		t.Errorf("%d lines are one another's", 251-n)
	}
}

// TestPagesBothWays goes to the end of the list and back, in orders with users who have no e-mail address.
func TestPagesBothWays(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(23)
	for i := range 12 {
		s.create(fmt.Sprintf(`{"tag":"bare%02d","name":"Person %04d"}`, i, i))
	}
	client := s.client(t, s.token)
	id, way := regexp.MustCompile(`name="id" value="([^"]+)"`), regexp.MustCompile(`rel="(prev|next)" href="([^"]+)"`)
	look := func(path string) (ids []string, ways map[string]string) {
		_, page := client.get(path)
		for _, found := range id.FindAllStringSubmatch(page, -1) {
			ids = append(ids, found[1])
		}
		ways = map[string]string{}
		for _, found := range way.FindAllStringSubmatch(page, -1) {
			ways[found[1]] = html.UnescapeString(found[2])
		}
		return ids, ways
	}
	for _, sort := range []string{"email", "-email", "name", "-createdAt", "tag"} {
		var pages [][]string
		var ids []string
		ways := map[string]string{"next": "/ai/admin/console/users?limit=5&sort=" + sort}
		for ways["next"] != "" && len(pages) < 20 {
			ids, ways = look(ways["next"])
			pages = append(pages, ids)
		}
		if len(pages) != 7 {
			t.Fatalf("%s: %d pages", sort, len(pages))
		}
		for i := len(pages) - 2; i >= 0; i-- {
			if ids, ways = look(ways["prev"]); !slices.Equal(ids, pages[i]) {
				t.Errorf("%s: page %d is another one on the way back:\n%v\n%v", sort, i+1, ids, pages[i])
			}
		}
		if ways["prev"] != "" {
			t.Errorf("%s: something is before the first page: %s", sort, ways["prev"])
		}
	}
}

// TestBudget holds the sizes of the list of 50 users: 60,000 bytes in all at first, then 10 kB.
func TestBudget(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(200)
	client := s.client(t, s.token)
	get := func(path string) (*http.Response, int, string) {
		request, err := http.NewRequest(http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept-Encoding", "gzip")
		answer, body := client.do(request)
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return answer, len(body), string(text)
	}
	answer, size, text := get("/ai/admin/console/users")
	if answer.Header.Get("Cache-Control") != "no-store" || strings.Count(text, `name="id"`) != 50 {
		t.Errorf("%v, %d users", answer.Header, strings.Count(text, `name="id"`))
	}
	if size > 10_000 {
		t.Errorf("the page has %d bytes", size)
	}
	all := size
	for _, asset := range regexp.MustCompile(`(?:href|src)="([^"]*/assets/[^"]*)"`).FindAllStringSubmatch(text, -1) {
		answer, size, _ := get(asset[1])
		if !strings.Contains(answer.Header.Get("Cache-Control"), "max-age=31536000, immutable") {
			t.Errorf("%s: %s", asset[1], answer.Header.Get("Cache-Control"))
		}
		all += size
	}
	if all > 50_000 { // and 10,000 for headers and the requests
		t.Errorf("the first visit takes %d bytes", all)
	}
	t.Logf("page %d bytes, first visit %d", size, all)
}
