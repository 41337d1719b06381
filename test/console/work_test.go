package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
)

// TestImport judges a file with faulty lines, applies it, and takes the failed lines away.
func TestImport(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.create(`{"tag":"taken","name":"Somebody"}`)
	file := filepath.Join(t.TempDir(), "people.csv")
	const content = "tag,name,email\r\nada,Ada,ada@example.com\r\ntaken,Again,\r\ngrace,\"Grace\",not-an-address\r\nbob,Bob,bob@example.com\r\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s.bothWays(t, func(p *tab, code bool) {
		next := p.judge(file, code)
		p.sees("Checked, nothing is changed yet")
		p.sees("must be a valid email address")
		if lines := p.eval(`[...document.querySelectorAll('tr.failed th')].map(th => th.innerText.trim()).join()`); lines != "3,4" {
			p.Errorf("failed lines: %s", lines)
		}
		if n := len(s.api("GET", "users", "")["users"].([]any)); n != 1 {
			p.Errorf("a dry run made users: %d", n)
		}
		if code {
			p.accessible("import judged")
		}
		p.shot(fmt.Sprintf("import-judged-%t", code))
		next(button("Apply"))
		p.sees("Applied")
		p.sees("2")
		dir := p.saves()
		if code {
			p.press(link("Download the failed lines"))
		} else {
			p.press(button("Download the failed lines"))
		}
		if lines, want := p.saved(dir, "failed.csv"), []string{"tag,name,email", "taken,Again,", `grace,"Grace",not-an-address`}; !slices.Equal(lines, want) {
			p.Errorf("failed lines: %q, want %q", lines, want)
		}
		s.api("DELETE", "users/tag:ada", "")
		s.api("DELETE", "users/tag:bob", "")
	})
}

// TestAnImportThatStops says where and why, and has nothing to apply.
func TestAnImportThatStops(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	file := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(file, []byte("tag,name\nada,Ada\nbob,\"Bob\ncy,Cy\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.bothWays(t, func(p *tab, code bool) {
		p.judge(file, code)
		p.sees("The import stopped after line")
		p.sees("does not end")
		if got := p.eval(`String([...document.querySelectorAll('button')].some(b => b.innerText == 'Apply'))`); got != "false" {
			p.Errorf("it can be applied")
		}
	})
}

// judge has a file checked, and returns what presses a button that follows.
func (p *tab) judge(file string, code bool) (next func(element string)) {
	p.Helper()
	p.choose(file, code)
	next = p.follows
	if code {
		next = p.press
	}
	next(button("Check the file"))
	return next
}

// choose opens the import and chooses a file; with JavaScript, once the module is there.
func (p *tab) choose(file string, code bool) {
	p.Helper()
	p.open("import")
	if code {
		p.wait("the module", `performance.getEntriesByType('resource').some(r => r.name.includes('/import.'))`)
	}
	p.run(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{file}))
}

// TestManyFailedLines: the file of failed lines has more of them than the page shows.
func TestManyFailedLines(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	file := filepath.Join(t.TempDir(), "people.csv")
	content := "tag,name\n" + strings.Repeat("-,Nobody\n", 600)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s.bothWays(t, func(p *tab, code bool) {
		p.choose(file, code)
		p.press(button("Check the file"))
		p.sees("Checked, nothing is changed yet")
		p.sees("and 100 more")
		dir := p.saves()
		if take := "Download the failed lines"; code {
			p.press(link(take))
		} else {
			p.press(button(take))
		}
		if lines := p.saved(dir, "failed.csv"); len(lines) != 601 {
			p.Errorf("%d lines", len(lines))
		}
	})
}

// TestFailedLinesAreWhole: the file of failed lines has each of them, byte for byte, and no other. It is read in
// pieces, since the browser makes a long file an empty string.
func TestFailedLinesAreWhole(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	long := strings.Repeat("x", 3<<20) // several pieces
	for name, test := range map[string]struct{ content, want string }{
		"a bare quote.csv":      {"tag,name\nok1,5\" disk\nok2,ok\n!!,bad\nok4,\n", "tag,name\nok1,5\" disk\n!!,bad\nok4,\n"},
		"quoted breaks.csv":     {"tag,name\r\n!a,\"A\r\n\"\"B\"\"\r\n\"\r\nok5,\"C,D\"\r\n!b,B", "tag,name\r\n!a,\"A\r\n\"\"B\"\"\r\n\"\r\n!b,B\n"},
		"after a quote.csv":     {"tag,name\nok6,\"A\"x\nok7,B\n!!,C\n", "tag,name\nok6,\"A\"x\n!!,C\n"},
		"an unclosed quote.csv": {"tag,name\n!a,x\nok8,\"open\nok9,ok\n!!,bad\n", "tag,name\n!a,x\nok8,\"open\nok9,ok\n!!,bad\n"},
		"a mark.csv":            {"\ufeff\"tag\",name\nx,\xff\n", "\ufeff\"tag\",name\nx,\xff\n"},
		"long.ndjson":           {"{}\n" + `{"tag":"ok10","name":"x"}` + "\n\n{\"tag\":\"" + long + "\"}\n" + `{"tag":"ok11","name":"x"}` + "\n[]", "{}\n{\"tag\":\"" + long + "\"}\n[]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			p := s.person(t).signIn(s.token)
			p.choose(file, true)
			p.do(`Blob.prototype.text = () => Promise.resolve('')`)
			dir := p.saves()
			p.press(button("Check the file"))
			p.press(link("Download the failed lines"))
			saved := p.savedFile(dir, "failed"+filepath.Ext(name))
			if saved != test.want {
				t.Errorf("%.200q, want %.200q", saved, test.want)
			}
		})
	}
}

// TestDeletedUser: what happened outlives the user, and is found by id or by who did it.
func TestDeletedUser(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"grace","name":"Grace"}`)
	s.api("PATCH", "users/"+id, `{"status":"suspended"}`)
	p := s.person(t).signIn(s.addTokenNow("reader", auth.UsersRead))
	p.open("activity?user=grace&type=updated")
	p.sees("grace")
	p.open("activity?user=nobody")
	p.sees("Nothing matches.")
	s.api("DELETE", "users/"+id, "")
	p.open("users/" + id)
	p.sees("This user is deleted.")
	p.sees("suspended")
	p.accessible("a deleted user")
	p.open("users/" + strings.Replace(id, id[:4], "0000", 1))
	p.sees("no such user")
}

// TestLiveFeed shows changes as they happen, and ends with the token.
func TestLiveFeed(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	p := s.person(t).signIn(s.token)
	p.open("activity")
	p.sees("Live: new changes appear here.")
	s.api("PATCH", "users/"+id, `{"name":"Ada Lovelace"}`)
	s.create(`{"tag":"grace","name":"Grace"}`)
	p.wait("the change", `[...document.querySelectorAll('#feed li')].some(li => li.innerText.includes('grace'))`)
	p.follows(link("Audit log"))
	p.sees("console.signedin")

	reader := s.person(t).signIn(s.addTokenNow("reader", auth.UsersRead))
	reader.open("activity?type=updated")
	reader.sees("Live: new changes appear here.")
	s.create(`{"tag":"bob","name":"Bob"}`)
	s.api("PATCH", "users/"+id, `{"name":"Ada King"}`)
	reader.wait("the change", `document.querySelector('#feed li')?.innerText.includes('ada')`)
	if text := reader.text("#feed"); strings.Contains(text, "bob") {
		t.Errorf("the filter lets through: %s", text)
	}
	s.revoke("reader")
	reader.quiet = true
	reader.wait("the end", `document.getElementById('live').innerText !== 'Live: new changes appear here.'`)
}

// TestGroupsInActivity: a group that an identity provider changes is shown as one, in the list and as it happens.
func TestGroupsInActivity(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada","email":"ada@example.com"}`)
	group := func(name string) string {
		status, body := s.send("POST", "/scim/v2/Groups", s.token, "application/scim+json",
			`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"`+name+`","members":[{"value":"`+id+`"}]}`)
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
		return regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(body)[1]
	}
	research := group("Research")
	p := s.person(t).signIn(s.token)
	p.open("activity")
	p.sees("Live: new changes appear here.")
	p.sees("created the group Research by ada")
	sales := group("Sales")
	p.wait("the other group", `document.querySelector('#feed li')?.innerText.includes('created the group Sales by ada')`)
	for _, link := range []string{"a[href$='users?group=" + research + "']", "a[href$='users?group=" + sales + "']"} {
		if eval[int](p, "document.querySelectorAll(`#feed "+link+"`).length") != 1 {
			t.Errorf("no link %s", link)
		}
	}
	for _, name := range []string{"tag:ada", "email:ada@example.com", "ADA", id} { // by whatever name, live as in the list
		p.open("activity?user=" + url.QueryEscape(name))
		p.sees("Live: new changes appear here.")
		p.sees("created ada by ada")
		s.api("PATCH", "users/"+id, `{"name":"Ada `+name+`"}`)
		p.wait("the change", `document.querySelector('#feed li')?.innerText.includes('updated ada')`)
	}
}

// TestKeys issues, rotates, disables and revokes a key, and finds it by its secret.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	s.bothWays(t, func(p *tab, code bool) {
		p.open("users/" + id)
		p.do(`document.querySelector('#keys details').open = true`)
		p.fill("Name of the key", "ci")
		p.follows(button("Issue"))
		p.sees("This is shown only once.")
		secret := p.text("#secret")
		if !strings.HasPrefix(secret, "aik_") {
			p.Fatalf("secret %q", secret)
		}
		p.follows(link("Back to Ada"))
		p.do(`document.querySelector('#keys details').open = true`)
		p.fill("Name of the key", "ci")
		p.follows(button("Issue"))
		p.sees("The key was not changed:")
		p.open("keys")
		p.follows(link("Never used, or not for 90 days")) // a key that was just issued is among them
		p.sees("1 key")
		p.fill("Find by secret", secret)
		p.follows(button("Find whose it is"))
		p.sees("This is the key ci of ada.")
		p.fill("Find by secret", "aik_nonsense")
		p.follows(button("Find whose it is"))
		p.sees("This is not a key of this service")
		p.open("users/" + id)
		p.follows(button("Rotate ci"))
		p.sees("This is shown only once.")
		if again := p.text("#secret"); again == secret || !strings.HasPrefix(again, "aik_") {
			p.Errorf("rotated: %q", again)
		}
		p.follows(link("Back to Ada"))
		p.follows(button("Disable ci"))
		p.sees("The key was disabled.")
		p.open("keys?show=disabled")
		p.sees("1 key")
		p.open("users/" + id)
		p.follows(button("Enable ci"))
		p.follows(button("Revoke ci"))
		if !code {
			p.sees("Revoke the key ci?")
			p.follows(button("Revoke"))
		}
		p.sees("The key was revoked.")
		p.sees("This user has no keys.")
	})
}

// TestCredentials sets, replaces, reveals and removes a secret.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	s.bothWays(t, func(p *tab, code bool) {
		p.open("users/" + id)
		p.fill("Provider", "openai")
		p.fill("Secret", "sk-first-0123456789")
		p.follows(button("Set or replace"))
		p.sees("The credential was stored.")
		p.fill("Provider", "openai")
		p.fill("Secret", "sk-second-0123456789")
		p.follows(button("Set or replace"))
		p.follows(button("Reveal"))
		p.sees("sk-second-0123456789")
		p.open("activity?view=audit&action=credential.revealed")
		p.sees("openai")
		p.open("users/" + id)
		p.follows(button("Remove openai"))
		if !code {
			p.sees("Remove the credential for openai?")
			p.follows(button("Remove"))
		}
		p.sees("The credential was removed.")
		p.fill("Provider", "Open AI")
		p.fill("Secret", "sk-third-0123456789")
		p.follows(button("Set or replace"))
		p.sees("a provider must be")
	})
}

// TestSecretOfSeveralLines: a PEM key is stored and shown as it was pasted, and not legible while it is typed.
func TestSecretOfSeveralLines(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	const pem = "-----BEGIN KEY-----\nQUJD\nRE  VG\n-----END KEY-----"
	s.bothWays(t, func(p *tab, _ bool) {
		p.open("users/" + id)
		p.put("Provider", "gcp")
		p.do(fmt.Sprintf(`%s.focus(); document.execCommand('insertText', false, %q)`, field("Secret"), pem+"\n"))
		if masked := p.eval(`getComputedStyle(document.activeElement).getPropertyValue('-webkit-text-security')`); masked != "disc" {
			p.Errorf("the secret is shown as %s", masked)
		}
		p.follows(button("Set or replace"))
		p.sees("The credential was stored.")
		if got := s.api("GET", "users/"+id+"/credentials/gcp", "")["secret"]; got != pem {
			p.Errorf("stored: %q", got)
		}
		p.follows(button("Reveal"))
		if shown := p.text("#secret"); shown != pem {
			p.Errorf("shown: %q", shown)
		}
		s.api("PATCH", "users/"+id, `{"credentials":{"gcp":null}}`)
	})
}

// TestOperation shows a mount whose new value is refused, and the vault's keys.
func TestOperation(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.create(`{"tag":"ada","name":"Ada","credentials":{"openai":"sk-live-0123456789"}}`)
	p := s.person(t).signIn(s.token)
	s.lay("vault", map[string]string{"k1": "no key", "PRIMARY": "k1"})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		p.open("operation")
		if strings.Contains(p.text("main"), "A newer value is refused") {
			break
		}
	}
	p.sees("must be a 32-byte key")
	p.sees("The service is ready.")
	p.sees("seals new values")
	p.accessible("a refused mount")
}

// TestWithoutItsDatabase: pages and forms say that the database is away, and nothing that they cannot know.
func TestWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	s := start(t, "", func(o *app.Options) { o.Environment.Sink = "http://user:sinkpass@127.0.0.1:1/path?token=planted" })
	id := s.create(`{"tag":"ada","name":"Ada","credentials":{"openai":"sk-live-0123456789"}}`)
	c := s.client(t, s.token)
	if _, body := c.get(pages + "operation"); !strings.Contains(body, "http://127.0.0.1:1/path<") || strings.Contains(body, "sinkpass") || strings.Contains(body, "planted") {
		t.Errorf("the sink is not shown, or more of it: %s", body)
	}
	s.closeDatabase()
	_, body := c.get(pages + "operation")
	for _, told := range []string{"Nothing is sealed", "nothing waits", "0 events", "user=", "sinkpass", "failed to connect"} {
		if strings.Contains(body, told) {
			t.Errorf("it says %q", told)
		}
	}
	if n := strings.Count(body, "the database does not answer") + strings.Count(body, "the database refuses the connection"); n < 4 { // readiness, database, vault, relay
		t.Errorf("it tells %d times why: %s", n, body)
	}
	for path, form := range map[string]url.Values{"operation": {}, "users/bulk/apply": {"action": {"suspend"}, "id": {id}}} {
		if answer, body := c.post(path, form); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", path, answer.StatusCode, answer.Header, body)
		}
	}
}

// TestParkedEvents sends again what the sink had refused: one user's event, then all that are left.
func TestParkedEvents(t *testing.T) {
	t.Parallel()
	var mended atomic.Bool
	accepted := make(chan string, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		accepted <- r.Header.Get("Ce-Subject")
	}))
	t.Cleanup(sink.Close)
	s := start(t, "outbox: {maxAttempts: 1}\n", func(o *app.Options) { o.Environment.Sink = sink.URL })
	ada, grace := s.create(`{"tag":"ada","name":"Ada"}`), s.create(`{"tag":"grace","name":"Grace"}`)
	bob := s.create(`{"tag":"bob","name":"Bob"}`)
	p := s.person(t).signIn(s.token)
	for end := time.Now().Add(patience); time.Now().Before(end) && !strings.Contains(p.text("main"), "3 events"); time.Sleep(100 * time.Millisecond) {
		p.open("operation")
	}
	p.sees("3 events that the sink refused")
	p.sees("400")
	p.accessible("parked events")
	p.shot("operation-parked")

	reader := s.person(t).signIn(s.addTokenNow("reader", auth.UsersRead))
	reader.open("operation")
	if n := eval[int](reader, `document.querySelectorAll('main form').length`); n != 0 {
		t.Errorf("somebody without the right is offered %d forms", n)
	}

	mended.Store(true)
	p.follows(button("Send again " + ada))
	p.sees("2 events that the sink refused")
	if subject := <-accepted; !strings.HasSuffix(subject, ada) {
		t.Errorf("sent again: %s, want %s", subject, ada)
	}
	p.withoutJavaScript()
	p.follows(button("Send all again"))
	p.sees("0 events that the sink refused")
	rest := map[string]bool{<-accepted: true, <-accepted: true}
	if !rest[grace] || !rest[bob] {
		t.Errorf("sent again: %v", rest)
	}
	p.open("activity?view=audit&action=events.resent")
	p.sees("events.resent")
}
