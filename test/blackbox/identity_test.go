package blackbox

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// twins are two ways to write one value, or two values that only look alike; %s is something of the row's own.
var twins = []struct {
	name, one, other string
	same             bool
}{
	{"Greek capitals", "νίκος%s@example.com", "ΝΊΚΟΣ%s@EXAMPLE.COM", true},
	{"final sigma", "σας%s@example.com", "σασ%s@example.com", true},
	{"sharp s", "groß%s@example.com", "GROSS%s@example.com", true},
	{"composed and decomposed", "é%s@example.com", "e\u0301%s@example.com", true},
	{"a ligature", "ﬁ%s@example.com", "FI%s@example.com", true},
	{"iota subscript", "ᾳ%s@example.com", "ΑΙ%s@example.com", true},
	{"Hangul syllable and jamo", "가%s@example.com", "\u1100\u1161%s@example.com", true},
	{"U-label and A-label", "u@%smünchen.de", "u@xn--%smnchen-3ya.de", false}, // another label, see TestDomains
	{"Turkish dotted capital", "İ%s@example.com", "i%s@example.com", false},
	{"Turkish dotless letter", "ı%s@example.com", "I%s@example.com", false},
	{"an accent", "jose%s@example.com", "josé%s@example.com", false},
	{"full width", "ａ%s@example.com", "a%s@example.com", false},
}

// TestTwins writes one value in two ways, on every way in, and looks for its user by both.
func TestTwins(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, tt := range twins {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			own := newTag()
			s.checkTwins(t, fmt.Sprintf(tt.one, own), fmt.Sprintf(tt.other, own), tt.same)
		})
	}
}

// TestDomains holds that a domain is compared in its A-label form (UTS #46, non-transitional).
func TestDomains(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for i, tt := range []struct {
		one, other string
		same       bool
	}{
		{"münchen.de", "xn--mnchen-3ya.de", true}, {"MÜNCHEN.de", "XN--MNCHEN-3YA.DE", true}, {"straße.de", "xn--strae-oqa.de", true},
		{"mu\u0308nchen.example", "münchen.example", true}, {"faß.example", "fass.example", false}, {"βόλος.com", "ΒΌΛΟΣ.com", false},
	} {
		t.Run(tt.one+" "+tt.other, func(t *testing.T) {
			t.Parallel()
			s.checkTwins(t, fmt.Sprintf("u%d@%s", i, tt.one), fmt.Sprintf("U%d@%s", i, tt.other), tt.same)
		})
	}
}

func (s *service) checkTwins(t *testing.T, one, other string, same bool) {
	t.Helper()
	u := s.create(t, `"email":`+quote(one))
	if *u.Email != one {
		t.Errorf("shown as %q, written as %q", *u.Email, one)
	}
	found := 0
	if same {
		found = 1
	}
	for _, query := range []string{"email", "userName"} {
		if p, _ := s.list(t, url.Values{query: {other}}); len(p.Users) != found {
			t.Errorf("%s=%s finds %d", query, other, len(p.Users))
		}
	}
	for _, kind := range []string{"email:", "userName:"} {
		status := http.StatusNotFound
		if same {
			status = http.StatusOK
		}
		s.do(t, "GET", usersPath+"/"+kind+url.PathEscape(other), "").is(t, status)
	}
	second, third := s.create(t), s.create(t)
	email, userName := fmt.Sprintf(`{"email":%s}`, quote(other)), fmt.Sprintf(`{"userName":%s}`, quote(other))
	event := func(data string) answer {
		return s.do(t, "POST", "/ai/admin/events", data, binaryMode(newTag(), "update", "ce-subject", second.ID)...)
	}
	if !same {
		s.do(t, "PUT", second.path(), email).is(t, http.StatusOK)
		return
	}
	s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"N","email":%s}`, newTag(), quote(other))).fails(t, 409, "DUPLICATE_EMAIL")
	s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"N","userName":%s}`, newTag(), quote(other))).fails(t, 409, "DUPLICATE_USER_NAME")
	s.do(t, "PUT", second.path(), email).fails(t, 409, "DUPLICATE_EMAIL")
	s.do(t, "PATCH", third.path(), userName).fails(t, 409, "DUPLICATE_USER_NAME")
	event(email).fails(t, 422, "DUPLICATE_EMAIL")
	event(userName).fails(t, 422, "DUPLICATE_USER_NAME")
	if a := s.do(t, "PUT", u.path(), email).is(t, http.StatusOK).user(t); *a.Email != other || a.Version != 2 {
		t.Errorf("a user cannot write its own address in another way: %+v", a)
	}
}

// TestSearchForms holds what searches and sorting by name compare.
func TestSearchForms(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, tt := range []struct{ name, finds, misses string }{
		{"Παππάς", "ΠΑΠΠΆΣ παππας ππά", "παπα"}, {"Groß", "GROSS groß ROS", "gros-"}, {"José Ñandú", "jose JOSÉ jose\u0301 ñandu", "josef"},
		{"李小龍", "小龍 李小 李", "龍 龍小"}, {"日本語テスト", "テスト スト 本語 語テ", "語本"}, {"김철수", "철수 김철 김", "수 수철"}, {"İpek", "ipek İPEK i\u0307pek", "ıpek"},
		{"Ａｂｃwide", "abcw", "abcx"}, {"50%_off", "50% %_o", "50x 5%"},
	} {
		u := s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":%s}`, newTag(), quote(tt.name))).is(t, http.StatusCreated).user(t)
		for words, want := range map[string]bool{tt.finds: true, tt.misses: false} {
			for word := range strings.FieldsSeq(words) {
				p, _ := s.list(t, url.Values{"q": {word}, "id": {u.ID}})
				if (len(p.Users) == 1) != want {
					t.Errorf("q=%s finds %s: %v", word, tt.name, !want)
				}
			}
		}
	}
	// Created in another order, by the names as shown.
	want := []string{"abb", "abc", "Äbc", "ABD", "Zoë", "zoea"}
	for i := range want {
		body := fmt.Sprintf(`{"tag":%q,"name":%s,"metadata":{"sorted":true}}`, newTag(), quote(want[(i*5)%len(want)]))
		s.do(t, "POST", usersPath, body).is(t, http.StatusCreated)
	}
	p, _ := s.list(t, url.Values{"metadata.sorted": {"true"}, "sort": {"name"}})
	for i, u := range p.Users {
		if u.Name != want[i] {
			t.Errorf("place %d: %s, want %s", i, u.Name, want[i])
		}
	}
}

// TestNames holds which names are seen, and what is taken off them.
func TestNames(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	body := func(name string) string { return fmt.Sprintf(`{"tag":%q,"name":%s}`, newTag(), quote(name)) }
	for name, want := range map[string]string{" \ta\u2003": "a", "\u0085a\u3000": "a", strings.Repeat(" ", 150) + "a": "a", "a\u200db": "a\u200db",
		"\u0301": "\u0301", "👩\u200d💻": "👩\u200d💻", "می\u200cخواهم": "می\u200cخواهم", strings.Repeat("x", 199) + "\n": strings.Repeat("x", 199)} {
		if got := s.do(t, "POST", usersPath, body(name)).is(t, http.StatusCreated).user(t).Name; got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"", " \u00a0\u3000", "\u200b", "\u2060\u00ad", "\u3164", "\u115f\u1160", "\u200d", "\u200c", "\ufeff", "\u180e", "\u034f", "\U000e0020", "\ufe0f", "\u17b4",
		"\u202etest", "a\u061cb", "a\u200eb", "a\u2066b", "a\u2028b", "a\u2029b", "a\u0085b", "a\nb", "a\u0007", strings.Repeat("x", 201)} {
		s.do(t, "POST", usersPath, body(name)).fails(t, 400, "VALIDATION_ERROR", "name")
		s.do(t, "POST", "/ai/admin/events", body(name), binaryMode(newTag(), "create")...).fails(t, 422, "VALIDATION_ERROR", "name")
	}
}

// TestReferences names a user by each of its unique values on every route of one user.
func TestReferences(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t, `"email":"Ref+x@münchen.de","userName":"Rüf / 100%","externalId":"https://idp.example/./u//1?a=b#c","credentials":{"openai":"planted-openai-1"}`)
	refs := []string{"tag:" + u.Tag, "tag:" + strings.ToUpper(u.Tag), "tag%3A" + u.Tag, "email:Ref+x@m%C3%BCnchen.de", "email:REF%2Bx%40xn--mnchen-3ya.de",
		"userName:" + url.PathEscape("Rüf / 100%"), "userName:" + url.PathEscape("RU\u0308F / 100%"), "externalId:" + url.PathEscape("https://idp.example/./u//1?a=b#c")}
	for _, ref := range refs {
		t.Run(ref, func(t *testing.T) {
			t.Parallel()
			path := usersPath + "/" + ref
			if got := s.do(t, "GET", path, "").is(t, http.StatusOK).user(t); got.ID != u.ID {
				t.Errorf("%s", got.ID)
			}
			s.do(t, "GET", path, "", "If-None-Match", "*").is(t, http.StatusNotModified)
			for _, method := range []string{"PUT", "PATCH"} {
				if got := s.do(t, method, path, `{"status":"active"}`).is(t, http.StatusOK).user(t); got.ID != u.ID {
					t.Errorf("%s %s", method, got.ID)
				}
				s.do(t, method, path, `{"id":"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"}`).fails(t, 400, "VALIDATION_ERROR", "id")
			}
			s.do(t, "DELETE", path, "", "If-Match", `"99"`).fails(t, 412, "PRECONDITION_FAILED")
			s.do(t, "GET", path+"/history?limit=1", "").is(t, http.StatusOK)
			s.do(t, "GET", path+"/keys", "").is(t, http.StatusOK)
			if got := member(t, s.do(t, "GET", path+"/credentials/openai", "").is(t, http.StatusOK), "secret"); got != `"planted-openai-1"` {
				t.Errorf("revealed %s", got)
			}
		})
	}
	t.Run("whoever has the value at the time", func(t *testing.T) {
		t.Parallel()
		first, second := s.create(t), s.create(t)
		path := usersPath + "/tag:" + first.Tag
		s.do(t, "PUT", path, `{"tag":"moved-`+first.Tag+`"}`).is(t, http.StatusOK)
		s.do(t, "PUT", path, `{"name":"N"}`).fails(t, http.StatusNotFound, "NOT_FOUND")
		s.do(t, "PUT", second.path(), fmt.Sprintf(`{"tag":%q}`, first.Tag)).is(t, http.StatusOK)
		s.do(t, "DELETE", path, "").is(t, http.StatusNoContent)
		s.do(t, "GET", second.path(), "").is(t, http.StatusNotFound)
		s.do(t, "GET", path+"/history", "").fails(t, http.StatusNotFound, "NOT_FOUND")
		s.do(t, "GET", second.path()+"/history", "").is(t, http.StatusOK)
	})
}
