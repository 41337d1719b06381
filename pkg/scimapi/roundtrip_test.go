package scimapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// attribute is one of /Schemas, as a tester reads it.
type attribute map[string]any

func (a attribute) text(name string) string { s, _ := a[name].(string); return s }

func (a attribute) subs() (all []attribute) {
	list, _ := a["subAttributes"].([]any)
	for _, each := range list {
		all = append(all, each.(map[string]any))
	}
	return all
}

// value makes a value that the attribute may have; n tells values apart.
func (a attribute) value(n int) any {
	if a["multiValued"] == true {
		return []any{a.single(n)}
	}
	return a.single(n)
}

func (a attribute) single(n int) any {
	canonical, _ := a["canonicalValues"].([]any)
	switch a.text("type") {
	case "boolean":
		return n%2 == 0
	case "integer":
		return float64(1000 + n)
	case "complex":
		object := map[string]any{}
		for _, sub := range a.subs() {
			if sub.text("mutability") != "readOnly" {
				object[sub.text("name")] = sub.value(n)
			}
		}
		if a.text("name") == "emails" {
			object["value"] = fmt.Sprintf("someone%d@example.com", n)
		}
		return object
	case "reference":
		return fmt.Sprintf("https://example.com/%d", n)
	}
	for i := range canonical {
		if value := canonical[(i+n)%len(canonical)]; value != "admin" && value != "all" {
			return value
		}
	}
	return fmt.Sprintf("%s-%d", strings.ToLower(a.text("name")), n)
}

// TestEveryPublishedAttributeIsGivenBack writes each attribute that /Schemas names, in every way in which
// a client can, and reads it as it was sent.
func TestEveryPublishedAttributeIsGivenBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	schemas, n := s.ask(t, "GET", "/Schemas", "").is(t, 200).body["Resources"].([]any), 0
	for _, each := range schemas {
		schema := attribute(each.(map[string]any))
		list, _ := schema["attributes"].([]any)
		for _, one := range list {
			a := attribute(one.(map[string]any))
			if schema.text("id") == groupURN || a.text("mutability") == "readOnly" {
				continue
			}
			n += 10
			t.Run(schema.text("name")+"."+a.text("name"), func(t *testing.T) { roundTrip(t, s, schema.text("id"), a, n) })
		}
	}
	if n < 280 {
		t.Errorf("only %d attributes were tried", n/10)
	}
}

func roundTrip(t *testing.T, s *service, schema string, a attribute, n int) {
	name, path, patchPath := a.text("name"), a.text("name"), a.text("name")
	if schema != coreURN {
		path, patchPath = dotted(schema)+"."+name, schema+":"+name
	}
	member := func(value any) string {
		text := `"` + name + `":` + jsonValue(value)
		if schema != coreURN {
			text = `"` + schema + `":{` + text + `}`
		}
		return text
	}
	first, second, third := a.value(n), a.value(n+1), a.value(n+2)
	body := userBody(fmt.Sprintf("round-%d", n), member(first))
	if name == "userName" {
		body = `{"schemas":["` + coreURN + `"],` + member(first) + `}`
	}
	created := s.ask(t, "POST", "/Users", body).is(t, 201)
	same(t, created, path, first)
	id := created.id(t)
	same(t, s.ask(t, "GET", "/Users/"+id, "").is(t, 200), path, first)

	for i, value := range []any{second, third} {
		operation := `{"op":"replace","path":"` + patchPath + `","value":` + jsonValue(value) + `}`
		if i == 1 {
			operation = `{"op":"replace","value":{"` + patchPath + `":` + jsonValue(value) + `}}`
		}
		same(t, s.ask(t, "PATCH", "/Users/"+id, patchBody(operation)).is(t, 200), path, value)
	}
	read := s.ask(t, "GET", "/Users/"+id, "").is(t, 200)
	same(t, s.ask(t, "PUT", "/Users/"+id, read.text).is(t, 200).has(t, "meta.version", jsonValue(read.at("meta.version"))), path, third)
	for _, sub := range a.subs() {
		if sub.text("mutability") == "readOnly" || a["multiValued"] == true || sub.text("multiValued") == "true" {
			continue
		}
		value := sub.value(n + 3)
		same(t, s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"`+patchPath+`.`+sub.text("name")+`","value":`+jsonValue(value)+`}`)).is(t, 200), path+"."+sub.text("name"), value)
	}
	if a["required"] == true {
		s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"remove","path":"`+patchPath+`"}`)).fails(t, 400, "mutability")
		return
	}
	if removed := s.ask(t, "PATCH", "/Users/"+id, patchBody(`{"op":"remove","path":"`+patchPath+`"}`)).is(t, 200); removed.at(path) != nil {
		t.Errorf("it is there after its removal: %s", removed.text)
	}
}

func jsonValue(value any) string { return strings.TrimSuffix(mustJSON(value), "\n") }

// same checks that the value at a path is what was sent.
func same(t *testing.T, a answer, path string, want any) {
	t.Helper()
	if got := a.at(path); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %s is %s, want %s", a.call, path, jsonValue(got), jsonValue(want))
	}
}
