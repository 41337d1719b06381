package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

type historyEntry struct {
	Version                      int
	Type, At, Actor, CausationID string
	Changed                      []struct {
		Field    string
		From, To json.RawMessage
	}
}

func (e historyEntry) fields() []string {
	var out []string
	for _, c := range e.Changed {
		out = append(out, c.Field)
	}
	return out
}

type page struct {
	Limit        int
	Next         *string
	Total        *int
	TotalIsExact bool
}

// history is all of a user's history, newest first.
func (s *service) history(t testing.TB, id string) []historyEntry {
	t.Helper()
	var out []historyEntry
	path := usersPath + "/" + id + "/history?limit=500"
	for next := path; next != ""; {
		var body struct {
			History []historyEntry
			Page    page
		}
		s.do(t, "GET", next, "").is(t, http.StatusOK).decode(t, &body)
		out = append(out, body.History...)
		next = ""
		if body.Page.Next != nil {
			next = path + "&cursor=" + url.QueryEscape(*body.Page.Next)
		}
	}
	return out
}

func TestHistory(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	t.Run("who changed what, newest first", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"email":"history@example.com"`)
		s.do(t, "PUT", u.path(), `{"name":"Second","status":"suspended"}`, "Authorization", "Bearer "+writeToken, "X-Request-Id", "cause-2").is(t, http.StatusOK)
		s.do(t, "PUT", u.path(), `{"name":"Second"}`).is(t, http.StatusOK) // nothing
		s.do(t, "PATCH", u.path(), `{"credentials":{"openai":"planted-openai-1"},"limits":{"tokensPerMinute":5},"metadata":{"a":{"b":1}}}`, "X-Request-Id", "cause-3").is(t, http.StatusOK)
		s.do(t, "DELETE", u.path(), "", "X-Request-Id", "cause-4").is(t, http.StatusNoContent)
		h := s.history(t, u.ID)
		if len(h) != 4 {
			t.Fatalf("%d entries, want 4: %+v", len(h), h)
		}
		wanted := []struct {
			version            int
			what, actor, cause string
			fields             []string
		}{
			{4, "ai.admin.user.deleted", "name-of-admin", "cause-4", nil},
			{3, "ai.admin.user.updated", "name-of-admin", "cause-3", []string{"credentials", "limits", "metadata"}},
			{2, "ai.admin.user.updated", "name-of-write", "cause-2", []string{"name", "status"}},
			{1, "ai.admin.user.created", "name-of-admin", "", nil},
		}
		for i, want := range wanted {
			e := h[i]
			if e.Version != want.version || e.Type != want.what || e.Actor != want.actor || want.cause != "" && e.CausationID != want.cause {
				t.Errorf("entry %d: %+v, want %+v", i, e, want)
			}
			for _, field := range want.fields {
				if !slices.ContainsFunc(e.fields(), func(f string) bool { return f == field || strings.HasPrefix(f, field+".") }) {
					t.Errorf("entry %d names %v, want %s", i, e.fields(), field)
				}
			}
			if i > 0 && e.At > h[i-1].At {
				t.Errorf("%s is listed after %s", e.At, h[i-1].At)
			}
		}
		change := h[2].Changed[slices.Index(h[2].fields(), "status")]
		if string(change.From) != `"active"` || string(change.To) != `"suspended"` {
			t.Errorf("status went from %s to %s", change.From, change.To)
		}
	})
	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		u := s.create(t)
		for i := range 11 {
			s.do(t, "PUT", u.path(), fmt.Sprintf(`{"name":"Name %d"}`, i)).is(t, http.StatusOK)
		}
		s.checkHistoryPages(t, u)
		path := u.path() + "/history"
		for _, bad := range []string{"?limit=0", "?limit=501", "?limit=x", "?cursor=x", "?foo=1", "?limit=1&limit=2"} {
			if a := s.do(t, "GET", path+bad, ""); a.status != 200 || bad != "?limit=1&limit=2" {
				a.fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
			}
		}
		var page struct{ Page struct{ Next string } }
		s.do(t, "GET", path+"?limit=2", "").is(t, http.StatusOK).decode(t, &page)
		s.do(t, "GET", s.create(t).path()+"/history?cursor="+page.Page.Next, "").fails(t, http.StatusBadRequest, "VALIDATION_ERROR", "cursor")
		s.do(t, "GET", path+"?limit=7&cursor="+page.Page.Next, "").is(t, http.StatusOK)
	})
	t.Run("of nobody", func(t *testing.T) {
		t.Parallel()
		s.do(t, "GET", usersPath+"/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f/history", "").fails(t, http.StatusNotFound, "NOT_FOUND")
	})
	t.Run("forgets the person after deletion", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"email":"forget-me@example.com","externalId":"forget-me-too","metadata":{"secretly":"forget-this"},"role":"viewer"`)
		s.do(t, "PUT", u.path(), `{"name":"Forget Name","email":"forget-me-2@example.com"}`).is(t, http.StatusOK)
		s.do(t, "DELETE", u.path(), "").is(t, http.StatusNoContent)
		s.waitForgotten(t, u, []string{"forget", "Forget", u.Tag})
		h := s.history(t, u.ID)
		if len(h) != 3 || !slices.Contains(h[2].fields(), "role") {
			t.Errorf("more than the person was forgotten: %+v", h)
		}
	})
}

func (s *service) checkHistoryPages(t *testing.T, u user) {
	t.Helper()
	all := s.history(t, u.ID)
	for _, limit := range []int{1, 5, 11, 12, 13} {
		var got []historyEntry
		next := fmt.Sprintf("%s/history?limit=%d", u.path(), limit)
		for next != "" {
			a := s.do(t, "GET", next, "").is(t, http.StatusOK)
			var body struct {
				History []historyEntry
				Page    page
			}
			a.decode(t, &body)
			if len(body.History) > limit || body.Page.Limit != limit {
				t.Fatalf("%d entries, page %+v", len(body.History), body.Page)
			}
			got = append(got, body.History...)
			next = a.linkNext(t, s)
			if (next == "") != (body.Page.Next == nil) {
				t.Errorf("Link %q, next %v", next, body.Page.Next)
			}
		}
		if fmt.Sprint(versions(got)) != fmt.Sprint(versions(all)) || len(all) != 12 {
			t.Errorf("limit %d: %v, want %v", limit, versions(got), versions(all))
		}
	}
}

func versions(h []historyEntry) []int {
	var out []int
	for _, e := range h {
		out = append(out, e.Version)
	}
	return out
}

// waitForgotten waits until neither history nor feed shows any of the words.
func (s *service) waitForgotten(t *testing.T, u user, words []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("none of %q is shown any more", words), func() bool {
		text := string(s.do(t, "GET", u.path()+"/history", "").is(t, http.StatusOK).body)
		for _, e := range s.changesOf(t, u.ID) {
			text += string(e.Data)
		}
		return !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
	})
}
