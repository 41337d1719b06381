package eventapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/eventapi"
	"aiadmin/pkg/user"
)

type batchAnswer struct {
	Results []struct {
		ID, Source *string
		Status     int
		User       *struct {
			ID, Tag, Name, Status string
			Version               int64
		}
		Problem *struct {
			ErrorCode string
			Details   []any
		}
	}
}

// sendBatch posts events and writes each result in a line.
func (s *service) sendBatch(t testing.TB, events ...string) (batchAnswer, []string) {
	t.Helper()
	got := s.post(t, structured(someEvent), "["+strings.Join(events, ",")+"]")
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	var read batchAnswer
	if err := json.Unmarshal([]byte(got.body), &read); err != nil {
		t.Fatalf("%v in %s", err, got.body)
	}
	lines := make([]string, len(read.Results))
	for i, r := range read.Results {
		lines[i] = fmt.Sprint(known(r.ID), " ", known(r.Source), " ", r.Status)
		if r.User != nil {
			lines[i] += fmt.Sprint(" ", r.User.Tag, " v", r.User.Version)
		}
		if r.Problem != nil {
			lines[i] += " " + r.Problem.ErrorCode
		}
	}
	return read, lines
}

func known(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// TestBatch mixes good events with each kind of bad one.
func TestBatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	const create, update, remove = "ai.admin.user.create", "ai.admin.user.update", "ai.admin.user.delete"
	_, got := s.sendBatch(t,
		envelope(create, "1", ada, nil),
		envelope(update, "2", `{"tag":"ada","status":"suspended"}`, nil),
		envelope(create, "3", ada, nil),
		envelope(create, "4", `{"tag":"bob"}`, nil),
		`{"specversion":"1.0","id":"5","source":"/hr","type":"`+create+`","time":"soon"}`,
		`{"id":"6","id":"7","source":"/hr"}`,
		`7`, `null`, `{}`,
		envelope(create, "8", "{\"tag\":\"\xff\"}", nil),
		envelope(create, "9", `{"tag":"bob","name":"`+strings.Repeat("x", 1<<20)+`"}`, nil),
		envelope(create, "10", `"x"`, map[string]string{"datacontenttype": `"text/plain"`}),
		envelope("ai.admin.user.promote", "11", ada, nil),
		envelope(create, "1", `{"tag":"else","name":"E"}`, nil),
		envelope(update, "12", `{"tag":"ada","name":"Ada"}`, nil),
		envelope(update, "12", `{"tag":"ada","name":"Another"}`, nil),
		envelope(update, "13", `{"tag":"ada","name":"A"}`, map[string]string{"expectedversion": "1"}),
		envelope(update, "14", `{"tag":"ada","name":"A"}`, map[string]string{"expectedversion": `"2"`}),
		envelope(remove, "15", `{"tag":"ada"}`, nil),
		envelope(update, "16", `{"tag":"ada","name":"A"}`, nil),
		envelope(create, "17", ada, map[string]string{"source": `"/crm"`}),
	)
	want := []string{
		"1 /hr 200 ada v1", "2 /hr 200 ada v2", "3 /hr 422 DUPLICATE_TAG", "4 /hr 422 VALIDATION_ERROR", "5 /hr 400 MALFORMED_BODY",
		"null null 400 MALFORMED_BODY", "null null 400 MALFORMED_BODY", "null null 400 MALFORMED_BODY", "null null 400 MALFORMED_BODY",
		"null null 400 MALFORMED_BODY", "null null 413 BODY_TOO_LARGE", "10 /hr 415 UNSUPPORTED_MEDIA_TYPE", "11 /hr 422 VALIDATION_ERROR",
		"1 /hr 200 ada v1", "12 /hr 204", "12 /hr 204", "13 /hr 422 PRECONDITION_FAILED", "14 /hr 200 ada v3", "15 /hr 200 ada v0",
		"16 /hr 422 NOT_FOUND", "17 /crm 200 ada v1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	alone := s.post(t, binary(create, "1", nil), ada)
	if alone.status != http.StatusOK || alone.header.Get("Ce-Sequence") != "00000000000000000001" {
		t.Errorf("an event of a batch sent again alone: %d %v", alone.status, alone.header)
	}
}

// TestBatchTwice sends a batch again after its users were changed: the answer stands.
func TestBatchTwice(t *testing.T) {
	t.Parallel()
	s := start(t)
	events := "[" + envelope("ai.admin.user.create", "1", ada, nil) + "," + envelope("ai.admin.user.update", "2", `{"tag":"ada","role":"viewer"}`, nil) + "," +
		envelope("ai.admin.user.update", "3", `{"tag":"ada","role":"viewer"}`, nil) + "," + envelope("ai.admin.user.delete", "4", `{"tag":"ada"}`, nil) + "]"
	first := s.post(t, structured(someEvent), events)
	want(t, s.post(t, binary("ai.admin.user.create", "5", nil), ada), http.StatusOK, "ai.admin.user.created")
	again := s.post(t, structured(someEvent+"; charset=utf-8"), events)
	if n := strings.Count(again.body, `,"replayed":true}`); n != 4 {
		t.Errorf("%d of 4 results are marked as repeated: %s", n, again.body)
	}
	again.body = strings.ReplaceAll(again.body, `,"replayed":true}`, "}")
	same(t, first, again)
	if u, err := s.db.Get(t.Context(), user.Ref{Tag: "ada"}); err != nil || u.Version != 1 {
		t.Errorf("the second ada is %+v, %v", u, err)
	}
}

func TestEmptyBatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	if got := s.post(t, structured(someEvent), " [ ] "); got.status != http.StatusOK || got.body != `{"results":[]}` {
		t.Errorf("answered %d %s", got.status, got.body)
	}
}

// TestFullBatch makes as many users as a batch may, with ids, secrets and e-mail addresses.
func TestFullBatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	events := make([]string, 1000)
	for i := range events {
		events[i] = envelope("ai.admin.user.create", fmt.Sprint(i),
			fmt.Sprintf(`{"tag":"u%d","name":"User %d","email":"u%d@example.com","credentials":{"openai":"sk-secret-%d"}}`, i, i, i, i), nil)
	}
	read, lines := s.sendBatch(t, events...)
	for i, line := range lines {
		if line != fmt.Sprintf("%d /hr 200 u%d v1", i, i) {
			t.Fatalf("result %d is %s", i, line)
		}
	}
	plain, err := s.admin.Reveal(t.Context(), mustID(t, read.Results[77].User.ID), "openai", user.AuditEntry{})
	if err != nil || plain.Reveal() != "sk-secret-77" {
		t.Errorf("the secret of user 77 is %v, %v", plain, err)
	}
	s.wantUsers(t, 1000)
}

// TestBatchAnswerIsBounded: a batch full of problems is not answered with a multiple of itself.
func TestBatchAnswerIsBounded(t *testing.T) {
	t.Parallel()
	h := eventapi.New(eventapi.Options{Admin: agreeing{t}, Source: "/s", Enter: func(context.Context) (func(), error) { return func() {}, nil }})
	var fields strings.Builder
	for i := range 300 {
		fmt.Fprintf(&fields, `"unknown%d":1,`, i)
	}
	data := "{" + fields.String() + `"name":"N","tag":"tag"}`
	events := make([]string, 1000)
	for i := range events {
		events[i] = envelope("ai.admin.user.create", fmt.Sprint(i), data, nil)
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader("["+strings.Join(events, ",")+"]"))
	r.Header.Set("Content-Type", someEvent)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var read batchAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &read); err != nil || len(read.Results) != len(events) {
		t.Fatalf("%v in %.300s", err, w.Body)
	}
	if size := w.Body.Len(); size > 400_000 { // 64 KiB of details, and a problem for each event
		t.Errorf("an answer of %d bytes", size)
	}
	if first, last := read.Results[0].Problem, read.Results[999].Problem; len(first.Details) != 100 || len(last.Details) != 0 || last.ErrorCode != "VALIDATION_ERROR" {
		t.Errorf("the first problem has %d details, the last %+v", len(first.Details), last)
	}
}
