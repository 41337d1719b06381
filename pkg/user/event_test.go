package user

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func changedFields(before, after *User) []string {
	var fields []string
	for _, d := range differencesOf(before, after) {
		fields = append(fields, d.Field)
	}
	return fields
}

func TestDifferencesOfACreationAreTheFieldsWithAValue(t *testing.T) {
	t.Parallel()
	bare := &User{Tag: "a", Name: "A", Role: Member, Status: Active, Metadata: emptyObject}
	if diff := cmp.Diff([]string{"tag", "name", "role", "status"}, changedFields(nil, bare)); diff != "" {
		t.Error(diff)
	}
	bare.Models = []string{} // allows none, and so is a value
	if diff := cmp.Diff([]string{"tag", "name", "role", "status", "models"}, changedFields(nil, bare)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(RecordedFields()[:], changedFields(nil, stored())); diff != "" {
		t.Error(diff)
	}
	for _, d := range differencesOf(nil, stored()) {
		if string(d.From) != "null" {
			t.Errorf("%s comes from %s", d.Field, d.From)
		}
	}
}

func TestDifferencesOfAnUpdate(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"externalId":null,"tag":"b"}`: {"tag", "externalId"}, `{"metadata":{"x":1}}`: {"metadata"}, `{"models":null}`: {"models"},
		`{"limits":{"monthlyBudgetUSD":0},"email":"ada@example.com"}`: {"email", "limits"}, `{"credentials":{"openai":"new"}}`: {"credentials"},
	} {
		before := stored()
		after, err := parseUpdate(t, body).Apply(before, Stamp{Now: later})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, changedFields(before, after)); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
		if got := changedFields(after, after); got != nil {
			t.Errorf("%s: differs from itself in %v", body, got)
		}
	}
}

const storedUser = `{"id":"018f0000-0000-7000-8000-000000000001","tag":"ada","name":"Ada \"<L>\"","email":null,"userName":"ADA@corp","role":"member","status":"active","expiresAt":"2026-01-02T04:04:05.000006Z",` +
	`"models":["gpt-5*"],"limits":{"requestsPerMinute":60,"tokensPerMinute":null,"monthlyBudgetUSD":12.5},` +
	`"credentials":[{"provider":"anthropic","hint":null,"keyId":"k1","updatedAt":"2026-01-02T03:04:05.000006Z"},` +
	`{"provider":"openai","hint":"wxyz","keyId":"k1","updatedAt":"2026-01-02T03:04:05.000006Z"}],` +
	`"keys":[{"id":"018f0000-0000-7000-8000-000000000001","name":"laptop","hint":"aik_…wxyz","status":"active","models":null,"expiresAt":null}],` +
	`"metadata":{"org":{"unit":"lab"},"team":"research"},"externalId":"okta|1","version":8,` +
	`"createdAt":"2026-01-02T03:04:05.000006Z","updatedAt":"2026-01-02T04:04:05.000006Z"}`

func TestRecordedGolden(t *testing.T) {
	t.Parallel()
	before := stored()
	after, err := parseUpdate(t, `{"name":"Ada \"<L>\"","email":null}`).Apply(before, Stamp{Now: later})
	if err != nil {
		t.Fatal(err)
	}
	event := Recorded(before, after, Command{Origin: Origin{Actor: "console", Cause: "req-1"}})
	if event.ID.Version() != 7 || event.Type != Updated || event.UserID != someID || event.Version != 8 || !event.At.Equal(later) ||
		event.Actor != "console" || event.Cause != "req-1" {
		t.Errorf("%+v", event)
	}
	if diff := cmp.Diff(`{"user":`+storedUser+`,"changed":["name","email"]}`, string(event.Data)); diff != "" {
		t.Errorf("data: %s", diff)
	}
	if diff := cmp.Diff(`[{"field":"name","from":"Ada","to":"Ada \"<L>\""},{"field":"email","from":"Ada@Example.com","to":null}]`, string(event.Changes)); diff != "" {
		t.Errorf("changes: %s", diff)
	}
	if diff := cmp.Diff(storedUser, string(event.UserJSON())); diff != "" {
		t.Errorf("the user in the data: %s", diff)
	}
	if created := Recorded(nil, after, Command{}); created.Type != Created {
		t.Errorf("a creation is %s", created.Type)
	}
}

func TestRemovedTellsTheIDAndTheTagAlone(t *testing.T) {
	t.Parallel()
	event := Removed(stored(), Command{Origin: Origin{Actor: "a", Cause: "c"}}, later)
	if event.Type != Deleted || event.Version != 8 || !event.At.Equal(later) || event.UserID != someID || string(event.Changes) != "[]" {
		t.Errorf("%+v", event)
	}
	want := `{"user":{"id":"018f0000-0000-7000-8000-000000000001","tag":"ada"},"changed":[]}`
	if string(event.Data) != want || !json.Valid(event.Data) {
		t.Errorf("data %s, want %s", event.Data, want)
	}
}
