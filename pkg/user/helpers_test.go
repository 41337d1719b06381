package user

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/secret"
)

var (
	someID   = uuid.MustParse("018f0000-0000-7000-8000-000000000001")
	someTime = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	later    = someTime.Add(time.Hour)
)

// stored is a user with a value in every field.
func stored() *User {
	rpm, budget := int64(60), Cents(1250)
	email, external, hint, name := "Ada@Example.com", "okta|1", "wxyz", "ADA@corp"
	return &User{ID: someID, Tag: "ada", Name: "Ada", Email: &email, UserName: &name, Role: Member, Status: Active, ExpiresAt: &later,
		Models: []string{"gpt-5*"}, Limits: Limits{RequestsPerMinute: &rpm, MonthlyBudgetUSD: &budget},
		Credentials: []Credential{{"anthropic", nil, "k1", someTime}, {"openai", &hint, "k1", someTime}},
		Keys:        []Key{{ID: someID, Name: "laptop", Hint: "aik_…wxyz", Status: KeyActive, CreatedAt: someTime, CreatedBy: "dev"}},
		SCIM:        []byte(`{"title":"Dr."}`),
		Metadata:    []byte(`{"org":{"unit":"lab"},"team":"research"}`), ExternalID: &external,
		Version: 7, CreatedAt: someTime, UpdatedAt: someTime, EmailKey: "ada@example.com", UserNameKey: "ada@corp"}
}

// fieldCodes lists an error's problems as "field code", in their order.
func fieldCodes(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	known, ok := errors.AsType[*Error](err)
	if !ok || known.Kind != Invalid {
		t.Fatalf("got %v, want an Invalid error", err)
	}
	var out []string
	for _, p := range known.Problems {
		if p.Message == "" {
			t.Errorf("%s %s has no message", p.Field, p.Code)
		}
		out = append(out, p.Field+" "+p.Code)
	}
	return out
}

func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, fieldCodes(t, err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// parseUpdate fails the test unless body is a sound update.
func parseUpdate(t *testing.T, body string) Update {
	t.Helper()
	u, err := ParseUpdate([]byte(body))
	if err == nil {
		err = u.Validate()
	}
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return u
}

// holding makes Stamp.Same of a user that holds these secrets.
func holding(secrets map[string]string) func(string, secret.Text) bool {
	return func(provider string, plain secret.Text) bool {
		held, ok := secrets[provider]
		return ok && held == plain.Reveal()
	}
}
