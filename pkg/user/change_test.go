package user

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestACreationFillsInWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	create, err := ParseCreate([]byte(`{"tag":"Ada","name":"Ada"}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := create.Apply(0, Stamp{Now: someTime})
	if err != nil || got.ID.Version() != 7 {
		t.Fatalf("%v, %v", got, err)
	}
	want := &User{ID: got.ID, Tag: "ada", Name: "Ada", Role: Member, Status: Active, Metadata: []byte("{}"), SCIM: []byte("{}"),
		Version: 1, CreatedAt: someTime, UpdatedAt: someTime, UserNameKey: "ada"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestUpdatesThatChangeNothing return the very user they were given.
func TestUpdatesThatChangeNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"id":"` + someID.String() + `"}`, `{"tag":"ADA","name":"Ada","email":"Ada@Example.com","role":"member","status":"active"}`,
		`{"models":["gpt-5*"],"externalId":"okta|1"}`, `{"limits":{}}`, `{"limits":{"requestsPerMinute":6e1,"tokensPerMinute":null,"monthlyBudgetUSD":12.50}}`,
		`{"metadata":{}}`, `{"metadata":{"team":"research","org":{"unit":"lab"},"none":null}}`, `{"credentials":{}}`, `{"credentials":{"nobody":null}}`,
		`{"credentials":{"openai":"same"}}`} {
		before := stored()
		after, err := parseUpdate(t, body).Apply(before, Stamp{Now: later, KeyID: "k2", Same: holding(map[string]string{"openai": "same"})})
		if err != nil || after != before {
			t.Errorf("%s changes %v, %v", body, after, err)
		}
	}
}

func TestUpdatesSetWhatTheyCarry(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*User){
		`{"name":"B"}`:                           func(u *User) { u.Name = "B" },
		`{"email":null,"externalId":null}`:       func(u *User) { u.Email, u.EmailKey, u.ExternalID = nil, "", nil },
		`{"models":null}`:                        func(u *User) { u.Models = nil },
		`{"models":[]}`:                          func(u *User) { u.Models = []string{} },
		`{"limits":null}`:                        func(u *User) { u.Limits = Limits{} },
		`{"limits":{"requestsPerMinute":null}}`:  func(u *User) { u.Limits.RequestsPerMinute = nil },
		`{"limits":{"tokensPerMinute":0}}`:       func(u *User) { u.Limits.TokensPerMinute = new(int64) },
		`{"metadata":{"org":{"unit":null}}}`:     func(u *User) { u.Metadata = []byte(`{"org":{},"team":"research"}`) },
		`{"role":"viewer","status":"suspended"}`: func(u *User) { u.Role, u.Status = Viewer, Suspended },
	}
	for body, change := range tests {
		before, want := stored(), stored()
		change(want)
		want.Version, want.UpdatedAt = 8, later
		after, err := parseUpdate(t, body).Apply(before, Stamp{Now: later})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, after); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
		if diff := cmp.Diff(stored(), before); diff != "" {
			t.Errorf("%s wrote into the user before: %s", body, diff)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	hint, fresh := "wxyz", "9abc"
	anthropic, openai := Credential{"anthropic", nil, "k1", someTime}, Credential{"openai", &hint, "k1", someTime}
	tests := []struct {
		body string
		want []Credential
	}{
		{`{"openai":"other-9abc"}`, []Credential{anthropic, {"openai", nil, "k2", later}}},
		{`{"openai":"another-9abc"}`, []Credential{anthropic, {"openai", &fresh, "k2", later}}},
		{`{"openai":"held","azure":"s"}`, []Credential{anthropic, {"azure", nil, "k2", later}, openai}},
		{`{"openai":null}`, []Credential{anthropic}},
		{`{"openai":null,"anthropic":null}`, nil},
		{`{"-":"s","openai":null}`, []Credential{{"-", nil, "k2", later}, anthropic}},
		{`null`, nil},
	}
	for _, test := range tests {
		update := parseUpdate(t, `{"credentials":`+test.body+`}`)
		after, err := update.Apply(stored(), Stamp{Now: later, KeyID: "k2", Same: holding(map[string]string{"openai": "held"})})
		if err != nil || after.Version != 8 {
			t.Fatalf("%s: %v, %v", test.body, after, err)
		}
		if diff := cmp.Diff(test.want, after.Credentials); diff != "" {
			t.Errorf("%s: %s", test.body, diff)
		}
	}
}

func TestCredentialsAreBounded(t *testing.T) {
	t.Parallel()
	body := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"p%d":"s"`, i)
		}
		return `{"credentials":{` + b.String()[1:] + `}}`
	}
	empty := stored()
	empty.Credentials = nil
	full, err := parseUpdate(t, body(100)).Apply(empty, Stamp{Now: later})
	if err != nil || len(full.Credentials) != 100 {
		t.Fatalf("100 credentials: %v", err)
	}
	_, err = parseUpdate(t, body(101)).Apply(empty, Stamp{Now: later})
	wantProblems(t, err, "credentials "+codeSize)
	_, err = parseUpdate(t, `{"credentials":{"one-more":"s"}}`).Apply(full, Stamp{Now: later})
	wantProblems(t, err, "credentials "+codeSize)
	if _, err = parseUpdate(t, `{"credentials":{"one-more":"s","p0":null}}`).Apply(full, Stamp{Now: later}); err != nil {
		t.Error("one in place of another:", err)
	}
}

func TestTheUserNamedMustBeTheOneAddressed(t *testing.T) {
	t.Parallel()
	other := uuid.MustParse("018f0000-0000-7000-8000-000000000002")
	update := parseUpdate(t, `{"id":"`+someID.String()+`"}`)
	_, err := update.Apply(&User{ID: someID}, Stamp{})
	wantProblems(t, err)
	_, err = update.Apply(&User{ID: other}, Stamp{})
	wantProblems(t, err, "id "+codeMismatch)

	create := Create{Patch: Patch{Tag: Some("a"), Name: Some("A")}}
	create.For(someID)
	create.For(someID)
	wantProblems(t, create.Validate())
	if u, err := create.Apply(0, Stamp{Now: someTime}); err != nil || u.ID != someID {
		t.Errorf("%v, %v", u, err)
	}
	create.For(other)
	wantProblems(t, create.Validate(), "id "+codeMismatch)

	remove, ref, err := ParseDelete([]byte(`{"id":"` + someID.String() + `","tag":"ADA"}`))
	if err != nil || ref != (Ref{ID: someID, Tag: "ada"}) {
		t.Fatalf("%v, %v", ref, err)
	}
	remove.For(someID, ref.ID)
	remove.For(other, uuid.Nil)
	wantProblems(t, remove.Validate())
	remove.For(other, ref.ID)
	wantProblems(t, remove.Validate(), "id "+codeMismatch)
}

func TestParseDelete(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{``: nil, `{}`: nil, `{"tag":1}`: {"tag " + codeType}, `{"id":"x"}`: {"id " + notUUID}, `{"name":"A"}`: {"name " + codeUnknown}} {
		remove, _, err := ParseDelete([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		wantProblems(t, remove.Validate(), want...)
	}
	if _, _, err := ParseDelete([]byte(`[]`)); err == nil || KindOf(err) != Malformed {
		t.Errorf("an array: %v", err)
	}
}
