package openapitest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/jsonschema/v6"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"aiadmin/pkg/user"
	"aiadmin/test/openapitest"
)

const documentURL = "file:///openapi.json"

func parse(t *testing.T) (text []byte, document any, compiler *jsonschema.Compiler) {
	t.Helper()
	text, err := openapitest.Document()
	if err != nil {
		t.Fatal(err)
	}
	document, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler = jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(documentURL, document); err != nil {
		t.Fatal(err)
	}
	return text, document, compiler
}

func TestDocumentIsOpenAPI31(t *testing.T) {
	t.Parallel()
	text, document, _ := parse(t)
	if got := document.(map[string]any)["openapi"]; got != "3.1.0" {
		t.Fatalf("openapi: %v", got)
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, found := v.ValidateDocument(); !ok {
		for _, e := range found {
			t.Errorf("%s: %s", e.Message, e.Reason)
			for _, s := range e.SchemaValidationErrors {
				t.Errorf("  %v %s", s.InstancePath, s.Reason)
			}
		}
	}
}

// TestExamplesAreTrue looks at every place of the document that has a schema: it must have an
// example, and the example must be what the schema says.
func TestExamplesAreTrue(t *testing.T) {
	t.Parallel()
	_, document, compiler := parse(t)
	checked := 0
	walk(document, "#", func(at string, node map[string]any) {
		if _, ok := node["schema"]; !ok {
			return
		}
		schema, err := compiler.Compile(documentURL + at + "/schema")
		if err != nil {
			t.Errorf("%s: %v", at, err)
			return
		}
		values := examples(t, document, node)
		if len(values) == 0 {
			t.Errorf("%s has no example", at)
		}
		for name, value := range values {
			checked++
			if err := schema.Validate(value); err != nil {
				t.Errorf("%s, example %s: %v", at, name, err)
			}
		}
	})
	if checked < 60 {
		t.Fatalf("only %d examples were looked at", checked)
	}
}

// walk visits every object of the document but schemas and examples, whose own members of
// these names mean something else.
func walk(node any, at string, visit func(string, map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		visit(at, node)
		for _, key := range slices.Sorted(maps.Keys(node)) {
			if key == "schema" || key == "schemas" || key == "example" || key == "examples" {
				continue
			}
			walk(node[key], at+"/"+strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key), visit)
		}
	case []any:
		for i, child := range node {
			walk(child, fmt.Sprintf("%s/%d", at, i), visit)
		}
	}
}

func examples(t *testing.T, document any, node map[string]any) map[string]any {
	t.Helper()
	out := map[string]any{}
	if value, ok := node["example"]; ok {
		out["example"] = value
	}
	named, _ := node["examples"].(map[string]any)
	for name, e := range named {
		example := e.(map[string]any)
		if ref, ok := example["$ref"].(string); ok {
			example = resolve(t, document, ref)
		}
		out[name] = example["value"]
	}
	return out
}

func resolve(t *testing.T, document any, ref string) map[string]any {
	t.Helper()
	at := document
	for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		next, ok := at.(map[string]any)[key]
		if !ok {
			t.Fatalf("%s names nothing", ref)
		}
		at = next
	}
	return at.(map[string]any)
}

// TestEveryErrorCodeHasAnExample holds the document's list of codes to that of docs/api.md, and
// each code to an example under its own status.
func TestEveryErrorCodeHasAnExample(t *testing.T) {
	t.Parallel()
	text, _, _ := parse(t)
	var doc struct {
		Components struct {
			Schemas struct {
				ErrorCode struct{ Enum []string }
			}
			Examples map[string]struct{ Value any }
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]float64{
		"VALIDATION_ERROR": 400, "MALFORMED_BODY": 400, "UNAUTHENTICATED": 401, "FORBIDDEN": 403,
		"NOT_FOUND": 404, "METHOD_NOT_ALLOWED": 405, "DUPLICATE_TAG": 409, "DUPLICATE_EMAIL": 409,
		"DUPLICATE_EXTERNAL_ID": 409, "DUPLICATE_ID": 409, "DUPLICATE_USER_NAME": 409, "DUPLICATE_KEY_NAME": 409, "IDEMPOTENCY_IN_PROGRESS": 409,
		"CURSOR_EXPIRED": 410, "PRECONDITION_FAILED": 412, "BODY_TOO_LARGE": 413,
		"UNSUPPORTED_MEDIA_TYPE": 415, "IDEMPOTENCY_KEY_REUSED": 422, "INTERNAL": 500,
		"DATABASE_UNAVAILABLE": 503, "TIMEOUT": 504,
		"INVALID_KEY": 401, "SUSPENDED": 403, "EXPIRED": 403, "UNKNOWN_SUBJECT": 403,
		"MODEL_NOT_ALLOWED": 403, "MODEL_REQUIRED": 403, "LIMIT_ZERO": 403, "NO_CREDENTIAL": 403,
	}
	got := slices.Sorted(slices.Values(doc.Components.Schemas.ErrorCode.Enum))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(statuses)), got); diff != "" {
		t.Errorf("the codes are not the contract's (-want +got):\n%s", diff)
	}
	for code, status := range statuses {
		value, _ := doc.Components.Examples[code].Value.(map[string]any)
		if value["errorCode"] != code || value["status"] != status {
			t.Errorf("example %s: %v", code, value)
		}
	}
}

// TestEveryRouteIsThere lists the routes and scopes of docs/api.md.
func TestEveryRouteIsThere(t *testing.T) {
	t.Parallel()
	text, _, _ := parse(t)
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for path, item := range doc.Paths {
		for method, raw := range item {
			var op struct{ Security *[]map[string][]string }
			if method == "parameters" {
				continue
			}
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatal(err)
			}
			if op.Security == nil {
				t.Errorf("%s %s says nothing of security", method, path)
				continue
			}
			scopes := []string{}
			for _, alternative := range *op.Security {
				scopes = append(append(scopes, alternative["bearer"]...), alternative["gateway"]...)
			}
			got[strings.ToUpper(method)+" "+path] = scopes
		}
	}
	read, write := []string{"users:read", "admin"}, []string{"users:write", "admin"}
	send, keys, check := []string{"events:send", "admin"}, []string{"keys:write", "admin"}, []string{"access:check", "admin"}
	want := map[string][]string{
		"GET /ai/admin/users": read, "POST /ai/admin/users": write,
		"GET /ai/admin/users/{UserID}": read, "PUT /ai/admin/users/{UserID}": write,
		"PATCH /ai/admin/users/{UserID}": write, "DELETE /ai/admin/users/{UserID}": write,
		"GET /ai/admin/users/{UserID}/credentials/{provider}": {"credentials:read", "admin"},
		"GET /ai/admin/users/{UserID}/history":                read,
		"POST /ai/admin/users/import":                         write,
		"GET /ai/admin/changes":                               read,
		"GET /ai/admin/groups":                                read,
		"GET /ai/admin/groups/{GroupID}":                      read,
		"GET /ai/admin/groups/{GroupID}/members":              read,
		"GET /ai/admin/audit":                                 {"audit:read", "admin"},
		"GET /ai/admin/history":                               {"audit:read", "admin"},
		"GET /ai/admin/users/{UserID}/keys":                   read, "POST /ai/admin/users/{UserID}/keys": keys,
		"DELETE /ai/admin/users/{UserID}/keys":      keys,
		"GET /ai/admin/users/{UserID}/keys/{KeyID}": {"users:read", "keys:write", "admin"}, "PATCH /ai/admin/users/{UserID}/keys/{KeyID}": keys,
		"DELETE /ai/admin/users/{UserID}/keys/{KeyID}":      keys,
		"POST /ai/admin/users/{UserID}/keys/{KeyID}/rotate": keys,
		"GET /ai/admin/keys":                                read,
		"GET /ai/admin/authorize":                           check, "POST /ai/admin/authorize": check,
		"GET /ai/admin/authorize/{provider}": check, "POST /ai/admin/authorize/{provider}": check,
		"POST /access/v1/evaluation": check, "POST /access/v1/evaluations": check,
		"GET /.well-known/authzen-configuration": {},
		"POST /ai/admin/events":                  send, "POST /": send,
		"GET /ai/admin/schemas/{name}": {}, "GET /openapi.json": {}, "GET /ai/admin/docs": {}, "GET /livez": {}, "GET /readyz": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestSchemasHaveEveryField holds the users that the document describes against the table of fields.
func TestSchemasHaveEveryField(t *testing.T) {
	t.Parallel()
	_, document, _ := parse(t)
	schemas := document.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for name, want := range map[string][]string{"User": user.Fields(), "EventUser": user.EventFields(), "UserCreate": user.WritableFields(), "UserUpdate": user.WritableFields()} {
		properties := schemas[name].(map[string]any)["properties"].(map[string]any)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(properties))); diff != "" {
			t.Errorf("%s (-fields +document):\n%s", name, diff)
		}
	}
}
