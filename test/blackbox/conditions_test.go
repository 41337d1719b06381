package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestIfMatch holds RFC 9110, 13.1.1: strong comparison, lists and *, on every change.
func TestIfMatch(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const holds, fails, garbage = 200, 412, 0
	tests := []struct {
		ifMatch string
		want    int // of a user at version 2
	}{
		{`"2"`, holds}, {`*`, holds}, {`"1", "2"`, holds}, {`"1","2","3"`, holds}, {` "2" `, holds}, {`"x","2"`, holds}, {`W/"1", "2"`, holds},
		{`"1"`, fails}, {`"3"`, fails}, {`"1","3"`, fails}, {`W/"2"`, fails}, {`"x"`, fails}, {`""`, fails}, {`"02"`, fails}, {`"2 "`, fails}, {`"+2"`, fails},
		{`"99999999999999999999999"`, fails},
		{`2`, garbage}, {`"2`, garbage}, {`abc`, garbage}, {`"1" "2"`, garbage}, {`w/"2"`, garbage}, {`'2'`, garbage},
	}
	for _, tt := range tests {
		for _, change := range []struct {
			method, body string
			success      int
		}{{"PUT", `{"name":"New"}`, 200}, {"PATCH", `{"name":"New"}`, 200}, {"PUT", `{}`, 200}, {"DELETE", "", 204}} {
			t.Run(tt.ifMatch+" "+change.method+change.body, func(t *testing.T) {
				t.Parallel()
				u := s.create(t)
				s.do(t, "PUT", u.path(), `{"name":"Second"}`).is(t, http.StatusOK)
				a := s.do(t, change.method, u.path(), change.body, "If-Match", tt.ifMatch)
				switch {
				case tt.want == holds:
					a.is(t, change.success)
					return
				case tt.want == garbage && a.status == http.StatusBadRequest:
					a.fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
				default:
					a.fails(t, http.StatusPreconditionFailed, "PRECONDITION_FAILED")
				}
				if after := s.get(t, u.ID); after.Version != 2 || after.Name != "Second" {
					t.Errorf("the change was made: %+v", after)
				}
			})
		}
	}
	t.Run("several header lines", func(t *testing.T) {
		t.Parallel()
		req := s.request(t, "PUT", s.create(t).path(), `{"name":"New"}`)
		req.Header["If-Match"] = []string{`"7"`, `"1"`}
		s.doRequest(t, req, []byte(`{"name":"New"}`)).is(t, http.StatusOK)
	})
	t.Run("a user that is not there", func(t *testing.T) {
		t.Parallel()
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			body := `{"name":"N"}`
			if method == "DELETE" {
				body = ""
			}
			a := s.do(t, method, usersPath+"/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", body, "If-Match", "*")
			if a.status != 404 && a.status != 412 {
				t.Errorf("%s: %d", method, a.status)
			}
		}
	})
}

// TestIfNoneMatch holds RFC 9110, 13.1.2: weak comparison.
func TestIfNoneMatch(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	for ifNoneMatch, want := range map[string]int{
		`"1"`: 304, `W/"1"`: 304, `*`: 304, `"0", "1"`: 304, `W/"7",W/"1"`: 304,
		`"2"`: 200, `W/"2"`: 200, `"x"`: 200, `""`: 200, `"01"`: 200,
	} {
		a := s.do(t, "GET", u.path(), "", "If-None-Match", ifNoneMatch).is(t, want)
		if got := a.header.Get("ETag"); got != `"1"` {
			t.Errorf("%s: ETag %s", ifNoneMatch, got)
		}
	}
	for _, garbage := range []string{`1`, `"1`, `abc`, `"1" "2"`} {
		if a := s.do(t, "GET", u.path(), "", "If-None-Match", garbage); a.status != 200 && a.status != 400 {
			t.Errorf("%s: %d", garbage, a.status)
		}
	}
	s.do(t, "PUT", u.path(), `{"name":"New"}`).is(t, http.StatusOK)
	s.do(t, "GET", u.path(), "", "If-None-Match", `"1"`).is(t, http.StatusOK)
	s.do(t, "GET", u.path(), "", "If-None-Match", `"2"`).is(t, http.StatusNotModified)
	s.do(t, "GET", usersPath+"/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", "", "If-None-Match", `*`).fails(t, http.StatusNotFound, "NOT_FOUND")
}

// TestIfNoneMatchOfChanges holds RFC 9110, 13.1.2, for changes: 412 where it matches, by the weak comparison.
func TestIfNoneMatchOfChanges(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, tt := range []struct {
		ifNoneMatch string
		matches     bool
	}{
		{`"2"`, true}, {`W/"2"`, true}, {`*`, true}, {`"0", W/"2"`, true}, {`"1","2","3"`, true}, {`, "2",`, true},
		{`"1"`, false}, {`W/"1", "3"`, false}, {`"x"`, false}, {`""`, false}, {`"02"`, false},
	} {
		for _, change := range []struct {
			method, body string
			success      int
		}{{"PUT", `{"name":"New"}`, 200}, {"PATCH", `{"name":"New"}`, 200}, {"PUT", `{}`, 200}, {"DELETE", "", 204}} {
			t.Run(tt.ifNoneMatch+" "+change.method+change.body, func(t *testing.T) {
				t.Parallel()
				u := s.create(t)
				s.do(t, "PUT", u.path(), `{"name":"Second"}`).is(t, http.StatusOK)
				for _, path := range []string{u.path(), usersPath + "/tag:" + u.Tag} {
					a := s.do(t, change.method, path, change.body, "If-None-Match", tt.ifNoneMatch, "If-Match", `"2"`)
					if !tt.matches {
						a.is(t, change.success)
						return
					}
					a.fails(t, http.StatusPreconditionFailed, "PRECONDITION_FAILED")
				}
				if after := s.get(t, u.ID); after.Version != 2 || after.Name != "Second" {
					t.Errorf("the change was made: %+v", after)
				}
			})
		}
	}
}

// TestVersionsGoOn makes a user again and again under its id, alone and within one batch of events: no ETag
// and no sequence of it comes back.
func TestVersionsGoOn(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	s.do(t, "PUT", u.path(), `{"name":"Second"}`).is(t, http.StatusOK)
	s.do(t, "DELETE", u.path(), "").is(t, http.StatusNoContent)
	again := fmt.Sprintf(`{"id":%q,"tag":%q,"name":"Again"}`, u.ID, u.Tag)
	if got := s.do(t, "POST", usersPath, again).is(t, http.StatusCreated).user(t); got.Version != 4 {
		t.Errorf("version %d, want 4", got.Version)
	}
	s.do(t, "PUT", u.path(), `{"name":"Old"}`, "If-Match", `"1"`).fails(t, 412, "PRECONDITION_FAILED")
	id := fmt.Sprintf(`{"id":%q}`, u.ID)
	batch := []string{structured(newTag(), "delete", id), structured(newTag(), "create", again), structured(newTag(), "update", fmt.Sprintf(`{"id":%q,"name":"B"}`, u.ID)),
		structured(newTag(), "delete", id), structured(newTag(), "create", again, "subject", quote(u.ID)), structured(newTag(), "create", again)}
	a := s.do(t, "POST", "/ai/admin/events", "["+strings.Join(batch, ",")+"]", "Content-Type", batchType).is(t, http.StatusOK)
	var answer struct{ Results []struct{ Status int } }
	a.decode(t, &answer)
	if got := fmt.Sprint(answer.Results); got != "[{200} {200} {200} {200} {200} {422}]" {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(versions(s.history(t, u.ID))); got != "[9 8 7 6 5 4 3 2 1]" {
		t.Errorf("versions %s", got)
	}
	var feed struct {
		Changes []struct{ Subject, Sequence string }
	}
	s.do(t, "GET", "/ai/admin/changes?limit=500", "").is(t, http.StatusOK).decode(t, &feed)
	for i, e := range feed.Changes {
		if want := fmt.Sprintf("%020d", i+1); e.Subject != u.ID || e.Sequence != want {
			t.Errorf("sequence %s, want %s", e.Sequence, want)
		}
	}
}
