package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
	for _, code := range []bool{true, false} {
		t.Run(fmt.Sprintf("JavaScript %t", code), func(t *testing.T) {
			p := s.person(t)
			if !code {
				p.withoutJavaScript()
			}
			p.signIn(s.token)
			p.open("import")
			p.run(chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{file}))
			next := p.follows
			if code {
				next = p.press
			}
			next(button("Check the file"))
			p.sees("Checked, nothing is changed yet")
			p.sees("must be a valid email address")
			if lines := p.eval(`[...document.querySelectorAll('tr.failed th')].map(th => th.innerText.trim()).join()`); lines != "3,4" {
				t.Errorf("failed lines: %s", lines)
			}
			if n := len(s.api("GET", "users", "")["users"].([]any)); n != 1 {
				t.Errorf("a dry run made users: %d", n)
			}
			if _, why := axe(); why == "" && code {
				p.accessible("import judged")
			}
			p.shot(fmt.Sprintf("import-judged-%t", code))
			next(button("Apply"))
			p.sees("Applied")
			p.sees("2")
			dir := t.TempDir()
			p.saves(dir)
			if code {
				p.press(link("Download the failed lines"))
			} else {
				p.press(button("Download the failed lines"))
			}
			want := "tag,name,email\r\ntaken,Again,\r\ngrace,\"Grace\",not-an-address\r\n"
			for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				got, err := os.ReadFile(filepath.Join(dir, "failed.csv"))
				if err == nil && strings.TrimSpace(strings.ReplaceAll(string(got), "\r", "")) == strings.TrimSpace(strings.ReplaceAll(want, "\r", "")) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("failed lines: %v %q", err, got)
				}
			}
			s.api("DELETE", "users/tag:ada", "")
			s.api("DELETE", "users/tag:bob", "")
		})
	}
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

// TestKeys issues, rotates, disables and revokes a key, and finds it by its secret.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	for _, code := range []bool{true, false} {
		t.Run(fmt.Sprintf("JavaScript %t", code), func(t *testing.T) {
			p := s.person(t)
			if !code {
				p.withoutJavaScript()
			}
			p.signIn(s.token)
			p.open("users/" + id)
			p.do(`document.querySelector('#keys details').open = true`)
			p.fill("Name of the key", "ci")
			p.follows(button("Issue"))
			p.sees("This is shown only once.")
			secret := p.text("#secret")
			if !strings.HasPrefix(secret, "aik_") {
				t.Fatalf("secret %q", secret)
			}
			p.follows(link("Back to Ada"))
			p.do(`document.querySelector('#keys details').open = true`)
			p.fill("Name of the key", "ci")
			p.follows(button("Issue"))
			p.sees("The key was not changed:")
			p.open("keys")
			p.sees("1 key")
			p.fill("Find by secret", secret)
			p.follows(button("Find whose it is"))
			p.sees("ci")
			p.fill("Find by secret", "aik_nonsense")
			p.follows(button("Find whose it is"))
			p.sees("This is not a key of this service")
			p.open("users/" + id)
			p.follows(button("Rotate ci"))
			p.sees("This is shown only once.")
			if again := p.text("#secret"); again == secret || !strings.HasPrefix(again, "aik_") {
				t.Errorf("rotated: %q", again)
			}
			p.follows(link("Back to Ada"))
			p.follows(button("Disable ci"))
			p.sees("The key was disabled.")
			p.open("keys?show=disabled")
			p.sees("1 key")
			p.open("users/" + id)
			p.follows(button("Enable ci"))
			p.follows(button("Revoke ci"))
			p.sees("The key was revoked.")
			p.sees("This user has no keys.")
		})
	}
}

// TestCredentials sets, replaces, reveals and removes a secret.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	for _, code := range []bool{true, false} {
		p := s.person(t)
		if !code {
			p.withoutJavaScript()
		}
		p.signIn(s.token)
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
		p.sees("The credential was removed.")
		p.fill("Provider", "Open AI")
		p.fill("Secret", "sk-third-0123456789")
		p.follows(button("Set or replace"))
		p.sees("a provider must be")
	}
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
	if _, why := axe(); why == "" {
		p.accessible("a refused mount")
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
	if _, why := axe(); why == "" {
		p.accessible("parked events")
	}
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
