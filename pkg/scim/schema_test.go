package scim

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// TestDiscovery compares the documents of RFC 7643, sections 5 to 7, with testdata (-update
// writes it): clients cache them.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	for file, document := range map[string]any{
		"schemas": Schemas(base), "resourcetypes": ResourceTypeDocuments(base),
		"serviceproviderconfig": Config(base, Pagination{Cursor: true, Index: true, DefaultPaginationMethod: "index", DefaultPageSize: 100, MaxPageSize: 500}),
	} {
		got, err := json.Marshal(document, jsontext.WithIndent("  "))
		if err != nil {
			t.Fatal(err)
		}
		path := "testdata/" + file + ".json"
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if bytes.Contains(got, []byte("null")) {
			t.Errorf("%s has a null", path)
		}
	}
}

// TestPublished holds what the contract says of /Schemas.
func TestPublished(t *testing.T) {
	t.Parallel()
	var urns []string
	for _, document := range Schemas(base) {
		urns = append(urns, document.ID)
		checkAttributes(t, document.Attributes)
		if found, ok := FindSchema(base, strings.ToUpper(document.ID)); !ok || found.ID != document.ID {
			t.Errorf("%s is not found", document.ID)
		}
	}
	if want := []string{"urn:ietf:params:scim:schemas:core:2.0:User", enterprise, ours, "urn:ietf:params:scim:schemas:core:2.0:Group"}; !slices.Equal(urns, want) {
		t.Error(urns)
	}
	if _, ok := FindSchema(base, PatchOpURN); ok {
		t.Error("a message's schema is published")
	}
	for _, d := range ResourceTypeDocuments(base) {
		for _, urn := range append([]string{d.Schema}, extensionIDs(d)...) {
			if !slices.Contains(urns, urn) {
				t.Errorf("%s names %s, which is not published", d.Name, urn)
			}
		}
	}
}

func extensionIDs(d ResourceTypeDocument) (all []string) {
	for _, extension := range d.SchemaExtensions {
		all = append(all, extension.Schema)
	}
	return all
}

func checkAttributes(t *testing.T, attributes []*Attribute) {
	t.Helper()
	for _, a := range attributes {
		if a.Name == "externalId" || a.Name == "id" || a.Name == "meta" || a.Name == "decimal" || a.Description == "" {
			t.Errorf("%+v", a)
		}
		if (a.Type == Complex) != (len(a.SubAttributes) > 0) || (a.Type == Reference) != (len(a.ReferenceTypes) > 0) || a.closed && len(a.CanonicalValues) == 0 {
			t.Errorf("%+v", a)
		}
		checkAttributes(t, a.SubAttributes)
	}
}

// sample makes a value that a client may write, as scim2-tester and the like do from /Schemas.
func sample(a *Attribute, n string) any {
	if a.MultiValued {
		single := *a
		single.MultiValued = false
		return List{sample(&single, n)}
	}
	switch a.Type {
	case Boolean:
		return n == "1"
	case Integer:
		return int64(len(n) + 41)
	case Complex:
		object := Object{}
		for _, sub := range a.SubAttributes {
			if sub.Mutability != readOnly {
				object[sub.Name] = sample(sub, n)
			}
		}
		if a.Name == "emails" {
			object["value"] = "a" + n + "@b.example"
		}
		return object
	}
	if len(a.CanonicalValues) > 0 {
		return a.CanonicalValues[len(a.CanonicalValues)-1]
	}
	return "value-" + n
}

// TestRoundTrip writes, replaces and removes each writable attribute that /Schemas publishes, by
// POST and PATCH, and wants it back as sent, and gone once it is removed.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, document := range Schemas(base)[:3] {
		for _, a := range document.Attributes {
			if a.Mutability == readOnly {
				continue
			}
			tried++
			path, ok := Users.ParseAttribute(document.ID + ":" + a.Name)
			if !ok {
				t.Fatalf("%s is not found", a.Name)
			}
			t.Run(path.String(), func(t *testing.T) {
				t.Parallel()
				roundTrip(t, path)
			})
		}
	}
	if tried < 25 {
		t.Errorf("only %d attributes", tried)
	}
}

func roundTrip(t *testing.T, path AttributePath) {
	resource := Object{"schemas": List{userSchema.ID}, "userName": "u"}
	resource.put(path, sample(path.Attribute, "1"))
	p := mustPost(t, string(resource.Append(nil)))
	wantAt(t, p, path, sample(path.Attribute, "1"))

	minimal := mustPost(t, `{`+coreUser+`,"userName":"u"}`)
	for _, op := range []string{opAdd, opReplace} {
		for _, n := range []string{"1", "2", "2"} {
			request := Object{"op": op, "path": path.String(), "value": sample(path.Attribute, n)}
			from := minimal
			if op == opReplace {
				from = p
			}
			patched := mustPatch(t, from, string(request.Append(nil)))
			wantAt(t, patched, path, sample(path.Attribute, n))
			same, err := put(t, patched, string(patched.Resource(base).Append(nil)))
			if err != nil {
				t.Fatal(err)
			}
			wantUnchanged(t, patched, same)
		}
	}
	if path.Attribute.Required {
		return
	}
	removed := mustPatch(t, p, `{"op":"remove","path":"`+path.String()+`"}`)
	wantAt(t, removed, path, nil)
	wantAt(t, mustPatch(t, removed, `{"op":"remove","path":"`+path.String()+`"}`), path, nil)
}

func wantAt(t *testing.T, p Profile, path AttributePath, want any) {
	t.Helper()
	if diff := cmp.Diff(want, p.Resource(base).at(path)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestRoundTripOfExtensions(t *testing.T) {
	t.Parallel()
	for _, extension := range Users.Extensions {
		value := Object{}
		for _, a := range extension.Attributes {
			if value[a.Name] = sample(a, "1"); a.Name == "modelAccess" {
				value[a.Name] = accessListed
			}
		}
		request := Object{"op": "add", "path": extension.ID, "value": value}
		p := mustPatch(t, mustPost(t, `{`+coreUser+`,"userName":"u"}`), string(request.Append(nil)))
		if diff := cmp.Diff(value, p.Resource(base)[extension.ID]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", extension.ID, diff)
		}
		p = mustPatch(t, p, `{"op":"remove","path":"`+extension.ID+`"}`)
		if got := p.Resource(base)[extension.ID]; got != nil {
			t.Errorf("%s is still %v", extension.ID, got)
		}
	}
}
