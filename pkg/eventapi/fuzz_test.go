package eventapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"aiadmin/pkg/user"
)

// agreeing is a service that carries out whatever is valid, and checks what it is given.
type agreeing struct{ t *testing.T }

func (a agreeing) Apply(_ context.Context, command user.Command) (user.Outcome, error) {
	claim := command.Claim
	if claim == nil || claim.Kind != user.EventClaim || claim.Scope == "" || claim.ID == "" || claim.Digest != nil || command.Cause != claim.ID {
		a.t.Errorf("a command with the claim %+v and the cause %q", claim, command.Cause)
	}
	if strings.ContainsRune(claim.Scope+claim.ID, 0) {
		a.t.Error("a NUL character gets to the database")
	}
	if err := command.Change.Validate(); err != nil {
		return user.Outcome{}, err
	}
	switch change := command.Change.(type) {
	case user.Create:
		if len(change.Tag.Value) == 1 { // stands for one that changes nothing
			return user.Outcome{}, nil
		}
	default:
		if command.User == (user.Ref{}) {
			a.t.Error("a change to nobody")
		}
	}
	id := user.NewID()
	return user.Outcome{Event: &user.Event{ID: id, Type: user.Created, UserID: id, Version: 1, Cause: command.Cause,
		Data: []byte(`{"user":{},"changed":[]}`)}}, nil
}

func (a agreeing) ApplyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	results := make([]user.Result, len(commands))
	for i, command := range commands {
		results[i].Outcome, results[i].Err = a.Apply(ctx, command)
	}
	return results, nil
}

// FuzzRequest gives whole requests to the handler. Whatever is in one, the answer is
// decided (no 5xx, nothing that Knative would retry), and a 2xx is an event, empty, or the
// results of a batch.
func FuzzRequest(f *testing.F) {
	for _, head := range []map[string]string{
		binary("ai.admin.user.create", "1", nil),
		binary("ai.admin.user.update", "%41", map[string]string{"ce-subject": "01936f3e-0000-7000-8000-0000000000aa", "ce-expectedversion": "7"}),
		binary("ai.admin.user.delete", "1", map[string]string{"Content-Type": "-"}),
		binary("ai.admin.user.create", "1", map[string]string{"ce-specversion": "0.3", "ce-schemaurl": "x", "ce-datacontentencoding": "base64"}),
		binary("ai.admin.user.create", `"a\"b"`, map[string]string{"ce-time": "2026-01-31T12:00:00Z", "ce-dataschema": "urn:x", "Content-Type": "a/b+json;charset=utf-8"}),
		structured(oneEvent), structured(someEvent), structured("application/cloudevents"), {},
	} {
		for _, body := range []string{
			"", ada, `{"id":"01936f3e-0000-7000-8000-0000000000aa"}`, `{"tag":"a","tag":"b"}`, "[[[[",
			envelope("ai.admin.user.create", "1", ada, nil),
			envelope("ai.admin.user.create", "1", "", map[string]string{"data_base64": `"e30="`, "specversion": `"0.3"`, "datacontentencoding": "5"}),
			"[" + envelope("ai.admin.user.update", "é", `{"tag":"ada","credentials":{"a":"s"}}`, map[string]string{"expectedversion": "1", "": "1"}) + ",{},7]",
		} {
			f.Add(rawRequest(head, body))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Skip("net/http refuses it")
		}
		recorder, began := httptest.NewRecorder(), time.Now()
		handler(agreeing{t}).ServeHTTP(recorder, request)
		if took := time.Since(began); took > 100*time.Millisecond+time.Duration(len(raw))*20*time.Microsecond {
			t.Errorf("%d bytes took %v", len(raw), took)
		}
		checkDecided(t, recorder.Result())
	})
}

func rawRequest(header map[string]string, body string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST /ai/admin/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", len(body))
	for name, value := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	fmt.Fprintf(&b, "\r\n%s", body)
	return b.Bytes()
}

func checkDecided(t *testing.T, got *http.Response) {
	t.Helper()
	defer func() { _ = got.Body.Close() }()
	var body bytes.Buffer
	_, _ = body.ReadFrom(got.Body)
	switch got.StatusCode {
	case 204:
		if body.Len() > 0 {
			t.Errorf("204 with a body: %s", &body)
		}
	case 400, 413, 415, 422:
		if !json.Valid(body.Bytes()) || got.Header.Get("Ce-Id") != "" {
			t.Errorf("%d with %q", got.StatusCode, &body)
		}
	case 200:
		if bytes.HasPrefix(body.Bytes(), []byte(`{"results":[`)) {
			checkResults(t, body.Bytes())
			return
		}
		got.Body = http.NoBody
		e, err := cehttp.NewEventFromHTTPResponse(got)
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			t.Errorf("200 without a valid event: %v in %v", err, got.Header)
		}
	default:
		t.Errorf("status %d: %s", got.StatusCode, &body)
	}
}

func checkResults(t *testing.T, body []byte) {
	t.Helper()
	var read batchAnswer
	if err := json.Unmarshal(body, &read); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for _, r := range read.Results {
		if r.Status < 200 || r.Status >= 500 || (r.Status >= 400) != (r.Problem != nil) || (r.Status == 200) != (r.User != nil) {
			t.Errorf("a result is %s", body)
		}
	}
}
