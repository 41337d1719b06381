package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// Checker holds traffic against the document, one message at a time: the validators render a
// schema when they first meet it, and do so in the document that all of them share.
type Checker struct {
	one       sync.Mutex
	validator validator.Validator
	problem   *base.Schema
	schemas   schema_validation.SchemaValidator
	paths     *v3.Paths
}

var load = sync.OnceValues(func() (*Checker, error) {
	text, err := Document()
	if err != nil {
		return nil, err
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		return nil, err
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(document, config.WithFormatAssertions())
	if len(errs) > 0 {
		return nil, fmt.Errorf("openapi.yaml: %v", errs)
	}
	problem, ok := model.Model.Components.Schemas.Get("Problem")
	if !ok {
		return nil, fmt.Errorf("openapi.yaml has no schema Problem")
	}
	schemas := schema_validation.NewSchemaValidator(config.WithFormatAssertions())
	return &Checker{validator: v, problem: problem.Schema(), schemas: schemas, paths: model.Model.Paths}, nil
})

// Validator returns the process's Checker; a document that cannot be used ends the test.
func Validator(t testing.TB) *Checker {
	t.Helper()
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Check fails the test when the answer is not one that the document promises for the route:
// an unknown route, status, content type, header or body. A request that succeeded must be
// one that the document allows; a refused one need not be. The bodies are what was sent and
// received: those of req and resp may be spent.
func (c *Checker) Check(t testing.TB, req *http.Request, sent []byte, resp *http.Response, received []byte) {
	t.Helper()
	for _, problem := range c.Problems(req, sent, resp, received) {
		t.Errorf("%s %s → %d is not as openapi.yaml says: %s\nrequest: %s\nanswer: %s",
			req.Method, req.URL, resp.StatusCode, problem, short(sent), short(received))
	}
}

// Problems is what [Checker.Check] reports, for tests of the Checker itself.
func (c *Checker) Problems(req *http.Request, sent []byte, resp *http.Response, received []byte) []string {
	c.one.Lock()
	defer c.one.Unlock()
	if outsideDocument(req, resp) {
		return c.outsideProblems(req, resp, received)
	}
	answer := *resp
	answer.Body = io.NopCloser(bytes.NewReader(received))
	_, found := c.validator.ValidateHttpResponse(withBody(req, sent), &answer)
	out := reasons(found)
	if resp.StatusCode < 400 {
		_, found = c.validator.ValidateHttpRequestSync(withBody(req, sent))
		out = append(out, reasons(found)...)
	}
	return append(out, emptyProblems(resp, received)...)
}

// outsideDocument tells the answers that speak of no operation: an unknown path, an unknown
// method, a preflight, and HEAD, which OpenAPI says nothing of.
func outsideDocument(req *http.Request, resp *http.Response) bool {
	return req.Method == http.MethodHead || req.Method == http.MethodOptions ||
		resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotFound
}

func (c *Checker) outsideProblems(req *http.Request, resp *http.Response, received []byte) []string {
	var out []string
	if resp.Header.Get("X-Request-Id") == "" {
		out = append(out, "no X-Request-Id")
	}
	if resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
		out = append(out, "405 without Allow")
	}
	if req.Method == http.MethodHead || resp.StatusCode < 400 {
		return out
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		out = append(out, fmt.Sprintf("Content-Type %q of a problem", got))
	}
	_, found := c.schemas.ValidateSchemaBytes(c.problem, received)
	return append(out, reasons(found)...)
}

func emptyProblems(resp *http.Response, received []byte) []string {
	empty := resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	if empty && len(received) > 0 {
		return []string{"a body where none may be"}
	}
	return nil
}

func withBody(req *http.Request, sent []byte) *http.Request {
	r := req.Clone(req.Context())
	r.Body = http.NoBody
	if len(sent) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	return r
}

func reasons(found []*errors.ValidationError) []string {
	var out []string
	for _, e := range found {
		text := e.Message + ": " + e.Reason
		for _, s := range e.SchemaValidationErrors {
			text += fmt.Sprintf("; %v: %s", s.InstancePath, s.Reason)
		}
		out = append(out, text)
	}
	return out
}

func short(body []byte) string {
	const most = 600
	if json.Valid(body) {
		var b bytes.Buffer
		if json.Compact(&b, body) == nil {
			body = b.Bytes()
		}
	}
	if len(body) > most {
		return string(body[:most]) + "…"
	}
	return string(body)
}
