package scim

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

const (
	base       = "https://ai.example/scim/v2"
	someID     = "018f0000-0000-7000-8000-000000000001"
	otherID    = "018f0000-0000-7000-8000-000000000002"
	thirdID    = "018f0000-0000-7000-8000-000000000003"
	coreUser   = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`
	coreGroup  = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
	patchOp    = `"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"]`
	enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	ours       = "urn:ietf:params:scim:schemas:extension:ai-admin:2.0:User"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// native is a user that no SCIM client has written.
func native() Profile {
	email := "ada@example.com"
	return Profile{User: &user.User{ID: uuid.MustParse(someID), Tag: "ada", Name: "Ada Lovelace", Email: &email, Role: user.Member,
		Status: user.Active, Metadata: []byte("{}"), Version: 7, CreatedAt: someTime, UpdatedAt: someTime}}
}

// after carries a change out as the write path does.
func after(t *testing.T, p Profile, c Change) Profile {
	t.Helper()
	update := user.Update{Patch: c.Patch}
	if err := update.Validate(); err != nil {
		t.Fatal(err)
	}
	u, err := update.Apply(p.User, user.Stamp{Now: someTime.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return Profile{u}
}

func post(t *testing.T, body string) (Profile, error) {
	t.Helper()
	resource, err := Users.Read([]byte(body))
	if err != nil {
		return Profile{}, err
	}
	c, err := Create(resource, uuid.MustParse(someID))
	if err != nil {
		return Profile{}, err
	}
	create := user.Create{Patch: c.Patch}
	if err := create.Validate(); err != nil {
		return Profile{}, ErrorOf(err)
	}
	u, err := create.Apply(0, user.Stamp{Now: someTime})
	return Profile{u}, err
}

func mustPost(t *testing.T, body string) Profile {
	t.Helper()
	p, err := post(t, body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return p
}

func put(t *testing.T, p Profile, body string) (Profile, error) {
	t.Helper()
	resource, err := Users.Read([]byte(body))
	if err != nil {
		return p, err
	}
	c, err := p.Replace(resource)
	if err != nil {
		return p, err
	}
	return after(t, p, c), nil
}

// operations makes the body of a PATCH.
func operations(ops ...string) string {
	return `{` + patchOp + `,"Operations":[` + strings.Join(ops, ",") + `]}`
}

func patch(t *testing.T, p Profile, body string) (Profile, error) {
	t.Helper()
	request, err := Users.ParsePatch([]byte(body))
	if err != nil {
		return p, err
	}
	c, err := p.Patch(request)
	if err != nil {
		return p, err
	}
	return after(t, p, c), nil
}

func mustPatch(t *testing.T, p Profile, ops ...string) Profile {
	t.Helper()
	patched, err := patch(t, p, operations(ops...))
	if err != nil {
		t.Fatalf("%s: %v", ops, err)
	}
	return patched
}

// wantShown compares the attributes that want, a JSON object, names; null wants one absent.
func wantShown(t *testing.T, p Profile, want string) {
	t.Helper()
	wantMembers(t, p.Resource(base), want)
}

func wantMembers(t *testing.T, resource Object, want string) {
	t.Helper()
	body, err := user.ParseBody([]byte(want))
	if err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	for name, value := range stored(body).(Object) {
		if diff := cmp.Diff(value, resource[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// wantError wants an error of a status and type, with a detail that tells what to do.
func wantError(t *testing.T, err error, status int, kind Type) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != status || e.Type != kind || e.Detail == "" {
		t.Fatalf("got %v, want %d %s", err, status, kind)
	}
}

func wantUnchanged(t *testing.T, before, after Profile) {
	t.Helper()
	if !reflect.DeepEqual(before, after) {
		t.Errorf("changed:\n%s", cmp.Diff(before.Resource(base), after.Resource(base)))
	}
}

func ids(texts ...string) []uuid.UUID {
	var all []uuid.UUID
	for _, text := range texts {
		all = append(all, uuid.MustParse(text))
	}
	return all
}
