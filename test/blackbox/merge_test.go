package blackbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestMetadataMerges runs the test vectors of RFC 7396, appendix A, through metadata: those
// of objects as they are, the others as a member.
func TestMetadataMerges(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	tests := []struct{ original, patch, result string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"m":["a","b"]}`, `{"m":["c","d"]}`, `{"m":["c","d"]}`},
		{`{"m":{"a":"b"}}`, `{"m":["c"]}`, `{"m":["c"]}`},
		{`{"m":{"a":"foo"}}`, `{"m":null}`, `{}`},
		{`{"m":{"a":"foo"}}`, `{"m":"bar"}`, `{"m":"bar"}`},
		{`{"m":[1,2]}`, `{"m":{"a":"b","c":null}}`, `{"m":{"a":"b"}}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		// and some of our own
		{`{"a":{"b":1,"c":2},"d":3}`, `{"a":{"b":null,"e":[null]}}`, `{"a":{"c":2,"e":[null]},"d":3}`},
		{`{"a":[1,{"b":null}]}`, `{}`, `{"a":[1,{"b":null}]}`},
		{`{"a":1}`, `{"A":2,"":3}`, `{"a":1,"A":2,"":3}`},
		{`{"a":false,"b":0,"c":""}`, `{"a":{},"b":[],"c":{"d":null}}`, `{"a":{},"b":[],"c":{}}`},
		{`{"a":{"b":{"c":{"d":1}}}}`, `{"a":{"b":{"c":{"d":null}}}}`, `{"a":{"b":{"c":{}}}}`},
	}
	for _, tt := range tests {
		for _, method := range []string{"PUT", "PATCH"} {
			t.Run(tt.original+"+"+tt.patch+" "+method, func(t *testing.T) {
				t.Parallel()
				u := s.create(t, `"metadata":`+tt.original)
				a := s.do(t, method, u.path(), `{"metadata":`+tt.patch+`}`).is(t, http.StatusOK)
				if got := member(t, a, "metadata"); !sameJSON(t, got, tt.result) {
					t.Errorf("got %s, want %s", got, tt.result)
				}
				want := 2
				if sameJSON(t, tt.original, tt.result) {
					want = 1
				}
				if got := a.user(t).Version; got != want {
					t.Errorf("version %d, want %d", got, want)
				}
			})
		}
	}
	t.Run("what a merge makes is bounded", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"metadata":{"a":"`+fmt.Sprintf("%09000d", 0)+`"}`)
		s.do(t, "PUT", u.path(), `{"metadata":{"b":"`+fmt.Sprintf("%09000d", 0)+`"}}`).fails(t, http.StatusBadRequest, "VALIDATION_ERROR", "metadata")
		s.do(t, "PUT", u.path(), `{"metadata":{"a":null,"b":"`+fmt.Sprintf("%09000d", 0)+`"}}`).is(t, http.StatusOK)
	})
}

// TestUpdatesMerge holds what an update leaves alone, field by field.
func TestUpdatesMerge(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	full := func(t *testing.T) user {
		return s.create(t, fmt.Sprintf(`"email":"%s@example.com","role":"viewer","status":"suspended","models":["a","b"],
			"limits":{"requestsPerMinute":1,"tokensPerMinute":2,"monthlyBudgetUSD":3.5},"metadata":{"a":1},"externalId":"e-%[1]s",
			"credentials":{"openai":"planted-openai-0001","mistral":"planted-mistral-0002"}`, newTag()))
	}
	tests := []struct {
		body string
		want map[string]string // all else stays
	}{
		{`{"name":"New"}`, map[string]string{"name": `"New"`}},
		{`{"email":null}`, map[string]string{"email": "null"}},
		{`{"externalId":null}`, map[string]string{"externalId": "null"}},
		{`{"role":"admin"}`, map[string]string{"role": `"admin"`}},
		{`{"status":"active"}`, map[string]string{"status": `"active"`}},
		{`{"models":["c"]}`, map[string]string{"models": `["c"]`}},
		{`{"models":[]}`, map[string]string{"models": `[]`}},
		{`{"models":null}`, map[string]string{"models": "null"}},
		{`{"models":["b","a"]}`, map[string]string{"models": `["b","a"]`}},
		{`{"limits":{"tokensPerMinute":20}}`, map[string]string{"limits": `{"requestsPerMinute":1,"tokensPerMinute":20,"monthlyBudgetUSD":3.5}`}},
		{`{"limits":{"requestsPerMinute":null,"monthlyBudgetUSD":0}}`, map[string]string{"limits": `{"requestsPerMinute":null,"tokensPerMinute":2,"monthlyBudgetUSD":0}`}},
		{`{"metadata":{"b":2}}`, map[string]string{"metadata": `{"a":1,"b":2}`}},
		{`{"name":"New","role":"admin","limits":{"tokensPerMinute":null},"metadata":{"a":null}}`, map[string]string{"name": `"New"`, "role": `"admin"`,
			"limits": `{"requestsPerMinute":1,"tokensPerMinute":null,"monthlyBudgetUSD":3.5}`, "metadata": "{}"}},
		// what changes nothing
		{`{}`, nil}, {`{"role":"viewer"}`, nil}, {`{"models":["a","b"]}`, nil}, {`{"limits":{}}`, nil}, {`{"metadata":{}}`, nil}, {`{"credentials":{}}`, nil},
		{`{"limits":{"monthlyBudgetUSD":3.50}}`, nil}, {`{"metadata":{"a":1,"z":null}}`, nil}, {`{"credentials":{"absent":null}}`, nil},
		{`{"status":"suspended","limits":{"requestsPerMinute":1}}`, nil},
	}
	for _, tt := range tests {
		for _, method := range []string{"PUT", "PATCH"} {
			t.Run(tt.body+" "+method, func(t *testing.T) {
				t.Parallel()
				u := full(t)
				before := s.do(t, "GET", u.path(), "")
				after := s.do(t, method, u.path(), tt.body).is(t, http.StatusOK)
				for _, field := range []string{"id", "tag", "name", "email", "role", "status", "models", "limits", "credentials", "metadata", "externalId", "createdAt"} {
					want, changed := tt.want[field]
					if !changed {
						want = member(t, before, field)
					}
					if got := member(t, after, field); !sameJSON(t, got, want) {
						t.Errorf("%s: %s, want %s", field, got, want)
					}
				}
				s.checkVersion(t, before, after, tt.want != nil)
			})
		}
	}
	t.Run("the user's own tag in capitals", func(t *testing.T) {
		t.Parallel()
		u := s.create(t)
		before := s.do(t, "GET", u.path(), "")
		s.checkVersion(t, before, s.do(t, "PUT", u.path(), fmt.Sprintf(`{"tag":"T%s"}`, u.Tag[1:])).is(t, 200), false)
	})
	t.Run("of a user that is not there", func(t *testing.T) {
		t.Parallel()
		for _, method := range []string{"PUT", "PATCH"} {
			s.do(t, method, usersPath+"/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", `{"name":"N"}`).fails(t, http.StatusNotFound, "NOT_FOUND")
		}
	})
	t.Run("to a new tag", func(t *testing.T) {
		t.Parallel()
		u, tag := s.create(t), newTag()
		if got := s.do(t, "PUT", u.path(), fmt.Sprintf(`{"tag":%q}`, tag)).is(t, http.StatusOK).user(t).Tag; got != tag {
			t.Errorf("tag %s, want %s", got, tag)
		}
		s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"N"}`, u.Tag)).is(t, http.StatusCreated)
	})
}

// checkVersion holds that a change counts, and that a change of nothing leaves no trace.
func (s *service) checkVersion(t *testing.T, before, after answer, changed bool) {
	t.Helper()
	want := 1
	if changed {
		want = 2
	} else if string(before.body) != string(after.body) {
		t.Errorf("nothing changed, but the user did:\n%s\n%s", before.body, after.body)
	}
	u := after.user(t)
	if u.Version != want {
		t.Errorf("version %d, want %d", u.Version, want)
	}
	if changed && u.UpdatedAt <= u.CreatedAt {
		t.Errorf("updated %s, created %s", u.UpdatedAt, u.CreatedAt)
	}
	if got := len(s.history(t, u.ID)); got != want {
		t.Errorf("%d entries of history, want %d", got, want)
	}
	if stored := s.do(t, "GET", u.path(), ""); string(stored.body) != string(after.body) {
		t.Errorf("the answer is not what is stored:\n%s\n%s", after.body, stored.body)
	}
}

// TestNumbersOfMetadata holds that a number written in another way, at whatever depth, is no change.
func TestNumbersOfMetadata(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t, `"metadata":{"a":1,"z":0,"l":[1,{"b":1.5}],"big":12345678901234567890}`)
	for _, same := range []string{`{"a":1.0}`, `{"a":1e0}`, `{"a":10e-1}`, `{"a":0.1E+1}`, `{"z":-0}`, `{"z":0.000}`, `{"z":0e99}`, `{"l":[1.00,{"b":15e-1}]}`, `{"big":1.2345678901234567890e19}`} {
		a := s.do(t, "PATCH", u.path(), `{"metadata":`+same+`}`).is(t, http.StatusOK)
		if got := a.user(t).Version; got != 1 || !strings.Contains(string(a.body), `"metadata":{"a":1,"big":12345678901234567890,"l":[1,{"b":1.5}],"z":0}`) {
			t.Errorf("%s: version %d: %s", same, got, a.body)
		}
	}
	if got := len(s.history(t, u.ID)); got != 1 {
		t.Errorf("%d entries of history", got)
	}
	for i, other := range []string{`{"a":"1"}`, `{"a":1.1}`, `{"big":12345678901234567891}`, `{"z":false}`, `{"l":[1,{"b":1.5},null]}`} {
		if got := s.do(t, "PATCH", u.path(), `{"metadata":`+other+`}`).is(t, http.StatusOK).user(t).Version; got != i+2 {
			t.Errorf("%s: version %d, want %d", other, got, i+2)
		}
	}
}
