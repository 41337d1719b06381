package console

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"aiadmin/pkg/app"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/console"
	"aiadmin/pkg/secret"
	"aiadmin/test/authtest"
)

// TestRoles: what a token's scopes do not allow is not shown, and refused when it is asked for.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada","credentials":{"openai":"sk-live-planted-0123456789"}}`)
	for _, role := range []struct {
		name          string
		scopes        []auth.Scope
		sees, refused []string
		hidden        []string
	}{
		{"reader", []auth.Scope{auth.UsersRead}, []string{"users", "users/" + id, "activity", "keys", "operation"},
			[]string{"users/new", "import", "activity?view=audit", "users/" + id + "/delete"}, []string{"New user", "Import", "Suspend", "Delete", "Save", "Reveal", "Audit log"}},
		{"writer", []auth.Scope{auth.UsersRead, auth.UsersWrite}, []string{"users/new", "import", "users/" + id + "/delete"}, []string{"activity?view=audit"}, []string{"Reveal", "Issue a key"}},
		{"officer", []auth.Scope{auth.UsersRead, auth.AuditRead, auth.CredentialsRead}, []string{"activity?view=audit"}, []string{"users/new"}, []string{"Save"}},
		{"auditor", []auth.Scope{auth.AuditRead}, []string{"", "activity?view=audit"}, []string{"users", "activity", "keys", "operation"}, []string{"Users", "Keys", "Changes"}},
		{"sender", []auth.Scope{auth.EventsSend}, nil, []string{"users", "users/" + id, "keys", "operation"}, []string{"Users", "Operation"}},
	} {
		p := s.person(t).signIn(s.addTokenNow(role.name, role.scopes...))
		for _, path := range role.sees {
			p.open(path)
			if heading := p.text("h1"); heading == "Not allowed" {
				t.Errorf("%s may not see %s", role.name, path)
			}
		}
		for _, path := range role.refused {
			p.open(path)
			p.sees("this needs the scope")
		}
		p.open("users/" + id)
		for _, name := range role.hidden {
			if ask[bool](p, "!!("+button(name)+" ?? "+link(name)+")") {
				t.Errorf("%s sees %s", role.name, name)
			}
		}
	}
	if found := s.api("GET", "audit?action=scope.denied&actor=writer", "")["audit"].([]any); len(found) != 1 {
		t.Errorf("what was refused stands in the audit log %d times", len(found))
	}
	p := s.person(t).signIn(s.token)
	p.open("nowhere")
	p.sees("there is no such page")
	if title := p.eval("document.title"); !strings.HasPrefix(title, "Not found") || !ask[bool](p, "!!"+link("Users")) {
		t.Errorf("%q, with a way on: %t", title, ask[bool](p, "!!"+link("Users")))
	}
	for _, form := range []string{"users/bulk", "users/bulk/apply", "users/" + id + "/status", "users/" + id + "/keys"} {
		p.open(form) // the address of an answer to a form, opened again
		p.sees("Ada")
	}
	p.open("users/" + id)
	p.follows(button("Reveal"))
	p.sees("sk-live-planted-0123456789")
	if at := p.location(); strings.Contains(at, "planted") {
		t.Errorf("the secret is in %s", at)
	}
	p.shot("secret-1280")
}

// TestSessionEnds: a revoked token ends every session at its next request.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	token := s.addTokenNow("short", auth.Admin)
	first, second := s.person(t).signIn(token), s.person(t).signIn(token)
	first.sees("There are no users yet.")
	s.revoke("short")
	for _, p := range []*tab{first, second} {
		p.wait("the end of the session", `fetch('users').then(r => { window.was = r.status }), window.was === 401`)
		p.open("users")
		p.sees("Your token is no longer valid")
	}
	first.quiet, second.quiet = true, true
	p := s.person(t)
	s.expire("brief", p)
	p.quiet = true
	p.open("users")
	p.sees("Your token has expired, so you were signed out.")
	p.open("signin")
	p.put("Token", "aia_wrong")
	p.follows(button("Sign in"))
	p.sees("This token is not known.")
}

// expire signs a person in with a token that expires, and waits until it has.
func (s *service) expire(name string, p *tab) {
	s.Helper()
	end := time.Now().Add(8 * time.Second)
	token := s.addToken(name, auth.Admin)
	s.entries[len(s.entries)-1].ExpiresAt = end
	s.layTokens()
	s.know(token)
	p.signIn(token)
	time.Sleep(time.Until(end.Add(time.Second)))
}

// TestForgeries: forms from other origins, framed pages and stolen links change nothing.
func TestForgeries(t *testing.T) {
	t.Parallel()
	once := &console.Once{Code: secret.New("planted-code"), Token: secret.New("")}
	s := start(t, "", func(o *app.Options) { o.SignInOnce = once })
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	send := func(method, path string, headers map[string]string, form url.Values) *http.Response {
		request, err := http.NewRequest(method, s.url+"/ai/admin/console/"+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range headers {
			request.Header.Set(name, value)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return answer
	}
	answer := send("POST", "signin", nil, url.Values{"token": {s.token}})
	session := answer.Header.Get("Set-Cookie")
	if answer.StatusCode != http.StatusSeeOther || !strings.Contains(session, "HttpOnly") || !strings.Contains(session, "SameSite=Strict") || strings.Contains(session, "Secure") {
		t.Errorf("%d %s", answer.StatusCode, session)
	}
	for _, headers := range []map[string]string{{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.example"}} {
		for _, path := range []string{"users/" + id + "/status", "users/" + id, "users/" + id + "/delete", "users/new", "users/bulk", "users/bulk/apply", "signin", "signout", "import", "keys", "operation"} {
			if answer := send("POST", path, headers, url.Values{"status": {"suspended"}, "tag": {"ada"}}); answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %v: %d", path, headers, answer.StatusCode)
			}
		}
	}
	if got := s.api("GET", "users/"+id, ""); got["status"] != "active" {
		t.Error("a forged form changed a user")
	}
	answer = send("GET", "users", nil, nil)
	for name, part := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if got := answer.Header.Get(name); !strings.Contains(got, part) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	for _, tls := range []map[string]string{{"X-Forwarded-Proto": "https"}, {"Forwarded": `for=192.0.2.1;proto=https`}} {
		answer := send("POST", "signin", tls, url.Values{"token": {s.token}})
		if got := answer.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-") || !strings.Contains(got, "Secure") {
			t.Errorf("by TLS: %s", got)
		}
	}
	s.api("PATCH", "users/"+id, `{"credentials":{"openai":"sk-live-planted-0123456789"}}`)
	answer = send("POST", "users/"+id+"/credentials/openai/reveal", nil, nil)
	if leaves := answer.Header.Get("Refresh"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(leaves, "60; url=/ai/admin/console/users/") || answer.Header.Get("Content-Encoding") != "" {
		t.Errorf("a secret: %d, leaves by %q", answer.StatusCode, leaves)
	}
	if answer := send("GET", "users/"+id+"/credentials/openai/reveal", nil, nil); answer.StatusCode == http.StatusOK {
		t.Error("a GET reveals a secret")
	}
	if answer := send("GET", "signin?once=guess", nil, nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a guessed link: %d", answer.StatusCode)
	}
}

// TestLinkSignsInOnce: the link that dev prints signs one person in, and nobody after that.
func TestLinkSignsInOnce(t *testing.T) {
	t.Parallel()
	once := &console.Once{Code: secret.New("code")}
	plain, entry, err := auth.NewToken("dev", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	once.Token = plain
	s := start(t, "", func(o *app.Options) { o.SignInOnce = once })
	s.entries = append(s.entries, entry)
	s.layTokens()
	s.know(plain.Reveal())
	p := s.person(t)
	p.open("signin?once=code")
	p.sees("There are no users yet.")
	if strings.Contains(p.location(), "once") {
		t.Errorf("the code stays in %s", p.location())
	}
	other := s.person(t)
	other.open("signin?once=code")
	other.sees("This link has already been used")
}

// TestLinkOnAnotherSite: a link to a list works from anywhere, though no cookie comes with it.
func TestLinkOnAnotherSite(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.create(`{"tag":"ada","name":"Ada Lovelace"}`)
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<main><a href="`+s.url+`/ai/admin/console/users?q=lovelace">Look</a></main>`)
	}))
	t.Cleanup(chat.Close)
	elsewhere := strings.Replace(chat.URL, "127.0.0.1", "localhost", 1) // another site
	s.bothWays(t, func(p *tab, _ bool) {
		p.run(chromedp.Navigate(elsewhere))
		p.press(link("Look"))
		p.sees("1 user")
	})
	p := s.person(t)
	p.run(chromedp.Navigate(elsewhere))
	p.press(link("Look"))
	p.sees("Token")
}

// TestLinksClaimNothing: a link cannot say that something was done, whether it is followed or typed.
func TestLinksClaimNothing(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := s.client(t, s.token)
	const claim = "The user was deleted."
	for site, shown := range map[string]bool{"": true, "same-origin": true, "none": false, "same-site": false, "cross-site": false} {
		request, err := http.NewRequest(http.MethodGet, s.url+pages+"users?q=ada&done=deleted", nil)
		if err != nil {
			t.Fatal(err)
		}
		if site != "" {
			request.Header.Set("Sec-Fetch-Site", site)
		}
		if _, page := c.do(request); strings.Contains(page, claim) != shown || !strings.Contains(page, "ada") {
			t.Errorf("from %q, it is shown: %t", site, !shown)
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<main><a href="`+s.url+pages+`users?done=deleted">Look</a></main>`)
	}))
	t.Cleanup(elsewhere.Close)
	s.bothWays(t, func(p *tab, _ bool) {
		p.run(chromedp.Navigate(strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)))
		p.press(link("Look"))
		p.sees("There are no users yet.")
		if page := p.text("main"); strings.Contains(page, claim) {
			p.Errorf("a link says: %s", page)
		}
	})
}

// TestSignInByIssuer goes to the issuer and back, by code and PKCE, and refuses what is not its own.
func TestSignInByIssuer(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	s := start(t, `oidc: [{issuer: "`+issuer.URL+`", audience: ai-admin, clientID: console, scopes: [{claim: groups, value: admins, grant: [admin]}]}]`)
	for _, code := range []bool{true, false} {
		issuer.Person(authtest.Claims{"sub": "grace", "groups": []string{"admins"}})
		p := s.person(t)
		if !code {
			p.withoutJavaScript()
		}
		p.open("signin")
		p.press(link("Sign in with " + issuer.URL))
		p.sees("There are no users yet.")
		p.wait("who is signed in", `document.querySelector('.who').innerText.includes('grace')`)
	}
	issuer.Person(authtest.Claims{"sub": "mallory", "nonce": "another"})
	p := s.person(t)
	p.open("signin")
	p.press(link("Sign in with " + issuer.URL))
	p.sees("The sign-in was refused.")
	p.open("signin/callback?state=forged&code=stolen")
	p.sees("This sign-in did not begin in this browser")
}
