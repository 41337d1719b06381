package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// reference is the HTML reference of the API, made from the OpenAPI document.
type reference struct {
	page   []byte
	etag   string
	policy string // its Content-Security-Policy
}

var (
	//go:embed reference.html
	referenceTemplate string
	//go:embed reference.css
	referenceStyle string
)

// newReference renders the reference of this version of the service. The page has no script and asks no host for
// anything: its policy allows its own style sheet alone, by its hash.
func newReference(version string) (*reference, error) {
	d, err := parseDescription(version)
	if err != nil {
		return nil, err
	}
	parsed, err := template.New("reference").Funcs(template.FuncMap{
		"base": path.Base, "has": has, "types": types, "rules": rules, "example": example, "prose": prose,
		"resolve": d.resolve, "upper": strings.ToUpper,
	}).Parse(referenceTemplate)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := parsed.Execute(&page, d); err != nil {
		return nil, err
	}
	style, digest := sha256.Sum256([]byte(referenceStyle)), sha256.Sum256(page.Bytes())
	return &reference{
		page: page.Bytes(), etag: `"` + hex.EncodeToString(digest[:16]) + `"`,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}

func (a *API) serveReference(w http.ResponseWriter, r *http.Request) error {
	reference, err := a.reference()
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Security-Policy", reference.policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", reference.etag)
	if unmodified(r, reference.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return write(w, r, http.StatusOK, "text/html; charset=utf-8", reference.page)
}

// description is the OpenAPI document as the template reads it.
type description struct {
	Info struct{ Title, Version, Summary, Description string }
	Tags []struct {
		Name, Description string
		Operations        []operation `yaml:"-"`
	}
	Components map[string]map[string]any
	Style      template.CSS `yaml:"-"`
}

// operation is one method of a path. Fields of any are as the document has them.
type operation struct {
	Method      string `yaml:"-"`
	Path        string `yaml:"-"`
	OperationID string `yaml:"operationId"`
	Tags        []string
	Summary     string
	Description string
	Security    []map[string][]string
	Parameters  []any
	RequestBody any `yaml:"requestBody"`
	Responses   map[string]any
}

// Scopes lists the scopes of which a caller needs one; none is asked of an operation that is open to all.
func (o operation) Scopes() []string {
	var scopes []string
	for _, alternative := range o.Security {
		for _, of := range alternative {
			scopes = append(scopes, of...)
		}
	}
	return scopes
}

// parseDescription reads the document. Tags and paths keep its order.
func parseDescription(version string) (*description, error) {
	var document struct {
		description `yaml:",inline"`
		Paths       yaml.Node
	}
	if err := yaml.Unmarshal(openAPIDocument, &document); err != nil {
		return nil, err
	}
	d := &document.description
	d.Style = template.CSS(referenceStyle) //nolint:gosec // our own file
	if version != "" {
		d.Info.Version = version
	}
	for i := 0; i+1 < len(document.Paths.Content); i += 2 {
		var methods struct {
			Parameters                    []any
			Get, Post, Put, Patch, Delete *operation
		}
		if err := document.Paths.Content[i+1].Decode(&methods); err != nil {
			return nil, err
		}
		for method, o := range map[string]*operation{
			"GET": methods.Get, "POST": methods.Post, "PUT": methods.Put, "PATCH": methods.Patch, "DELETE": methods.Delete,
		} {
			if o != nil {
				o.Method, o.Path, o.Parameters = method, document.Paths.Content[i].Value, append(methods.Parameters[:len(methods.Parameters):len(methods.Parameters)], o.Parameters...)
				if err := d.add(*o); err != nil {
					return nil, err
				}
			}
		}
	}
	return d, nil
}

// add files an operation under its tag, the methods of a path in the order of methodOrder.
func (d *description) add(o operation) error {
	for i := range d.Tags {
		tag := &d.Tags[i]
		if !slices.Contains(o.Tags, tag.Name) {
			continue
		}
		at := len(tag.Operations)
		for at > 0 && tag.Operations[at-1].Path == o.Path && methodOrder[tag.Operations[at-1].Method] > methodOrder[o.Method] {
			at--
		}
		tag.Operations = slices.Insert(tag.Operations, at, o)
		return nil
	}
	return fmt.Errorf("openapi.yaml: %s has none of the document's tags", o.OperationID)
}

var methodOrder = map[string]int{"GET": 1, "POST": 2, "PUT": 3, "PATCH": 4, "DELETE": 5}

// resolve follows a reference into the components; anything else is returned as it is.
func (d *description) resolve(node any) (any, error) {
	object, _ := node.(map[string]any)
	reference, ok := object["$ref"].(string)
	if !ok {
		return node, nil
	}
	parts := strings.Split(strings.TrimPrefix(reference, "#/components/"), "/")
	if len(parts) != 2 || d.Components[parts[0]][parts[1]] == nil {
		return nil, fmt.Errorf("openapi.yaml: %s leads nowhere", reference)
	}
	return d.resolve(d.Components[parts[0]][parts[1]])
}

func has(object map[string]any, key string) bool {
	_, ok := object[key]
	return ok
}

// types lists the JSON types that a schema allows.
func types(schema map[string]any) []any {
	switch t := schema["type"].(type) {
	case []any:
		return t
	case string:
		return []any{t}
	}
	if schema["properties"] != nil {
		return []any{"object"}
	}
	return []any{"any"}
}

// rules are the bounds of a schema, in JSON Schema's words.
func rules(schema map[string]any) string {
	var all []string
	for _, key := range []string{"default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"} {
		if has(schema, key) {
			all = append(all, fmt.Sprintf("%s %v", key, schema[key]))
		}
	}
	return strings.Join(all, ", ")
}

// example returns an example's value as a client meets it: text as it is, anything else as JSON.
func example(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	text, err := json.Marshal(value, json.Deterministic(true), jsontext.WithIndent("  "))
	return string(text), err
}

// prose marks `code` and paragraphs of a description in HTML.
func prose(text string) template.HTML {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		b.WriteString("<p>")
		for i, part := range strings.Split(paragraph, "`") {
			if part = template.HTMLEscapeString(part); i%2 == 1 {
				part = "<code>" + part + "</code>"
			}
			b.WriteString(part)
		}
		b.WriteString("</p>")
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above
}
