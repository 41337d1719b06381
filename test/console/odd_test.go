package console

import (
	"bytes"
	"fmt"
	"html"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/auth"
)

// pages is what the console is below.
const pages = "/ai/admin/console/"

// post sends a form as a browser does.
func (c *client) post(path string, form url.Values) (*http.Response, string) {
	c.s.Helper()
	request, err := http.NewRequest(http.MethodPost, c.s.url+pages+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.s.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(request)
}

// hidden returns the hidden fields of the last form that is sent to a path.
func hidden(page, action string) url.Values {
	form := page[max(0, strings.LastIndex(page, `action="`+pages+action+`"`)):]
	form, _, _ = strings.Cut(form, "</form>")
	fields := url.Values{}
	for _, match := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		fields.Add(match[1], html.UnescapeString(match[2]))
	}
	return fields
}

// TestOddRequests sends what no page of the console sends by itself.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada","models":["a","b"]}`)
	s.create(`{"tag":"bob","name":"Bob"}`)
	c := s.client(t, s.token)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	many := url.Values{}
	for i := range 100 {
		many.Set(fmt.Sprint("metadata.a", i), "1")
	}
	for path, status := range map[string]int{
		"users?q=%zz": 400, "users?a;b": 400, "users/export?format=csv&q=%zz": 400, "users?q=%ff": 400, "users?q=%C3&q=%A9": 400, "activity?user=%zz": 400, "keys?a=%00": 400,
		"users?q=" + strings.Repeat("x", 17<<10): 400, "users?filter=metadata&value=nothing": 400, "users?metadata.team=": 200, "users?tag=": 200, "users?role=": 303, "users?filter=metadata&value=team=": 303, "users?" + many.Encode(): 200, "users?x=1&" + many.Encode(): 400,
		"signout": 405, "import/stream": 405, "import/failed": 405, "nowhere": 404, "users/export": 200, "users/" + id: 200,
	} {
		answer, body := c.get(pages + path)
		if answer.StatusCode != status || len(body) > 300<<10 {
			t.Errorf("%.60s: %d with %d bytes, want %d", path, answer.StatusCode, len(body), status)
		}
		if status == 405 && answer.Header.Get("Allow") != "POST" {
			t.Errorf("%s allows %q", path, answer.Header.Get("Allow"))
		}
		if path == "users/export" && (!strings.HasPrefix(answer.Header.Get("Content-Type"), "text/csv") || !strings.Contains(body, "ada,")) {
			t.Errorf("the export is %s: %s", answer.Header.Get("Content-Type"), body)
		}
	}
	if answer, _ := c.post("users", nil); answer.StatusCode != 405 || answer.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("a POST of the list: %d, allowed are %q", answer.StatusCode, answer.Header.Get("Allow"))
	}
	if answer, err := c.Head(s.url + pages + "signin"); err != nil || answer.StatusCode != 200 {
		t.Errorf("HEAD of the sign-in: %v %v", answer, err)
	}
	for _, next := range []string{"/ai/admin/console/../users", "/ai/admin/console/%2e%2e/users", "//evil.example/ai/admin/console/", "/ai/admin/console/..\\x"} {
		if answer, _ := c.post("signin", url.Values{"token": {s.token}, "next": {next}}); answer.Header.Get("Location") != pages {
			t.Errorf("%s leads to %s", next, answer.Header.Get("Location"))
		}
	}
	form := url.Values{"version": {"1"}, "tag": {"ada"}, "name": {"A\xff"}, "role": {"member"}, "status": {"active"}}
	if answer, _ := c.post("users/"+id, form); answer.StatusCode != 400 || s.api("GET", "users/"+id, "")["name"] != "Ada" {
		t.Errorf("a name that is no UTF-8: %d", answer.StatusCode)
	}
	form.Set("name", strings.Repeat("x", 201))
	form.Set("email", "?")
	form.Set("metadata", `{"a":1,"a":2}`)
	form.Set("models", strings.Repeat("m\n", 200_000))
	answer, body := c.post("users/"+id, form)
	if answer.StatusCode != 400 || len(body) > 2<<20 {
		t.Errorf("a long form: %d with %d bytes", answer.StatusCode, len(body))
	}
	for _, field := range []string{"name", "email", "metadata", "models"} {
		if !strings.Contains(body, `id="p-`+field+`"`) {
			t.Errorf("nothing is said about %s", field)
		}
	}
}

// TestFormsAreBounded: somebody who is not signed in can send less, and a body of several parts is no form.
func TestFormsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	stranger, c := s.client(t, "aia_wrong"), s.client(t, s.token)
	long := func(bytes int) url.Values {
		return url.Values{"version": {"1"}, "name": {strings.Repeat("x", bytes)}, "metadata": {"{}"}}
	}
	for _, sent := range []struct {
		who    *client
		path   string
		bytes  int
		status int
	}{
		{stranger, "signin", 64<<10 - 100, 401}, {stranger, "signin", 64 << 10, 413}, {stranger, "users/" + id, 1<<20 - 100, 401},
		{stranger, "users/" + id, 1 << 20, 401}, {c, "users/" + id, 3<<20 - 100, 400}, {c, "users/" + id, 3 << 20, 413},
	} {
		answer, body := sent.who.post(sent.path, long(sent.bytes))
		given := strings.Contains(body, "xxxx")
		if answer.StatusCode != sent.status || given != (sent.status != 413 && sent.bytes != 1<<20) {
			t.Errorf("%d bytes to %s: %d, given back: %v, in %d bytes", sent.bytes, sent.path, answer.StatusCode, given, len(body))
		}
	}
	parts := "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + s.token + "\r\n--b--\r\n"
	request, err := http.NewRequest(http.MethodPost, s.url+pages+"signin", strings.NewReader(parts))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	if answer, _ := stranger.do(request); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a form of several parts: %d", answer.StatusCode)
	}
}

// TestImportFieldsComeFirst: what says how a file is meant comes before the file, or nothing is imported.
func TestImportFieldsComeFirst(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := s.client(t, s.token)
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	file, err := parts.CreateFormFile("file", "users.csv")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write([]byte("tag,name\nada,Ada\n"))
	for name, value := range map[string]string{"mode": "delete", "match": "tag", "dryRun": "1"} {
		if err := parts.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, s.url+pages+"import", &form)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", parts.FormDataContentType())
	if answer, body := c.do(request); answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, "must come before the file") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if users := s.api("GET", "users", "")["users"].([]any); len(users) != 0 {
		t.Errorf("%d users were made", len(users))
	}
}

// TestTypedTextIsGivenBack: what a person typed while the session ended or the user was deleted is shown, but no secret.
func TestTypedTextIsGivenBack(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	c := s.client(t, s.addTokenNow("short", auth.Admin))
	large := strings.Repeat("é", 12_800) // as many characters as the models of a user may have
	forms := map[string]url.Values{
		"":             {"version": {"1"}, "name": {"typed <b>text"}, "metadata": {"{}"}, "models": {large}, "was": {large}, "secret": {"sk-planted"}},
		"/keys":        {"once": {"x"}, "name": {"typed <b>text"}, "expiresAt": {"2030-01-31"}, "models": {"gpt-*"}},
		"/credentials": {"provider": {"typed <b>text"}, "secret": {"sk-planted"}},
	}
	gone := func(status int) {
		t.Helper()
		for path, form := range forms {
			answer, body := c.post("users/"+id+path, form)
			if answer.StatusCode != status || !strings.Contains(body, "typed &lt;b&gt;text") || strings.Contains(body, "planted") {
				t.Errorf("%s: %d, want %d: %.2000s", path, answer.StatusCode, status, body)
			}
			for name, values := range form {
				if name != "secret" && name != "version" && name != "once" && !strings.Contains(body, html.EscapeString(values[0])) {
					t.Errorf("%s: the %s is not given back", path, name)
				}
			}
		}
	}
	s.api("DELETE", "users/"+id, "")
	gone(404)
	s.revoke("short")
	for status, end := 200, time.Now().Add(30*time.Second); status != 401 && time.Now().Before(end); {
		answer, _ := c.get(pages + "users")
		status = answer.StatusCode
	}
	gone(401)
	c.Jar = nil // the session's time is up: the browser has no cookie any more
	gone(401)
	if found := s.api("GET", "audit?action=token.refused", "")["audit"].([]any); len(found) == 0 {
		t.Error("that the session's token was refused is not in the audit log")
	}
}

// TestConflictNeedsAChoice: a field that two people changed is not saved before one of them chooses.
func TestConflictNeedsAChoice(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	c := s.client(t, s.token)
	_, page := c.get(pages + "users/" + id)
	form := hidden(page, "users/"+id)
	s.api("PATCH", "users/"+id, `{"name":"Theirs"}`)
	for name, value := range map[string]string{"tag": "ada", "name": "Mine", "role": "member", "status": "active", "allModels": "on", "metadata": "{}"} {
		form.Set(name, value)
	}
	answer, page := c.post("users/"+id, form)
	if answer.StatusCode != 409 {
		t.Fatal(answer.Status)
	}
	form = hidden(page, "users/"+id)
	if answer, _ := c.post("users/"+id, form); answer.StatusCode != 409 || s.api("GET", "users/"+id, "")["name"] != "Theirs" {
		t.Errorf("without a choice: %d", answer.StatusCode)
	}
	_, page = c.post("users/"+id, form)
	if again := hidden(page, "users/"+id); again.Get("both") != "name" {
		t.Error("once refused, the choice is not asked for")
	}
	form.Set("choose.name", "mine")
	if c.post("users/"+id, form); s.api("GET", "users/"+id, "")["name"] != "Mine" {
		t.Error("the choice is not saved")
	}
}

// TestKeysAreMadeOnce: a form that is sent twice shows the same secret, and the former one goes on working.
func TestKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	c := s.client(t, s.token)
	secret := regexp.MustCompile(`aik_[A-Za-z0-9_]+`)
	twice := func(path string, more url.Values) string {
		t.Helper()
		_, page := c.get(pages + "users/" + id)
		form := hidden(page, "users/"+id+path)
		for name, values := range more {
			form[name] = values
		}
		_, one := c.post("users/"+id+path, form)
		_, two := c.post("users/"+id+path, form)
		if secret.FindString(one) == "" || secret.FindString(one) != secret.FindString(two) {
			t.Errorf("%s: %q and %q", path, secret.FindString(one), secret.FindString(two))
		}
		return secret.FindString(one)
	}
	first := twice("/keys", url.Values{"name": {"ci"}})
	key := s.api("GET", "users/"+id+"/keys", "")["keys"].([]any)[0].(map[string]any)["id"].(string)
	second := twice("/keys/"+key+"/rotate", url.Values{"overlap": {"24h"}})
	for _, one := range []string{first, second} {
		if _, page := c.post("keys", url.Values{"secret": {one}}); !strings.Contains(page, "This is the key") {
			t.Errorf("%.12s… is nobody's", one)
		}
	}
	_, page := c.get(pages + "users/" + id)
	if !strings.Contains(page, "old secret until") || !strings.Contains(page, "Last used") {
		t.Error("the page shows no overlap, or no last use")
	}
	form := hidden(page, "users/"+id+"/keys")
	form.Set("name", "short")
	_, shown := c.post("users/"+id+"/keys", form)
	short := s.api("GET", "users/"+id+"/keys", "")["keys"].([]any)[0].(map[string]any)["id"].(string)
	s.api("DELETE", "users/"+id+"/keys/"+short, "")
	if _, again := c.post("users/"+id+"/keys", form); secret.FindString(shown) == "" || strings.Contains(again, secret.FindString(shown)) || !strings.Contains(again, "has been revoked since") {
		t.Error("a form sent again shows the secret of a key that is revoked")
	}
	_, page = c.post("users/"+id+"/keys", url.Values{"name": {"ci"}, "expiresAt": {"2030-01-31"}, "models": {"gpt-*"}})
	for _, kept := range []string{`value="2030-01-31"`, "gpt-*</textarea>", `id="p-k-name"`, `aria-describedby="p-k-name `} {
		if !strings.Contains(page, kept) {
			t.Errorf("after an error, the form lacks %s", kept)
		}
	}
	c.post("users/"+id+"/keys", url.Values{"name": {"last day"}, "expiresAt": {"2030-01-31"}})
	c.post("users/"+id+"/keys", url.Values{"name": {"never"}, "expiresAt": {"9999-12-31"}})
	if got := fmt.Sprint(s.api("GET", "users/"+id+"/keys", "")); !strings.Contains(got, "2030-02-01T00:00:00.000000Z") || !strings.Contains(got, "9999-12-31T23:59:59.000000Z") {
		t.Errorf("a last day of 2030-01-31: %s", got)
	}
}

// TestAppliedIsWhatWasJudged: without JavaScript, the page carries the file byte for byte.
func TestAppliedIsWhatWasJudged(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := s.client(t, s.token)
	file := "tag,name,metadata.note\nada,Ada,\"one\ntwo\"\nbob,B\xff\xfe,\nmax,M\x00x,\n"
	body := "--b\r\nContent-Disposition: form-data; name=\"dryRun\"\r\n\r\ntrue\r\n--b\r\nContent-Disposition: form-data; name=\"mode\"\r\n\r\ncreate\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"match\"\r\n\r\ntag\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"people.csv\"\r\n\r\n" + file + "\r\n--b--\r\n"
	request, err := http.NewRequest(http.MethodPost, s.url+pages+"import", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	answer, page := c.do(request)
	if !answer.Close {
		t.Error("the connection goes on, though a part of the form may be unread")
	}
	failed := hidden(page, "import/failed")
	if _, page = c.post("import", hidden(page, "import")); !strings.Contains(page, "Applied") {
		t.Error(page)
	}
	users := s.api("GET", "users", "")["users"].([]any)
	if len(users) != 1 || users[0].(map[string]any)["metadata"].(map[string]any)["note"] != "one\ntwo" {
		t.Errorf("applied: %v %s", users, page)
	}
	if _, lines := c.post("import/failed", failed); lines != "tag,name,metadata.note\r\nbob,B\xff\xfe,\r\nmax,M\x00x,\r\n" {
		t.Errorf("the failed lines: %q", lines)
	}
}

// TestEnterSaves: Enter in a field of a form does what its main button does.
func TestEnterSaves(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	id := s.create(`{"tag":"ada","name":"Ada"}`)
	s.bothWays(t, func(p *tab, code bool) {
		name := fmt.Sprintf("Ada %t", code)
		p.open("users/" + id)
		p.put("Name", name)
		p.do(field("Name") + ".focus()")
		p.keys("\r")
		p.sees("Saved")
		if got := s.api("GET", "users/"+id, "")["name"]; got != name {
			p.Errorf("the name is %v", got)
		}
		p.open("users/new")
		p.put("Tag", fmt.Sprintf("new%t", code))
		p.put("Name", "New")
		p.do(field("Name") + ".focus()")
		p.keys("\r")
		p.sees("The user was created.")
	})
}
