package blackbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// binaryMode are the headers of an event in binary mode, with others to add or replace.
func binaryMode(id, kind string, more ...string) []string {
	return append([]string{"ce-specversion", "1.0", "ce-id", id, "ce-source", "/tests", "ce-type", "ai.admin.user." + kind}, more...)
}

func structured(id, kind, data string, more ...string) string {
	extra := ""
	for i := 0; i < len(more); i += 2 {
		extra += fmt.Sprintf(`,%q:%s`, more[i], more[i+1])
	}
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/tests","type":"ai.admin.user.%s","datacontenttype":"application/json","data":%s%s}`, id, kind, data, extra)
}

const structuredType, batchType = "application/cloudevents+json", "application/cloudevents-batch+json"

// TestEventModes sends one life of a user in each mode to each of the two routes.
func TestEventModes(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, path := range []string{"/ai/admin/events", "/"} {
		for _, mode := range []string{"binary", "structured"} {
			t.Run(mode+" "+path, func(t *testing.T) {
				t.Parallel()
				tag := newTag()
				send := func(id, kind, data string, subject ...string) answer {
					if mode == "binary" {
						headers := binaryMode(id, kind)
						for _, u := range subject {
							headers = append(headers, "ce-subject", u)
						}
						return s.do(t, "POST", path, data, headers...)
					}
					var more []string
					for _, u := range subject {
						more = append(more, "subject", quote(u))
					}
					return s.do(t, "POST", path, structured(id, kind, data, more...), "Content-Type", structuredType)
				}
				created := send("c-"+tag, "create", fmt.Sprintf(`{"tag":%q,"name":"N","credentials":{"openai":"planted-openai-1"}}`, tag)).is(t, http.StatusOK)
				checkReply(t, created, "created", 1, "c-"+tag)
				id := created.header.Get("Ce-Subject")
				checkReply(t, send("u-"+tag, "update", `{"status":"suspended"}`, id).is(t, http.StatusOK), "updated", 2, "u-"+tag)
				checkReply(t, send("v-"+tag, "update", fmt.Sprintf(`{"tag":%q,"name":"M"}`, tag)).is(t, http.StatusOK), "updated", 3, "v-"+tag)
				send("w-"+tag, "update", fmt.Sprintf(`{"id":%q,"name":"M"}`, id)).is(t, http.StatusNoContent)
				again := send("c-"+tag, "create", fmt.Sprintf(`{"tag":%q,"name":"N","credentials":{"openai":"planted-openai-1"}}`, tag)).is(t, http.StatusOK)
				if again.header.Get("Ce-Id") != created.header.Get("Ce-Id") || !sameJSON(t, string(again.body), string(created.body)) {
					t.Errorf("a second delivery got another answer:\n%s\n%s", created.body, again.body)
				}
				checkReply(t, send("d-"+tag, "delete", fmt.Sprintf(`{"tag":%q}`, tag)).is(t, http.StatusOK), "deleted", 4, "d-"+tag)
				if got := versions(s.history(t, id)); fmt.Sprint(got) != "[4 3 2 1]" {
					t.Errorf("history: %v", got)
				}
			})
		}
	}
}

// checkReply holds that the answer is the resulting event in binary mode.
func checkReply(t *testing.T, a answer, kind string, version int, cause string) {
	t.Helper()
	for name, want := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "ai.admin.user." + kind, "Ce-Source": "/ai/admin/users",
		"Ce-Sequence": fmt.Sprintf("%020d", version), "Ce-Causationid": cause, "Ce-Partitionkey": a.header.Get("Ce-Subject"), "Content-Type": "application/json"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.header.Get("Ce-Id") == "" || a.header.Get("Ce-Subject") == "" || a.header.Get("Ce-Time") == "" {
		t.Errorf("attributes are missing: %v", a.header)
	}
}

// TestEventRejections holds the statuses that keep Knative from retrying in vain.
func TestEventRejections(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	fresh := func() string { return fmt.Sprintf(`{"tag":%q,"name":"N"}`, newTag()) }
	const structuredMode = structuredType
	tests := []struct {
		name, body string
		headers    []string
		status     int
		code       string // empty: any
	}{
		{"specversion 0.3", fresh(), binaryMode("r1", "create", "ce-specversion", "0.3"), 400, ""},
		{"specversion 9.9", fresh(), binaryMode("r2", "create", "ce-specversion", "9.9"), 400, ""},
		{"no id", fresh(), binaryMode("r3", "create", "ce-id", ""), 400, ""},
		{"no source", fresh(), binaryMode("r4", "create", "ce-source", ""), 400, ""},
		{"no type", fresh(), binaryMode("r5", "create", "ce-type", ""), 400, ""},
		{"bad time", fresh(), binaryMode("r6", "create", "ce-time", "yesterday"), 400, ""},
		{"no event at all", fresh(), nil, 400, ""},
		{"unknown type", fresh(), binaryMode("r7", "nope"), 422, ""},
		{"half of the data", `{"tag":`, binaryMode("r8", "create"), 400, "MALFORMED_BODY"},
		{"duplicate key", `{"name":"a","name":"b"}`, binaryMode("r9", "create"), 400, "MALFORMED_BODY"},
		{"invalid data", `{"tag":"-"}`, binaryMode("r10", "create"), 422, "VALIDATION_ERROR"},
		{"duplicate tag", fmt.Sprintf(`{"tag":%q,"name":"N"}`, u.Tag), binaryMode("r11", "create"), 422, "DUPLICATE_TAG"},
		{"unknown user", `{"name":"N"}`, binaryMode("r12", "update", "ce-subject", nobody[len(usersPath)+1:]), 422, "NOT_FOUND"},
		{"unknown tag", `{"tag":"nobody-has-this","name":"N"}`, binaryMode("r13", "update"), 422, "NOT_FOUND"},
		{"no user named", `{"name":"N"}`, binaryMode("r14", "update"), 422, ""},
		{"subject that is no id", `{"name":"N"}`, binaryMode("r15", "update", "ce-subject", "x"), 422, ""},
		{"failed expectation", `{"name":"N"}`, binaryMode("r16", "update", "ce-subject", u.ID, "ce-expectedversion", "7"), 422, "PRECONDITION_FAILED"},
		{"delete of nobody", `{"tag":"nobody-has-this"}`, binaryMode("r17", "delete"), 422, "NOT_FOUND"},
		{"wrong content type", "<x/>", binaryMode("r18", "create", "Content-Type", "application/xml"), 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"structured: no JSON", `{"specversion":`, []string{"Content-Type", structuredMode}, 400, "MALFORMED_BODY"},
		{"structured: a list", `[]`, []string{"Content-Type", structuredMode}, 400, ""},
		{"structured: numeric id", `{"specversion":"1.0","id":5,"source":"/t","type":"ai.admin.user.create","data":{}}`, []string{"Content-Type", structuredMode}, 400, ""},
		{"structured: data and data_base64", structured("r19", "create", fresh(), "data_base64", `"e30="`), []string{"Content-Type", structuredMode}, 400, ""},
		{"structured: bad base64", `{"specversion":"1.0","id":"r20","source":"/t","type":"ai.admin.user.create","data_base64":"!!"}`, []string{"Content-Type", structuredMode}, 400, ""},
		{"structured: XML", "<event/>", []string{"Content-Type", "application/cloudevents+xml"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"batch: an object", `{}`, []string{"Content-Type", batchType}, 400, ""},
		{"batch: no JSON", `[{`, []string{"Content-Type", batchType}, 400, ""},
		{"two mebibytes", `{"tag":"x","name":"` + strings.Repeat("x", 2<<20) + `"}`, binaryMode("r21", "create"), 413, "BODY_TOO_LARGE"},
		{"nine mebibytes of batch", "[" + strings.Repeat(" ", 9<<20) + "]", []string{"Content-Type", batchType}, 413, "BODY_TOO_LARGE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // a rejection is not claimed: it is judged again
				a := s.do(t, "POST", "/ai/admin/events", tt.body, tt.headers...).is(t, tt.status)
				if p := a.problem(t); tt.code != "" && p.ErrorCode != tt.code || p.Status != tt.status {
					t.Errorf("%s, want %s: %s", p.ErrorCode, tt.code, a.body)
				}
			}
		})
	}
	t.Run("accepted once its cause is mended", func(t *testing.T) {
		t.Parallel()
		taken := s.create(t)
		body := fmt.Sprintf(`{"tag":%q,"name":"N"}`, taken.Tag)
		s.do(t, "POST", "/ai/admin/events", body, binaryMode("mended", "create")...).fails(t, 422, "DUPLICATE_TAG")
		s.do(t, "DELETE", taken.path(), "").is(t, http.StatusNoContent)
		s.do(t, "POST", "/ai/admin/events", body, binaryMode("mended", "create")...).is(t, http.StatusOK)
	})
	t.Run("an event and a request meet the same rules", func(t *testing.T) {
		t.Parallel()
		s.do(t, "POST", "/ai/admin/events", `{"name":"Expected"}`, binaryMode("same-1", "update", "ce-subject", s.create(t).ID, "ce-expectedversion", "1")...).is(t, http.StatusOK)
	})
}

// TestEventBatch judges each event of a batch on its own, in order.
func TestEventBatch(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	batch := func(events ...string) string { return "[" + strings.Join(events, ",") + "]" }
	send := func(t *testing.T, body string) answer {
		t.Helper()
		return s.do(t, "POST", "/ai/admin/events", body, "Content-Type", batchType)
	}
	type result struct {
		ID, Source string
		Status     int
		User       *user
		Problem    *problem
		Replayed   bool
	}
	results := func(t *testing.T, a answer) []result {
		t.Helper()
		var body struct{ Results []result }
		a.is(t, http.StatusOK).decode(t, &body)
		return body.Results
	}
	t.Run("events of one user build on each other", func(t *testing.T) {
		t.Parallel()
		tag := newTag()
		got := results(t, send(t, batch(
			structured("b1", "create", fmt.Sprintf(`{"tag":%q,"name":"N"}`, tag)),
			structured("b2", "update", fmt.Sprintf(`{"tag":%q,"name":"M"}`, tag)),
			structured("b3", "create", `{"tag":"-"}`),
			structured("b4", "update", fmt.Sprintf(`{"tag":%q,"name":"M"}`, tag)),
			structured("b5", "create", fmt.Sprintf(`{"tag":%q,"name":"N"}`, tag)),
			structured("b6", "delete", fmt.Sprintf(`{"tag":%q}`, tag)),
			structured("b7", "update", fmt.Sprintf(`{"tag":%q,"name":"L"}`, tag)))))
		want := []int{200, 200, 422, 204, 422, 200, 422}
		if len(got) != len(want) {
			t.Fatalf("%d results", len(got))
		}
		for i, r := range got {
			if r.Status != want[i] || r.ID != fmt.Sprintf("b%d", i+1) || r.Source != "/tests" || (r.Problem != nil) != (r.Status == 422) {
				t.Errorf("result %d: %+v, want %d", i, r, want[i])
			}
		}
		if got[1].User == nil || got[1].User.Version != 2 {
			t.Errorf("%+v", got[1])
		}
	})
	t.Run("again after the person was erased", func(t *testing.T) {
		t.Parallel()
		tag := newTag()
		events := batch(structured("e1", "create", fmt.Sprintf(`{"tag":%q,"name":"Erased One"}`, tag)), structured("e2", "delete", fmt.Sprintf(`{"tag":%q}`, tag)))
		first := results(t, send(t, events))
		s.waitForgotten(t, *first[0].User, []string{"Erased One", tag})
		for i, r := range results(t, send(t, events)) {
			if r.Status != 200 || r.User == nil || r.User.ID != first[i].User.ID || r.User.Tag != "" {
				t.Errorf("result %d: %+v", i, r)
			}
		}
	})
	t.Run("sizes", func(t *testing.T) {
		t.Parallel()
		if got := results(t, send(t, "[]")); len(got) != 0 {
			t.Errorf("%d results of none", len(got))
		}
		var events []string
		for i := range 1001 {
			events = append(events, structured(fmt.Sprintf("s%d", i), "create", fmt.Sprintf(`{"tag":%q,"name":"N"}`, newTag())))
		}
		for i, r := range results(t, send(t, batch(events[:1000]...))) {
			if r.Status != 200 || r.ID != fmt.Sprintf("s%d", i) {
				t.Fatalf("result %d: %+v", i, r)
			}
		}
		if a := send(t, batch(events...)); a.status != 400 && a.status != 413 && a.status != 422 {
			t.Errorf("1,001 events: %d", a.status)
		}
	})
}

// TestChangeStream reads the feed as server-sent events, breaks off, and goes on from
// Last-Event-ID.
func TestChangeStream(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	seen := map[string]bool{}
	lastID := ""
	for round := range 3 {
		s.do(t, "PUT", u.path(), fmt.Sprintf(`{"name":"Round %d"}`, round)).is(t, http.StatusOK)
		req := s.request(t, "GET", "/ai/admin/changes", "", "Accept", "text/event-stream", "Last-Event-ID", lastID)
		response, err := s.client.Do(req)
		must(t, err)
		if got := response.Header.Get("Content-Type"); response.StatusCode != 200 || !strings.HasPrefix(got, "text/event-stream") {
			t.Fatalf("%d %s", response.StatusCode, got)
		}
		want := 1
		if round == 0 {
			want = 2
		}
		watchdog := time.AfterFunc(20*time.Second, func() { _ = response.Body.Close() })
		lines := bufio.NewScanner(response.Body)
		for got := 0; got < want && lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "id:"); ok {
				lastID = strings.TrimSpace(id)
			}
			data, ok := strings.CutPrefix(lines.Text(), "data:")
			if !ok {
				continue
			}
			var e event
			must(t, json.Unmarshal([]byte(data), &e))
			if seen[e.ID] || e.Subject != u.ID {
				t.Errorf("again, or of nobody: %+v", e)
			}
			seen[e.ID] = true
			got++
		}
		watchdog.Stop()
		_ = response.Body.Close()
	}
	if len(seen) != 4 || lastID == "" {
		t.Errorf("%d events, last id %q", len(seen), lastID)
	}
	s.do(t, "GET", "/ai/admin/changes", "", "Accept", "text/event-stream", "Authorization", "").fails(t, 401, "UNAUTHENTICATED")
	if head := s.do(t, "HEAD", "/ai/admin/changes", "", "Accept", "text/event-stream"); head.status != 200 || head.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD of the stream: %d %q", head.status, head.header.Get("Content-Type"))
	}
	s.do(t, "GET", "/ai/admin/changes", "", "Accept", "text/event-stream", "Last-Event-ID", "garbage").fails(t, 400, "VALIDATION_ERROR")
}

// TestEventSchemas follows the dataschema of an event to a schema that the service serves.
func TestEventSchemas(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, kind := range []string{"created", "updated", "deleted"} {
		a := s.do(t, "GET", "/ai/admin/schemas/user."+kind+".json", "", "Authorization", "").is(t, http.StatusOK)
		if !json.Valid(a.body) {
			t.Errorf("%s", a.body)
		}
	}
	s.do(t, "GET", "/ai/admin/schemas/nope.json", "").fails(t, http.StatusNotFound, "NOT_FOUND")
	s.do(t, "GET", "/ai/admin/schemas/..%2fdoc.go", "").fails(t, http.StatusNotFound, "NOT_FOUND")
}

// TestRepeatedEvents holds that a repetition gets the first answer with a mark, also when its data differ,
// which the log tells once.
func TestRepeatedEvents(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	id := newTag()
	send := func(data string) answer {
		return s.do(t, "POST", "/ai/admin/events", data, binaryMode(id, "create")...).is(t, http.StatusOK)
	}
	first := send(fmt.Sprintf(`{"tag":%q,"name":"First"}`, id))
	if got := first.header.Get("Ce-Replayed"); got != "" {
		t.Errorf("the first delivery is marked: %q", got)
	}
	for _, data := range []string{fmt.Sprintf(`{"tag":%q,"name":"First"}`, id), fmt.Sprintf(`{"tag":%q,"name":"Other"}`, id), fmt.Sprintf(`{"tag":"%s-other","name":"First"}`, id)} {
		again := send(data)
		if again.header.Get("Ce-Replayed") != "true" || again.header.Get("Ce-Id") != first.header.Get("Ce-Id") || string(again.body) != string(first.body) {
			t.Errorf("%s: %v %s", data, again.header, again.body)
		}
	}
	eventually(t, "the log tells twice that data differ", func() bool { // its lines come by a pipe of their own
		told := 0
		for _, entry := range s.logs.lines(t) {
			if entry["id"] == id && entry["source"] == "/tests" {
				told++
			}
		}
		return told == 2
	})
	event := structured(id, "create", fmt.Sprintf(`{"tag":%q,"name":"First"}`, id))
	fresh := structured(id+"-fresh", "create", fmt.Sprintf(`{"tag":"%s-fresh","name":"Fresh"}`, id))
	a := s.do(t, "POST", "/ai/admin/events", "["+strings.Join([]string{event, fresh, fresh}, ",")+"]", "Content-Type", batchType).is(t, http.StatusOK)
	var answer struct{ Results []struct{ Replayed bool } }
	a.decode(t, &answer)
	if got := fmt.Sprint(answer.Results); got != "[{true} {false} {true}]" {
		t.Errorf("replayed in a batch: %s", got)
	}
}

// TestHeadersOfSenders holds that an event is taken as senders write it: a percent sign that starts no escape
// stands for itself, and an extension that is not read is not looked at.
func TestHeadersOfSenders(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, extension := range []string{"50%", "%zz", "%", "%ff", `"open`, "%00"} {
		body := fmt.Sprintf(`{"tag":%q,"name":"N"}`, newTag())
		s.do(t, "POST", "/ai/admin/events", body, binaryMode(newTag(), "create", "ce-progress", extension)...).is(t, http.StatusOK)
	}
	for id, cause := range map[string]string{"50%": "50%25", "%": "%25", "a%2": "a%252", "a%2Fb": "a/b", "100%25": "100%25"} {
		body := fmt.Sprintf(`{"tag":%q,"name":"N"}`, newTag())
		a := s.do(t, "POST", "/ai/admin/events", body, binaryMode(id, "create")...).is(t, http.StatusOK)
		if got := a.header.Get("Ce-Causationid"); got != cause {
			t.Errorf("id %s: causationid %s, want %s", id, got, cause)
		}
	}
}

// TestBatchThatIsNoJSON names the place of what is wrong with a batch, and nothing of its content.
func TestBatchThatIsNoJSON(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t)) // whose log is judged
	for _, credentials := range []string{`{"Sk-Live_planted":nope}`, `{"Sk-Live_planted"`, `{"openai":planted}`, `{"Sk-Live_planted":"\x"}`} {
		body := `[{"specversion":"1.0","id":"1","source":"/t","type":"ai.admin.user.update","data":{"credentials":` + credentials + `}}]`
		s.do(t, "POST", "/ai/admin/events", body, "Content-Type", batchType).fails(t, 400, "MALFORMED_BODY")
	}
}
