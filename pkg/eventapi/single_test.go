package eventapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/user"
)

// attributes are the ce- headers and the type of the body: what makes the event.
func (a answer) attributes() map[string]string {
	found := map[string]string{"Content-Type": a.header.Get("Content-Type")}
	for name, values := range a.header {
		if strings.HasPrefix(name, "Ce-") {
			found[name] = strings.Join(values, "|")
		}
	}
	return found
}

// same compares two answers in all that a receiver could tell them apart by.
func same(t *testing.T, first, again answer) {
	t.Helper()
	first.header.Del("Ce-Replayed") // one of several that race is the first
	again.header.Del("Ce-Replayed")
	const mark = `,"replayed":true`
	first.body, again.body = strings.ReplaceAll(first.body, mark, ""), strings.ReplaceAll(again.body, mark, "")
	if diff := cmp.Diff(first.attributes(), again.attributes()); first.status != again.status || first.body != again.body || diff != "" {
		t.Errorf("answered again differently: %d %s, then %d %s\n%s", first.status, first.body, again.status, again.body, diff)
	}
}

func want(t *testing.T, got answer, status int, eventType string) {
	t.Helper()
	if got.status != status || got.header.Get("Ce-Type") != eventType {
		t.Fatalf("answered %d %q %s, want %d %q", got.status, got.header.Get("Ce-Type"), got.body, status, eventType)
	}
	if status == http.StatusNoContent && (got.body != "" || len(got.attributes()) != 1) {
		t.Errorf("204 with %v %q", got.attributes(), got.body)
	}
}

// TestReplyIsAnEvent holds that Knative's broker, which parses a reply by the SDK, finds
// in it what happened.
func TestReplyIsAnEvent(t *testing.T) {
	t.Parallel()
	s := start(t)
	got := s.post(t, binary("ai.admin.user.create", "Zo%C3%AB", nil), ada)
	want(t, got, http.StatusOK, "ai.admin.user.created")
	e, err := cehttp.NewEventFromHTTPResponse(&http.Response{Header: got.header, Body: io.NopCloser(strings.NewReader(got.body))})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	u, err := s.db.Get(t.Context(), user.Ref{Tag: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	wantExtensions := map[string]any{"partitionkey": u.ID.String(), "sequence": "00000000000000000001", "causationid": "Zo%C3%AB", "actor": "sender"}
	if diff := cmp.Diff(wantExtensions, e.Extensions()); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	if e.Subject() != u.ID.String() || e.Source() != "/ai/admin/users" || e.DataContentType() != "application/json" {
		t.Errorf("the event is %s", e)
	}
	if wantData := fmt.Sprintf(`{"user":%s,"changed":["tag","name","role","status"]}`, bytes.Replace(u.AppendJSON(nil), []byte(`"groups":[],`), nil, 1)); string(e.Data()) != wantData {
		t.Errorf("data %s, want %s", e.Data(), wantData)
	}
}

// TestOneEffect delivers one event again and again: later, otherwise written, and with the
// user changed meanwhile.
func TestOneEffect(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.post(t, binary("ai.admin.user.create", "1", nil), ada)
	want(t, first, http.StatusOK, "ai.admin.user.created")
	want(t, s.post(t, binary("ai.admin.user.update", "2", nil), `{"tag":"ada","name":"Countess"}`), http.StatusOK, "ai.admin.user.updated")
	again := map[string]answer{
		"just the same":      s.post(t, binary("ai.admin.user.create", "1", nil), ada),
		"structured":         s.post(t, structured(oneEvent), envelope("ai.admin.user.create", "1", ada, nil)),
		"encoded otherwise":  s.post(t, binary("ai.admin.user.create", "%31", nil), ada),
		"another time":       s.post(t, binary("ai.admin.user.create", "1", map[string]string{"ce-time": "2026-01-31T12:00:00Z"}), ada),
		"other data":         s.post(t, binary("ai.admin.user.create", "1", nil), `{"tag":"bob","name":"Bob"}`),
		"invalid data":       s.post(t, binary("ai.admin.user.create", "1", nil), `{"tag":"-"}`),
		"no JSON":            s.post(t, binary("ai.admin.user.create", "1", nil), `{`),
		"another media type": s.post(t, binary("ai.admin.user.create", "1", map[string]string{"Content-Type": "text/plain"}), `x`),
		"another type":       s.post(t, binary("ai.admin.user.delete", "1", nil), `{"tag":"ada"}`),
		"an update":          s.post(t, binary("ai.admin.user.update", "1", nil), `{"tag":"ada","name":"Again"}`),
		"an unknown type":    s.post(t, binary("ai.admin.user.promote", "1", nil), ada),
		"an unknown user":    s.post(t, binary("ai.admin.user.update", "1", map[string]string{"ce-subject": user.NewID().String()}), `{"name":"x"}`),
		"a failing version":  s.post(t, binary("ai.admin.user.update", "1", map[string]string{"ce-expectedversion": "9"}), `{"tag":"ada","name":"x"}`),
	}
	for name, got := range again {
		t.Run(name, func(t *testing.T) {
			if got.header.Get("Ce-Replayed") != "true" {
				t.Errorf("a repetition has no mark: %v", got.header)
			}
			same(t, first, got)
		})
	}
	u, err := s.db.Get(t.Context(), user.Ref{Tag: "ada"})
	if err != nil || u.Version != 2 || u.Name != "Countess" {
		t.Errorf("the user is %+v, %v", u, err)
	}
	other := s.post(t, binary("ai.admin.user.create", "1", map[string]string{"ce-source": "/crm"}), `{"tag":"bob","name":"Bob"}`)
	want(t, other, http.StatusOK, "ai.admin.user.created") // an id is unique within its source only
}

// TestAnswersStand replays an update, a deletion and an event that changed nothing.
func TestAnswersStand(t *testing.T) {
	t.Parallel()
	s := start(t)
	want(t, s.post(t, binary("ai.admin.user.create", "1", nil), ada), http.StatusOK, "ai.admin.user.created")
	send := map[string]func() answer{
		"nothing": func() answer {
			return s.post(t, binary("ai.admin.user.update", "2", nil), `{"tag":"ada","name":"Ada"}`)
		},
		"update": func() answer {
			return s.post(t, binary("ai.admin.user.update", "3", map[string]string{"ce-expectedversion": "1"}), `{"tag":"ada","status":"suspended"}`)
		},
		"delete": func() answer { return s.post(t, binary("ai.admin.user.delete", "4", nil), `{"tag":"ada"}`) },
	}
	first := map[string]answer{}
	for _, step := range []struct {
		name, eventType string
		status          int
	}{{"nothing", "", 204}, {"update", "ai.admin.user.updated", 200}, {"delete", "ai.admin.user.deleted", 200}} {
		first[step.name] = send[step.name]()
		want(t, first[step.name], step.status, step.eventType)
	}
	want(t, s.post(t, binary("ai.admin.user.create", "5", nil), ada), http.StatusOK, "ai.admin.user.created")
	for name, repeat := range send {
		t.Run(name, func(t *testing.T) { same(t, first[name], repeat()) })
	}
	if u, err := s.db.Get(t.Context(), user.Ref{Tag: "ada"}); err != nil || u.Version != 1 {
		t.Errorf("the second ada is %+v, %v", u, err)
	}
}

// TestRacingDeliveries delivers one event many times at once: one effect, one answer, and
// whoever came too early is told to come again.
func TestRacingDeliveries(t *testing.T) {
	t.Parallel()
	s := start(t)
	want(t, s.post(t, binary("ai.admin.user.create", "0", nil), `{"tag":"base","name":"B"}`), http.StatusOK, "ai.admin.user.created")
	for name, send := range map[string]func(n int) answer{
		"create": func(n int) answer {
			return s.post(t, binary("ai.admin.user.create", fmt.Sprint("c", n), nil), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, n))
		},
		"update": func(n int) answer {
			return s.post(t, binary("ai.admin.user.update", fmt.Sprint("u", n), nil), fmt.Sprintf(`{"tag":"base","name":"N%d"}`, n))
		},
		"batch": func(n int) answer {
			got := s.post(t, structured(someEvent), "["+envelope("ai.admin.user.create", fmt.Sprint("b", n), fmt.Sprintf(`{"tag":"b%d","name":"N"}`, n), nil)+"]")
			if strings.Contains(got.body, `"status":409`) {
				got.status = 409
			}
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := range 10 {
				raceOne(t, func() answer { return send(n) })
			}
		})
	}
}

func raceOne(t *testing.T, send func() answer) {
	t.Helper()
	answers := make([]answer, 12)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = send() })
	}
	all.Wait()
	last := send()
	if last.status != http.StatusOK {
		t.Fatalf("after the race: %d %s", last.status, last.body)
	}
	for _, got := range answers {
		if got.status != http.StatusConflict {
			same(t, last, got)
		}
	}
}

// TestRejectedIsNotClaimed mends what an event was rejected for, and sends it again.
func TestRejectedIsNotClaimed(t *testing.T) {
	t.Parallel()
	s := start(t)
	want(t, s.post(t, binary("ai.admin.user.create", "1", nil), ada), http.StatusOK, "ai.admin.user.created")
	for name, row := range map[string]struct {
		code   user.Kind
		send   func() answer
		mend   func() answer
		result string
	}{
		"a taken tag": {user.DuplicateTag,
			func() answer { return s.post(t, binary("ai.admin.user.create", "2", nil), ada) },
			func() answer {
				return s.post(t, binary("ai.admin.user.update", "3", nil), fmt.Sprintf(`{"id":%q,"tag":"other"}`, s.id(t, "ada")))
			},
			"ai.admin.user.created"},
		"an unknown user": {user.NotFound,
			func() answer { return s.post(t, binary("ai.admin.user.update", "4", nil), `{"tag":"new","name":"M"}`) },
			func() answer { return s.post(t, binary("ai.admin.user.create", "5", nil), `{"tag":"new","name":"N"}`) },
			"ai.admin.user.updated"},
		"a failed expectation": {user.PreconditionFailed,
			func() answer {
				return s.post(t, binary("ai.admin.user.delete", "6", map[string]string{"ce-expectedversion": "2"}), `{"tag":"vic"}`)
			},
			func() answer {
				s.post(t, binary("ai.admin.user.create", "7", nil), `{"tag":"vic","name":"N"}`)
				checkProblem(t, s.post(t, binary("ai.admin.user.delete", "6", map[string]string{"ce-expectedversion": "2"}), `{"tag":"vic"}`), 422)
				return s.post(t, binary("ai.admin.user.update", "8", nil), `{"tag":"vic","name":"M"}`)
			},
			"ai.admin.user.deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := row.send()
			checkProblem(t, got, http.StatusUnprocessableEntity)
			if name != "a failed expectation" && got.errorCode() != string(row.code) {
				t.Errorf("rejected with %s", got.errorCode())
			}
			if mended := row.mend(); mended.status != http.StatusOK {
				t.Fatalf("mending it: %d %s", mended.status, mended.body)
			}
			want(t, row.send(), http.StatusOK, row.result)
		})
	}
}

func (s *service) id(t *testing.T, tag string) string {
	t.Helper()
	u, err := s.db.Get(t.Context(), user.Ref{Tag: tag})
	if err != nil {
		t.Fatal(err)
	}
	return u.ID.String()
}

// TestAddressing has a row for each way to name a user.
func TestAddressing(t *testing.T) {
	t.Parallel()
	s := start(t)
	n := 0
	fresh := func() (tag, id string) {
		n++
		tag = fmt.Sprint("u", n)
		id = user.NewID().String()
		want(t, s.post(t, binary("ai.admin.user.create", "make "+tag, map[string]string{"ce-subject": id}), fmt.Sprintf(`{"tag":%q,"name":"N"}`, tag)), 200, "ai.admin.user.created")
		return tag, id
	}
	const updated, deleted = "ai.admin.user.update", "ai.admin.user.delete"
	stranger := user.NewID().String()
	for name, row := range map[string]struct {
		eventType     string
		subject, data func(tag, id string) string
		status        int
	}{
		"update by subject":               {updated, subject, text(`{"name":"M"}`), 200},
		"update by subject, in capitals":  {updated, func(_, id string) string { return strings.ToUpper(id) }, text(`{"name":"M"}`), 200},
		"update by data.id":               {updated, nil, body(`{"id":"%[2]s","name":"M"}`), 200},
		"update by data.tag":              {updated, nil, body(`{"tag":"%[1]s","name":"M"}`), 200},
		"update by data.tag, in capitals": {updated, nil, func(tag, _ string) string { return fmt.Sprintf(`{"tag":%q,"name":"M"}`, strings.ToUpper(tag)) }, 200},
		"rename by data.id":               {updated, nil, body(`{"id":"%[2]s","tag":"renamed-%[1]s"}`), 200},
		"rename by subject":               {updated, subject, body(`{"id":"%[2]s","tag":"renamed-%[1]s"}`), 200},
		"update of another than subject":  {updated, subject, text(`{"id":"` + stranger + `","name":"M"}`), 422},
		"update by a tag as subject":      {updated, func(tag, _ string) string { return tag }, text(`{"name":"M"}`), 422},
		"update of nobody":                {updated, nil, text(`{"name":"M"}`), 422},
		"update of a stranger":            {updated, nil, text(`{"id":"` + stranger + `","name":"M"}`), 422},
		"update by what is no id":         {updated, nil, body(`{"id":"7","tag":"%[1]s","name":"M"}`), 422},
		"delete by subject":               {deleted, subject, nil, 200},
		"delete by subject and data":      {deleted, subject, body(`{"id":"%[2]s","tag":"%[1]s"}`), 200},
		"delete by subject, null data":    {deleted, subject, text(`{}`), 200},
		"delete by data.id":               {deleted, nil, body(`{"id":"%[2]s"}`), 200},
		"delete by data.tag":              {deleted, nil, body(`{"tag":"%[1]s"}`), 200},
		"delete of another than subject":  {deleted, subject, text(`{"id":"` + stranger + `"}`), 422},
		"delete by another's tag":         {deleted, subject, text(`{"tag":"somebody"}`), 422},
		"delete with another field":       {deleted, nil, body(`{"tag":"%[1]s","name":"N"}`), 422},
		"delete of nobody":                {deleted, nil, nil, 422},
		"delete of nobody, empty":         {deleted, nil, text(`{}`), 422},
		"delete by a number":              {deleted, nil, text(`{"id":7}`), 422},
		"delete by what is no subject":    {deleted, func(_, _ string) string { return "7" }, nil, 422},
		"delete by an array":              {deleted, nil, text(`[]`), 400},
	} {
		tag, id := fresh()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := binary(row.eventType, name, nil)
			if row.subject != nil {
				h["ce-subject"] = row.subject(tag, id)
			}
			data := ""
			if row.data != nil {
				data = row.data(tag, id)
			} else {
				delete(h, "Content-Type")
			}
			got := s.post(t, h, data)
			if row.status != 200 {
				checkProblem(t, got, row.status)
				return
			}
			want(t, got, 200, row.eventType+"d")
			if got.header.Get("Ce-Subject") != id {
				t.Errorf("the user addressed is %s, want %s", got.header.Get("Ce-Subject"), id)
			}
		})
	}
}

func subject(_, id string) string { return id }

func text(s string) func(string, string) string { return func(string, string) string { return s } }

func body(format string) func(string, string) string {
	return func(tag, id string) string {
		return strings.NewReplacer("%[1]s", tag, "%[2]s", id).Replace(format)
	}
}

// TestFailures has a row for each kind of failure: what Knative retries, and what it does not.
func TestFailures(t *testing.T) {
	t.Parallel()
	for kind, status := range map[user.Kind]int{
		user.Invalid: 422, user.Malformed: 400, user.Unauthenticated: 401, user.Forbidden: 403, user.NotFound: 422,
		user.DuplicateTag: 422, user.DuplicateEmail: 422, user.DuplicateExternalID: 422, user.DuplicateID: 422,
		user.InProgress: 409, user.PreconditionFailed: 422, user.TooLarge: 413, user.UnsupportedMedia: 415, user.KeyReused: 422,
		user.Unavailable: 503, user.Timeout: 503, user.Internal: 500,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := withAdmin(t, failing{user.Errorf(kind, "for a test")})
			checkProblem(t, s.post(t, binary("ai.admin.user.create", "1", nil), ada), status)
			batch := "[" + envelope("ai.admin.user.create", "1", ada, nil) + "]"
			if got := s.post(t, structured(someEvent), batch); !strings.Contains(got.body, fmt.Sprintf(`"status":%d,"problem"`, status)) {
				t.Errorf("in a batch: %s", got.body)
			}
		})
	}
}

// failing is a service that refuses every command for one reason.
type failing struct{ reason error }

func (f failing) Apply(context.Context, user.Command) (user.Outcome, error) {
	return user.Outcome{}, f.reason
}

func (f failing) ApplyAll(_ context.Context, commands []user.Command) ([]user.Result, error) {
	results := make([]user.Result, len(commands))
	for i := range results {
		results[i].Err = f.reason
	}
	return results, nil
}

// TestDatabaseAway holds that events are sent again, not lost, while the database is away.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := serve(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	checkProblem(t, s.post(t, binary("ai.admin.user.create", "1", nil), ada), 503)
	checkProblem(t, s.post(t, structured(someEvent), "["+envelope("ai.admin.user.create", "1", ada, nil)+"]"), 503)
}

// TestClaimsEnd holds that claims are removed once they are past their time, a few at a
// time, and that an event is judged afresh after that.
func TestClaimsEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 5 {
		want(t, s.post(t, binary("ai.admin.user.create", fmt.Sprint(i), nil), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, i)), 200, "ai.admin.user.created")
	}
	now := time.Now()
	for _, step := range []struct {
		at   time.Time
		want int64
	}{{now, 0}, {now.Add(2 * time.Hour), 3}, {now.Add(2 * time.Hour), 2}, {now.Add(2 * time.Hour), 0}} {
		if n, err := s.db.RemoveExpiredClaims(t.Context(), step.at, 3); err != nil || n != step.want {
			t.Errorf("removed %d claims, %v; want %d", n, err, step.want)
		}
	}
	got := s.post(t, binary("ai.admin.user.create", "0", nil), `{"tag":"u0","name":"N"}`)
	checkProblem(t, got, 422)
	if got.errorCode() != string(user.DuplicateTag) {
		t.Errorf("judged afresh: %s", got.body)
	}
}

// TestHalfABody ends a request in the middle of its body.
func TestHalfABody(t *testing.T) {
	t.Parallel()
	s := start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, io.MultiReader(bytes.NewReader([]byte(`{"tag":`)), brokenReader{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range binary("ai.admin.user.create", "1", nil) {
		request.Header.Set(name, value)
	}
	if response, err := s.Client().Do(request); err == nil {
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("answered %d", response.StatusCode)
		}
	}
	s.wantUsers(t, 0)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
