package openapitest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aiadmin/test/openapitest"
)

const (
	problemBody = `{"type":"about:blank","title":"Not Found","status":404,"instance":"/x","requestId":"r","errorCode":"NOT_FOUND","details":[]}`
	userBody    = `{"id":"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f","tag":"ada","name":"Ada","email":null,"userName":null,"role":"member",` +
		`"status":"active","expiresAt":null,"models":null,"limits":{"requestsPerMinute":null,"tokensPerMinute":null,"monthlyBudgetUSD":null},` +
		`"credentials":[],"keys":[],"groups":[],"metadata":{},"externalId":null,"version":1,"createdAt":"2026-11-22T20:00:00.123456Z","updatedAt":"2026-11-22T20:00:00.123456Z"}`
)

// TestCheckerSeesFaults shows that each kind of departure is one that the Checker reports: a
// checker that finds nothing would make every test that uses it worthless.
func TestCheckerSeesFaults(t *testing.T) {
	t.Parallel()
	const users, one = "/ai/admin/users", "/ai/admin/users/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"
	good := map[string]string{"X-Request-Id": "r", "ETag": `"1"`, "Content-Type": "application/json"}
	without := func(name string) map[string]string {
		out := map[string]string{}
		for k, v := range good {
			if k != name {
				out[k] = v
			}
		}
		return out
	}
	problem := map[string]string{"X-Request-Id": "r", "Content-Type": "application/problem+json"}
	tests := []struct {
		name, method, target, sent string
		status                     int
		headers                    map[string]string
		body                       string
		wrong                      bool
	}{
		{"a good answer", "GET", one, "", 200, good, userBody, false},
		{"no ETag", "GET", one, "", 200, without("ETag"), userBody, true},
		{"an ETag of no version", "GET", one, "", 200, map[string]string{"X-Request-Id": "r", "ETag": `"x"`, "Content-Type": "application/json"}, userBody, true},
		{"no request id", "GET", one, "", 200, without("X-Request-Id"), userBody, true},
		{"an unknown member", "GET", one, "", 200, good, strings.Replace(userBody, `"version"`, `"more":1,"version"`, 1), true},
		{"a missing member", "GET", one, "", 200, good, strings.Replace(userBody, `"name":"Ada",`, ``, 1), true},
		{"milliseconds", "GET", one, "", 200, good, strings.ReplaceAll(userBody, `.123456Z`, `.123Z`), true},
		{"another content type", "GET", one, "", 200, map[string]string{"X-Request-Id": "r", "ETag": `"1"`, "Content-Type": "text/html"}, userBody, true},
		{"an unknown status", "GET", one, "", 418, problem, problemBody, true},
		{"an unknown route", "GET", "/ai/admin/groups", "", 200, good, userBody, true},
		{"an unknown method", "POST", one, "{}", 200, good, userBody, true},
		{"an unknown path refused", "GET", "/nope", "", 404, problem, problemBody, false},
		{"a plain text 404", "GET", "/nope", "", 404, map[string]string{"X-Request-Id": "r", "Content-Type": "text/plain"}, "404 page not found", true},
		{"405 without Allow", "POST", one, "", 405, problem, problemBody, true},
		{"a code of another status", "GET", one, "", 403, problem, strings.Replace(problemBody, "404", "403", 1), true},
		{"a code that is not in the contract", "GET", "/nope", "", 404, problem, strings.Replace(problemBody, "NOT_FOUND", "GONE", 1), true},
		{"a request that should not have succeeded", "PUT", one, `{"version":3}`, 200, good, userBody, true},
		{"a good request", "PUT", one, `{"name":"Ada"}`, 200, good, userBody, false},
		{"a limit that should not have succeeded", "GET", users + "?limit=501", "", 200, good, `{"users":[],"page":{"limit":50,"next":null,"total":0,"totalIsExact":true}}`, true},
		{"a metadata filter", "GET", users + "?metadata.team=a&metadata.b.c=d&tag=a&tag=b&sort=name,-tag", "", 200, good, `{"users":[],"page":{"limit":50,"next":null,"total":0,"totalIsExact":true}}`, false},
		{"a body with 304", "GET", one, "", 304, good, userBody, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequest(tt.method, tt.target, strings.NewReader(tt.sent))
			req.Header.Set("Authorization", "Bearer x")
			if tt.sent != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp := &http.Response{StatusCode: tt.status, Header: http.Header{}}
			for k, v := range tt.headers {
				resp.Header.Set(k, v)
			}
			found := openapitest.Validator(t).Problems(req, []byte(tt.sent), resp, []byte(tt.body))
			if got := len(found) > 0; got != tt.wrong {
				t.Errorf("wrong = %v, want %v: %q", got, tt.wrong, found)
			}
		})
	}
}
