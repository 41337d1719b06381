package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// refused says whether err is one that a client's bytes may be refused with; any other fails.
func refused(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Detail == "" || len(e.Detail) > 4<<10 || e.Status != 413 && (e.Status != 400 || e.Type == "") {
		t.Fatalf("%v", err)
	}
	return true
}

// holdTime runs work and fails when it takes longer than its size in bytes allows. What took too
// long is tried again: another process may have had the processor.
func holdTime(t *testing.T, size int, work func()) {
	t.Helper()
	allowed := 20*time.Millisecond + time.Duration(size)*10*time.Microsecond
	var took time.Duration
	for range 3 {
		start := time.Now()
		work()
		if took = time.Since(start); took <= allowed {
			return
		}
	}
	t.Fatalf("%d bytes took %s", size, took)
}

func FuzzFilter(f *testing.F) {
	for _, seed := range filters {
		f.Add(seed.filter)
	}
	for _, seed := range badFilters {
		f.Add(seed)
	}
	resource := managed().Resource(base)
	f.Fuzz(func(t *testing.T, text string) {
		holdTime(t, len(text), func() {
			for _, of := range ResourceTypes {
				filter, err := of.ParseFilter(text)
				if refused(t, err) {
					if err.(*Error).Type != InvalidFilter {
						t.Fatal(err)
					}
					continue
				}
				if describe(filter) == "" || Matches(filter, resource) == Matches(Not{filter}, resource) {
					t.Fatal(describe(filter))
				}
			}
		})
	})
}

func FuzzPatchPath(f *testing.F) {
	for _, seed := range paths {
		f.Add(seed.path)
	}
	for _, seed := range badFilters {
		f.Add("emails[" + seed + "].value")
	}
	f.Fuzz(func(t *testing.T, text string) {
		holdTime(t, len(text), func() {
			path, err := Users.parsePath(text)
			if refused(t, err) || path.AttributePath == (AttributePath{}) {
				return
			}
			again, err := Users.parsePath(path.String())
			if err != nil || again.AttributePath != path.AttributePath {
				t.Fatalf("%s: %v", path, err)
			}
			if path.Filter != nil {
				_ = describe(path.Filter)
			}
		})
	})
}

// checkSound holds what is true of every user that a request leads to, and puts it back: that
// must change nothing.
func checkSound(t *testing.T, p Profile) {
	t.Helper()
	resource := p.Resource(base)
	encoded := resource.Append(nil)
	if !json.Valid(encoded) {
		t.Fatalf("%s", encoded)
	}
	if len(p.SCIM) > maxKeptBytes || len(listOf(resource["emails"])) > 20 || resource.text("userName") == "" {
		t.Fatalf("%s", encoded)
	}
	for _, a := range userSchema.Attributes {
		primaries := 0
		for _, element := range listOf(resource[a.Name]) {
			if isPrimary(element) {
				primaries++
			}
		}
		if primaries > 1 || len(listOf(resource[a.Name])) > 100 {
			t.Fatalf("%d primary: %s", primaries, encoded)
		}
	}
	back, err := Users.Read(encoded)
	if err != nil {
		t.Fatalf("%v: %s", err, encoded)
	}
	c, err := p.Replace(back)
	if err != nil || !c.Empty() {
		t.Fatalf("put back, it changes %+v, %v: %s", c, err, encoded)
	}
}

func FuzzPatch(f *testing.F) {
	for _, seed := range patchHabits {
		f.Add([]byte(seed.body))
	}
	for _, seed := range groupHabits {
		if len(seed.body) < 10_000 {
			f.Add([]byte(seed.body))
		}
	}
	email := "ada@example.com"
	before := Profile{User: &user.User{ID: uuid.MustParse(someID), Tag: "ada", Name: "Ada Lovelace", Email: &email, Role: user.Member, Status: user.Active,
		Models: []string{"gpt-5*"}, Metadata: []byte("{}"), Version: 1, CreatedAt: someTime, UpdatedAt: someTime,
		SCIM: []byte(`{"title":"Dr","emails":[{"value":"ada@example.com","type":"work"},{"value":"h@b.ca","type":"home","primary":false}],"` + enterprise + `":{"manager":{"value":"m"}}}`)}}
	shown := string(before.Resource(base).Append(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		holdTime(t, len(body), func() {
			change, err := PatchGroup(before.ID, body)
			if !refused(t, err) {
				checkDelta(t, change)
			}
			request, err := Users.ParsePatch(body)
			if refused(t, err) {
				return
			}
			c, err := before.Patch(request)
			if shown != string(before.Resource(base).Append(nil)) {
				t.Fatal("the user itself was changed")
			}
			if refused(t, err) || (user.Update{Patch: c.Patch}).Validate() != nil {
				return
			}
			u, err := user.Update{Patch: c.Patch}.Apply(before.User, user.Stamp{Now: someTime})
			if err != nil {
				t.Fatal(err)
			}
			checkSound(t, Profile{u})
		})
	})
}

func checkDelta(t *testing.T, c user.GroupPatch) {
	t.Helper()
	seen := map[uuid.UUID]bool{}
	for _, id := range append(c.Added[:len(c.Added):len(c.Added)], c.Removed...) {
		if seen[id] || id == uuid.Nil {
			t.Fatalf("%s twice, or nobody: %+v", id, c)
		}
		seen[id] = true
	}
	if c.ReplaceAll && c.Removed != nil || len(seen) > maxMembers || c.DisplayName.Set && c.DisplayName.Value == "" {
		t.Fatalf("%+v", c)
	}
}

func FuzzResource(f *testing.F) {
	for _, seed := range postHabits {
		f.Add([]byte(seed.body))
	}
	f.Add([]byte(`{` + coreGroup + `,"displayName":"G","members":[{"value":"` + otherID + `"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		holdTime(t, len(body), func() {
			change, err := ReadGroup(body)
			if !refused(t, err) {
				checkDelta(t, change)
			}
			resource, err := Users.Read(body)
			if refused(t, err) {
				return
			}
			c, err := Create(resource, uuid.MustParse(someID))
			if refused(t, err) || (user.Create{Patch: c.Patch}).Validate() != nil {
				return
			}
			u, err := user.Create{Patch: c.Patch}.Apply(0, user.Stamp{Now: someTime})
			if err != nil {
				t.Fatal(err)
			}
			p := Profile{u}
			checkSound(t, p)
			projection, err := Users.ParseProjection([]string{string(body)}, nil)
			if refused(t, err) {
				return
			}
			if !json.Valid(projection.Apply(p.Resource(base)).Append(nil)) {
				t.Fatal("not JSON")
			}
		})
	})
}

// TestCost holds the time of the inputs that would cost the most for their size.
func TestCost(t *testing.T) {
	t.Parallel()
	for name, body := range costly() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holdTime(t, len(body), func() {
				if request, err := Users.ParsePatch([]byte(body)); err == nil {
					_, _ = native().Patch(request)
				}
				_, _ = PatchGroup(uuid.MustParse(someID), []byte(body))
				if resource, err := Users.Read([]byte(body)); err == nil {
					_, _ = Create(resource, uuid.MustParse(someID))
				}
				_, _ = ReadGroup([]byte(body))
			})
		})
	}
}

// costly are bodies near the bounds.
func costly() map[string]string {
	repeat := func(s string, n int) string { return strings.Repeat(s+",", n-1) + s }
	value := strings.Repeat("x", 1000)
	numbered := func(n int, format string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(parts, ",")
	}
	long := `{"op":"add","path":"phoneNumbers","value":[` + numbered(90, `{"type":"%d","value":"`+strings.Repeat("é", 2500)+`"}`) + `]}`
	return map[string]string{
		"nested lists":            `{` + coreUser + `,"userName":"u","emails":` + strings.Repeat("[", 9000) + `"` + strings.Repeat("x", 1<<19) + `"` + strings.Repeat("]", 9000) + `}`,
		"many values":             `{` + coreUser + `,"userName":"u","emails":[` + numbered(40_000, `{"value":"%d@b.ca"}`) + `]}`,
		"many unknown members":    `{` + coreUser + `,"userName":"u",` + numbered(60_000, `"n%d":{}`) + `}`,
		"many operations":         operations(numbered(1000, `{"op":"add","path":"phoneNumbers","value":[{"value":"%d","display":"`+value[:900]+`"}]}`)),
		"many path-less names":    operations(`{"op":"add","value":{` + numbered(9000, `"phoneNumbers[value eq %d].display":"x"`) + `}}`),
		"many filters":            operations(numbered(1000, `{"op":"remove","path":"emails[`+strings.Repeat(`type eq a or `, 50)+`type eq %d]"}`)),
		"many long filters":       operations(numbered(250, `{"op":"remove","path":"emails[`+strings.Repeat(`value co \"a\" or `, 99)+`value co \"%d\"]"}`)),
		"many members":            operations(`{"op":"add","path":"members","value":[` + numbered(10_000, `{"value":"018f0000-0000-7000-8000-%012d","$ref":"x"}`) + `]}`),
		"many members removed":    operations(`{"op":"remove","path":"members","value":[` + numbered(10_000, `{"value":"018f0000-0000-7000-8000-%012d"}`) + `]}`),
		"long values":             operations(long, numbered(990, `{"op":"replace","path":"phoneNumbers[type eq \"x%d\"].display","value":""}`)),
		"long values and filters": operations(long, numbered(300, `{"op":"remove","path":"phoneNumbers[`+strings.Repeat(`value co \"a\" or `, 99)+`value co \"%d\"].display"}`)),
		"a long domain":           `{` + coreUser + `,"userName":"a@` + strings.Repeat("界", 100_000) + `","emails":[{"value":"a@` + strings.Repeat("界", 100_000) + `"}]}`,
		"values removed":          operations(numbered(100, `{"op":"add","path":"phoneNumbers","value":{"value":"%d"}}`), numbered(800, `{"op":"remove","path":"phoneNumbers","value":[`+repeat(`{"value":"a%[1]d"}`, 40)+`]}`)),
	}
}
