package blackbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// ways are the requests that carry a user's body; %s is the user's path.
var ways = []struct{ method, path string }{{"POST", usersPath}, {"PUT", "%s"}, {"PATCH", "%s"}}

func wayPath(path string, u user) string { return strings.Replace(path, "%s", u.path(), 1) }

// TestMalformedBodies sends what is no JSON object of a user to every route that takes one.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const malformed, invalid, any400 = "MALFORMED_BODY", "VALIDATION_ERROR", ""
	tests := []struct{ name, body, code string }{
		{"empty", "", any400},
		{"white space", " \n", any400},
		{"half an object", `{"name":"N"`, malformed},
		{"half a string", `{"name":"N`, malformed},
		{"no quotes", `{name:"N"}`, malformed},
		{"single quotes", `{'name':'N'}`, malformed},
		{"trailing comma", `{"name":"N",}`, malformed},
		{"comment", `{"name":"N"/* */}`, malformed},
		{"NaN", `{"limits":{"tokensPerMinute":NaN}}`, malformed},
		{"leading zero", `{"limits":{"tokensPerMinute":01}}`, malformed},
		{"plus", `{"limits":{"tokensPerMinute":+1}}`, malformed},
		{"raw control character", "{\"name\":\"a\nb\"}", malformed},
		{"bad escape", `{"name":"\x41"}`, malformed},
		{"text", `hello`, malformed},
		{"HTML", `<html>`, malformed},
		{"byte order mark", "\ufeff{\"name\":\"N\"}", any400},
		{"array", `[]`, any400}, {"array of one", `[{"name":"N"}]`, any400},
		{"string", `"x"`, any400}, {"number", `5`, any400}, {"true", `true`, any400}, {"null", `null`, any400},
		{"trailing object", `{"name":"N"}{}`, malformed},
		{"trailing text", `{"name":"N"} x`, malformed},
		{"trailing brace", `{"name":"N"}}`, malformed},
		{"two lines", "{\"name\":\"N\"}\n{\"name\":\"M\"}", malformed},
		{"duplicate key", `{"name":"N","name":"N"}`, malformed},
		{"duplicate key, escaped", `{"name":"N","n\u0061me":"M"}`, malformed},
		{"duplicate unknown key", `{"foo":1,"foo":2}`, malformed},
		{"duplicate key in limits", `{"limits":{"tokensPerMinute":1,"tokensPerMinute":2}}`, malformed},
		{"duplicate key in credentials", `{"credentials":{"openai":"x","openai":"y"}}`, malformed},
		{"duplicate key in metadata", `{"metadata":{"a":1,"a":2}}`, malformed},
		{"duplicate key deep in metadata", `{"metadata":{"a":{"b":[{"c":1,"c":2}]}}}`, malformed},
		{"invalid UTF-8 in a value", "{\"name\":\"a\xffb\"}", malformed},
		{"invalid UTF-8 in a key", "{\"a\xc3\":1}", malformed},
		{"overlong UTF-8", "{\"name\":\"\xc0\xaf\"}", malformed},
		{"surrogate as UTF-8", "{\"name\":\"\xed\xa0\x80\"}", malformed},
		{"invalid UTF-8 in metadata", "{\"metadata\":{\"a\":\"\xf5\"}}", malformed},
		{"invalid UTF-8 in a secret", "{\"credentials\":{\"a\":\"\xf5\"}}", malformed},
		{"lone surrogate", `{"name":"\ud800"}`, any400},
		{"lone low surrogate in metadata", `{"metadata":{"a":"\udc00"}}`, any400},
		{"reversed surrogates", `{"name":"\udc00\ud800"}`, any400},
		{"NUL byte", "{\"name\":\"a\x00b\"}", any400},
		{"a hundred thousand brackets", strings.Repeat("[", 100_000), any400},
		{"a hundred thousand levels", `{"metadata":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_001), any400},
		{"a hundred thousand levels of unknown", `{"foo":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}", any400},
		{"a huge number", `{"limits":{"tokensPerMinute":` + strings.Repeat("9", 100_000) + "}}", any400},
		{"many unknown fields", `{` + strings.TrimSuffix(manyMembers(20_000), ",") + `}`, invalid},
	}
	for _, tt := range tests {
		for _, way := range ways {
			t.Run(tt.name+" "+way.method, func(t *testing.T) {
				t.Parallel()
				u := s.create(t)
				contentType := "application/json"
				if way.method == "PATCH" {
					contentType = "application/merge-patch+json"
				}
				a := s.do(t, way.method, wayPath(way.path, u), tt.body, "Content-Type", contentType)
				p := a.is(t, http.StatusBadRequest).problem(t)
				if tt.code != any400 && p.ErrorCode != tt.code || !slices.Contains([]string{malformed, invalid}, p.ErrorCode) {
					t.Errorf("errorCode %s, want %s: %s", p.ErrorCode, tt.code, a.body)
				}
				if len(a.body) > 1<<18 {
					t.Errorf("an answer of %d bytes", len(a.body))
				}
				if s.get(t, u.ID).Version != 1 {
					t.Error("the user was changed")
				}
			})
		}
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"unknown%d":1,`, i)
	}
	return b.String()
}

// TestContentTypes holds which types a body may have.
func TestContentTypes(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const yes, no, maybe = 1, 0, 2
	tests := []struct {
		contentType string
		json, patch int // of POST and PUT, and of PATCH
	}{
		{"application/json", yes, maybe},
		{"application/merge-patch+json", maybe, yes},
		{"application/json; charset=utf-8", yes, maybe},
		{"application/merge-patch+json; charset=UTF-8", maybe, yes},
		{`Application/JSON;charset="utf-8"`, yes, maybe},
		{"application/json; charset=iso-8859-1", no, no},
		{"application/merge-patch+json; charset=utf-16", no, no},
		{"text/plain", no, no}, {"text/json", no, no}, {"text/html", no, no}, {"application/xml", no, no},
		{"application/x-www-form-urlencoded", no, no}, {"multipart/form-data; boundary=x", no, no},
		{"application/json-patch+json", no, no}, {"application/jsonx", no, no}, {"application", no, no}, {"*/*", no, no},
		{"application/octet-stream", no, no}, {"application/cloudevents+json", no, no},
		{"", maybe, maybe},
	}
	for _, tt := range tests {
		for _, way := range ways {
			t.Run(tt.contentType+" "+way.method, func(t *testing.T) {
				t.Parallel()
				u := s.create(t)
				body := `{"name":"New"}`
				if way.method == "POST" {
					body = fmt.Sprintf(`{"name":"New","tag":%q}`, newTag())
				}
				verdict := tt.json
				if way.method == "PATCH" {
					verdict = tt.patch
				}
				req := s.request(t, way.method, wayPath(way.path, u), body, "Content-Type", tt.contentType)
				status := s.send(t, req, verdict != maybe, body)
				switch {
				case verdict == yes && status/100 != 2, verdict == no && status != 415, verdict == maybe && status/100 != 2 && status != 415:
					t.Errorf("status %d", status)
				}
			})
		}
	}
}

// send sends a request; checked, its answer is held against the document as [service.do] does.
func (s *service) send(t testing.TB, req *http.Request, checked bool, body string) int {
	t.Helper()
	if checked {
		return s.doRequest(t, req, []byte(body)).status
	}
	resp, err := s.client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestBodySizes holds the limit of 1 MiB at its last byte, with and without a declared length.
func TestBodySizes(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const limit = 1 << 20
	padded := func(method string, size int) string {
		body := `{"name":"N"}`
		if method == "POST" {
			body = fmt.Sprintf(`{"name":"N","tag":%q}`, newTag())
		}
		return body + strings.Repeat(" ", size-len(body))
	}
	for _, way := range ways {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s chunked=%v", way.method, chunked), func(t *testing.T) {
				t.Parallel()
				u := s.create(t)
				for _, size := range []int{limit, limit + 1, 3 * limit} {
					body := padded(way.method, size)
					req := s.request(t, way.method, wayPath(way.path, u), body)
					if chunked {
						req.ContentLength = -1
						req.Body = io.NopCloser(strings.NewReader(body))
					}
					a := s.doRequest(t, req, []byte(body))
					if size <= limit {
						if a.status/100 != 2 {
							t.Errorf("%d bytes: %d %s", size, a.status, a.body)
						}
						continue
					}
					a.fails(t, http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
				}
			})
		}
	}
}

// TestContentEncoding holds that a compressed body is read as what it is, or refused: it
// must never be a way past the limit.
func TestContentEncoding(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	bodies := []string{zipped(t, 20), zipped(t, 8<<20)}
	for _, way := range ways {
		u := s.create(t)
		for _, body := range bodies {
			a := s.do(t, way.method, wayPath(way.path, u), body, "Content-Encoding", "gzip")
			if a.status != http.StatusUnsupportedMediaType && a.status != http.StatusBadRequest && a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: %d %s", a.call, a.status, a.body)
			}
		}
		s.do(t, way.method, wayPath(way.path, u), `{}`, "Content-Encoding", "br").fails(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
	}
}

// zipped is an update followed by white space.
func zipped(t testing.TB, size int) string {
	t.Helper()
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, err := io.WriteString(w, `{"name":"N"}`+strings.Repeat(" ", size))
	must(t, err)
	must(t, w.Close())
	return body.String()
}
