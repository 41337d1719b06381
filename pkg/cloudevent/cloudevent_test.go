package cloudevent

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample(t user.EventType) user.Event {
	return user.Event{
		ID:     uuid.MustParse("01936f3e-0000-7000-8000-000000000001"),
		Type:   t,
		UserID: uuid.MustParse("01936f3e-0000-7000-8000-0000000000aa"), Version: 7,
		At:    time.Date(2026, 1, 31, 9, 8, 7, 120_000_000, time.UTC),
		Cause: "hr-77", Actor: "oidc:https://id.example.com#ada", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Data: []byte(`{"user":{"id":"01936f3e-0000-7000-8000-0000000000aa","tag":"ada"},"changed":[]}`),
	}
}

// golden holds a wire format: what consumers parse changes only when a file here does.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestWireFormats(t *testing.T) {
	t.Parallel()
	for kind, name := range map[user.EventType]string{user.Created: "created", user.Updated: "updated", user.Deleted: "deleted", user.GroupUpdated: "groupupdated"} {
		e := sample(kind)
		golden(t, name+".json", AppendJSON(nil, e, "/ai/admin/users"))
		h := http.Header{}
		SetHeader(h, e, "/ai/admin/users")
		var lines bytes.Buffer
		for _, key := range slices.Sorted(maps.Keys(h)) {
			lines.WriteString(key + ": " + strings.Join(h[key], " | ") + "\n")
		}
		golden(t, name+".header", lines.Bytes())
	}
}

// TestReadersAgree holds that the SDK, which most consumers use, reads the same event from
// every form, and finds it valid.
func TestReadersAgree(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"/ai/admin/users", "https://iam.example.com/users"} {
		e := sample(user.Updated)
		want := sdkEvent(e, source)
		if err := want.Validate(); err != nil {
			t.Fatalf("the SDK finds the event invalid: %v", err)
		}
		var fromJSON event.Event
		if err := fromJSON.UnmarshalJSON(AppendJSON(nil, e, source)); err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		SetHeader(h, e, source)
		fromHeader, err := binding.ToEvent(context.Background(), cehttp.NewMessage(h, io.NopCloser(bytes.NewReader(e.Data))))
		if err != nil {
			t.Fatal(err)
		}
		for form, got := range map[string]event.Event{"JSON": fromJSON, "headers": *fromHeader} {
			if diff := cmp.Diff(want.String(), got.String()); diff != "" {
				t.Errorf("%s, source %s (-SDK +ours):\n%s", form, source, diff)
			}
		}
	}
}

// sdkEvent is the event as a user of the SDK would make it.
func sdkEvent(e user.Event, source string) event.Event {
	out := event.New()
	out.SetID(e.ID.String())
	out.SetSource(source)
	out.SetType(string(e.Type))
	out.SetSubject(e.UserID.String())
	out.SetTime(e.At)
	out.SetDataContentType("application/json")
	out.SetDataSchema(schemaURI(source, e.Type))
	out.SetExtension("partitionkey", e.UserID.String())
	out.SetExtension("sequence", "00000000000000000007")
	out.SetExtension("causationid", e.Cause)
	out.SetExtension("actor", e.Actor)
	out.SetExtension("traceparent", e.TraceParent)
	out.DataEncoded = e.Data
	return out
}

func TestSchemaURI(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"/ai/admin/users":               "ai-admin:/ai/admin/schemas/user.created.json",
		"urn:example:users":             "ai-admin:/ai/admin/schemas/user.created.json",
		"%zz":                           "ai-admin:/ai/admin/schemas/user.created.json",
		"https://iam.example.com/users": "https://iam.example.com/ai/admin/schemas/user.created.json",
	} {
		if got := schemaURI(source, user.Created); got != want {
			t.Errorf("source %q: dataschema %q, want %q", source, got, want)
		}
	}
}

func TestEncodeHeader(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"plain-id/1":   "plain-id/1",
		"Euro € 😀":     "Euro%20%E2%82%AC%20%F0%9F%98%80", // the specification's own example
		`50% "off"`:    "50%25%20%22off%22",
		"a\r\nX-Evil:": "a%0D%0AX-Evil:",
		"~\x7f":        "~%7F",
	} {
		if got := encodeHeader(value); got != want {
			t.Errorf("encodeHeader(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestNoCauseNoAttribute(t *testing.T) {
	t.Parallel()
	e := sample(user.Created)
	e.Cause = ""
	if got := string(AppendJSON(nil, e, "/s")); strings.Contains(got, CausationID) {
		t.Errorf("an event without a cause has an empty attribute: %s", got)
	}
}

func TestEverySchemaIsServed(t *testing.T) {
	t.Parallel()
	for _, kind := range []user.EventType{user.Created, user.Updated, user.Deleted, user.GroupCreated, user.GroupUpdated, user.GroupDeleted} {
		name := strings.TrimPrefix(schemaURI("", kind), "ai-admin:"+schemaPath)
		if _, ok := Schema(name); !ok {
			t.Errorf("the schema %q of %s is not there", name, kind)
		}
	}
	if _, ok := Schema("../doc.go"); ok {
		t.Error("a path out of the folder is served")
	}
}

// TestSchemasHaveEveryField holds the event schemas against the table of fields.
func TestSchemasHaveEveryField(t *testing.T) {
	t.Parallel()
	var shown struct {
		Properties map[string]any
		Required   []string
	}
	text, _ := Schema("user.json")
	if err := json.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(user.EventFields())), slices.Sorted(maps.Keys(shown.Properties))); diff != "" {
		t.Errorf("user.json (-fields +schema):\n%s", diff)
	}
	for _, name := range user.PersonalFields() {
		if slices.Contains(shown.Required, name) {
			t.Errorf("user.json requires %s, which is erased", name)
		}
	}
	for _, name := range []string{"user.created.json", "user.updated.json"} {
		text, _ := Schema(name)
		for _, field := range user.RecordedFields() {
			if !bytes.Contains(text, []byte(`"`+field+`"`)) {
				t.Errorf("%s does not list %s", name, field)
			}
		}
	}
}
