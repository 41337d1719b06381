package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"aiadmin/test/openapitest"
)

const usersPath = "/ai/admin/users"

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	call   string // for messages
}

// do sends a request as the administrator, or with the headers given as name, value, …; an
// empty value removes a header. A body has its method's usual type. The answer is held
// against openapi.yaml, and must show no secret unless it is one that was asked for.
func (s *service) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	return s.doRequest(t, s.request(t, method, path, body, headers...), []byte(body))
}

func (s *service) doRequest(t testing.TB, req *http.Request, sent []byte) answer {
	t.Helper()
	call := req.Method + " " + req.URL.RequestURI()
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v\n%s", call, err, s.logs.tail())
	}
	defer func() { _ = resp.Body.Close() }()
	received, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
	openapitest.Validator(t).Check(t, req, sent, resp, received)
	a := answer{resp.StatusCode, resp.Header, received, call}
	if !strings.Contains(call, "/credentials/") || a.status != http.StatusOK {
		a.showsNoSecret(t)
	}
	return a
}

func (s *service) request(t testing.TB, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	switch {
	case body == "":
	case method == http.MethodPatch:
		req.Header.Set("Content-Type", "application/merge-patch+json")
	default:
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	return req
}

func (a answer) showsNoSecret(t testing.TB) {
	t.Helper()
	var headers bytes.Buffer
	_ = a.header.Write(&headers)
	if strings.Contains(string(a.body)+headers.String(), planted) {
		t.Errorf("%s: the answer shows a secret: %s\n%s", a.call, headers.String(), a.body)
	}
	if text := string(a.body); strings.Contains(text, "SQLSTATE") || strings.Contains(text, "pgx") {
		t.Errorf("%s: the answer shows an SQL error: %s", a.call, text)
	}
}

// problem is the body of an error (docs/api.md, Errors).
type problem struct {
	Type, Title, Detail, Instance, RequestID, ErrorCode string
	Status                                              int
	Details                                             []struct{ Field, Code, Message string }
}

func (a answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	a.decode(t, &p)
	return p
}

func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%s → %d: %v: %s", a.call, a.status, err, a.body)
	}
}

// is holds the status.
func (a answer) is(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s → %d, want %d: %.600s", a.call, a.status, status, a.body)
	}
	return a
}

// fails holds the status and the errorCode, and that each field is among the details.
func (a answer) fails(t testing.TB, status int, code string, fields ...string) problem {
	t.Helper()
	a.is(t, status)
	p := a.problem(t)
	if p.ErrorCode != code {
		t.Fatalf("%s → %s, want %s: %.600s", a.call, p.ErrorCode, code, a.body)
	}
	if p.Status != status || p.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("%s: the problem does not agree with its answer: %+v", a.call, p)
	}
	for _, field := range fields {
		if !p.names(field) {
			t.Errorf("%s: no problem names %s: %.600s", a.call, field, a.body)
		}
	}
	return p
}

// names says whether a detail is about the field or a part of it.
func (p problem) names(field string) bool {
	return slices.ContainsFunc(p.Details, func(d struct{ Field, Code, Message string }) bool {
		return d.Field == field || strings.HasPrefix(d.Field, field+".") || strings.HasPrefix(d.Field, field+"[")
	})
}

// user is what clients read.
type user struct {
	ID, Tag, Name, Role, Status string
	Email, ExternalID           *string
	Models                      *[]string
	Limits                      struct{ RequestsPerMinute, TokensPerMinute, MonthlyBudgetUSD *json.Number }
	Credentials                 []credential
	Metadata                    json.RawMessage
	Version                     int
	CreatedAt, UpdatedAt        string
}

type credential struct {
	Provider, KeyID, UpdatedAt string
	Hint                       *string
}

func (a answer) user(t testing.TB) user {
	t.Helper()
	var u user
	a.decode(t, &u)
	if got := a.header.Get("ETag"); got != fmt.Sprintf("%q", fmt.Sprint(u.Version)) {
		t.Errorf("%s: ETag %s of version %d", a.call, got, u.Version)
	}
	return u
}

func (u user) path() string { return usersPath + "/" + u.ID }

var lastTag atomic.Int64

// newTag is a tag that no other test has.
func newTag() string { return fmt.Sprintf("t%d", lastTag.Add(1)) }

// create makes a user with a tag of its own and the members given as JSON text, if any.
func (s *service) create(t testing.TB, members ...string) user {
	t.Helper()
	tag := newTag()
	body := fmt.Sprintf(`{"tag":%q,"name":"User %s"`, tag, tag)
	for _, m := range members {
		body += "," + m
	}
	a := s.do(t, "POST", usersPath, body+"}").is(t, http.StatusCreated)
	u := a.user(t)
	if got := a.header.Get("Location"); got != u.path() {
		t.Errorf("Location %q, want %q", got, u.path())
	}
	return u
}

func (s *service) get(t testing.TB, id string) user {
	t.Helper()
	return s.do(t, "GET", usersPath+"/"+id, "").is(t, http.StatusOK).user(t)
}

func quote(s string) string {
	out, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(out)
}
