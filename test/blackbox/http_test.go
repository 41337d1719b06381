package blackbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"aiadmin/test/openapitest"
)

const nobody = usersPath + "/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"

// TestRoutes holds what is no route, and which methods each route takes.
func TestRoutes(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	t.Run("methods", func(t *testing.T) {
		t.Parallel()
		for path, allowed := range map[string][]string{
			usersPath: {"GET", "POST"}, u.path(): {"GET", "PUT", "PATCH", "DELETE"},
			u.path() + "/credentials/openai": {"GET"}, u.path() + "/history": {"GET"},
			"/ai/admin/changes": {"GET"}, "/ai/admin/events": {"POST"}, "/": {"POST"},
			"/openapi.json": {"GET"}, "/livez": {"GET"}, "/readyz": {"GET"},
		} {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "PROPFIND"} {
				if slices.Contains(allowed, method) {
					continue
				}
				a := s.do(t, method, path, "")
				a.fails(t, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
				names := strings.Split(strings.ReplaceAll(a.header.Get("Allow"), " ", ""), ",")
				for _, want := range allowed {
					if !slices.Contains(names, want) {
						t.Errorf("%s: Allow %v lacks %s", path, names, want)
					}
				}
				if slices.Contains(names, method) {
					t.Errorf("%s: Allow %v has %s", path, names, method)
				}
			}
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{usersPath, u.path(), "/openapi.json", "/ai/admin/docs", "/livez"} {
			if a := s.do(t, "HEAD", path, ""); len(a.body) > 0 || a.status != 200 && a.status != 405 {
				t.Errorf("HEAD %s: %d with %d bytes", path, a.status, len(a.body))
			}
		}
	})
	t.Run("unknown paths", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{
			"/ai", "/ai/", "/ai/admin", "/ai/admin/", "/ai/admin/users/", "/ai/admin/user", "/ai/admin/Users", "/AI/admin/users",
			"/ai/admin/usersx", u.path() + "/", u.path() + "/x", u.path() + "/credentials", u.path() + "/credentials/", u.path() + "/history/",
			u.path() + "/credentials/openai/x", "/ai/admin/changes/", "/ai/admin/events/", "/openapi.yaml", "/openapi.json/", "/metrics", "/healthz",
			"/debug/pprof/", "/debug/vars", "/favicon.ico", "/.env", "/ai/admin/users//history", "//ai/admin/users", "/ai//admin/users",
			"/ai/admin/users/..", "/ai/admin/users/../users", "/ai/admin/./users", "/ai/admin/users/%2e%2e/users", "/ai/admin/users%2f" + u.ID,
			"/ai%2fadmin%2fusers", "/%00", "/ai/admin/users/%00", "/ai/admin/users/%ff", "/ai/admin/users/x", "/ai/admin/users/1",
			nobody, nobody + "x", usersPath + "/{" + u.ID + "}", usersPath + "/urn:uuid:" + u.ID, usersPath + "/" + strings.ReplaceAll(u.ID, "-", ""),
			usersPath + "/%20" + u.ID, usersPath + "/" + u.ID + "%20", usersPath + "/" + u.Tag, usersPath + "/" + strings.Repeat("x", 4000),
		} {
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				body := ""
				if method == "PUT" {
					body = `{"name":"N"}`
				}
				s.do(t, method, path, body).fails(t, http.StatusNotFound, "NOT_FOUND")
			}
		}
	})
	t.Run("an unknown user of every route", func(t *testing.T) {
		t.Parallel()
		for _, c := range [][2]string{{"GET", ""}, {"PUT", `{}`}, {"PATCH", `{}`}, {"DELETE", ""}} {
			s.do(t, c[0], nobody, c[1]).fails(t, http.StatusNotFound, "NOT_FOUND")
		}
		gone := s.create(t)
		s.do(t, "DELETE", gone.path(), "").is(t, http.StatusNoContent)
		for _, c := range [][2]string{{"GET", ""}, {"PUT", `{}`}, {"PATCH", `{"name":"N"}`}, {"DELETE", ""}} {
			s.do(t, c[0], gone.path(), c[1]).fails(t, http.StatusNotFound, "NOT_FOUND")
		}
	})
	t.Run("openapi.json", func(t *testing.T) {
		t.Parallel()
		a := s.do(t, "GET", "/openapi.json", "", "Authorization", "").is(t, http.StatusOK)
		text, err := openapitest.Document()
		must(t, err)
		var served, written any
		a.decode(t, &served)
		must(t, json.Unmarshal(text, &written))
		info := served.(map[string]any)["info"].(map[string]any)
		if version, ok := info["version"].(string); !ok || version == "" || version == "1.0" {
			t.Errorf("info.version is %v, not the service's", info["version"])
		}
		info["version"] = written.(map[string]any)["info"].(map[string]any)["version"]
		if !reflect.DeepEqual(served, written) {
			t.Error("what is served is not openapi.yaml")
		}
	})
}

// TestRawRequests sends what an HTTP client would not.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	address := strings.TrimPrefix(s.url, "http://")
	for _, text := range []string{
		"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://elsewhere/ai/admin/users HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /ai/admin/users?%zz=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminToken + "\r\n\r\n",
		"GET /ai/admin/users?a=%ff&b=%00;c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminToken + "\r\n\r\n",
		"GET /ai/admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminToken + "\r\nAuthorization: Bearer y\r\n\r\n",
		"POST /ai/admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminToken + "\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /ai/admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminToken + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
		"GET /ai/admin/users HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		"hello\r\n\r\n", "\x16\x03\x01\x00\x00",
	} {
		t.Run(clip(text), func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", address)
			must(t, err)
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprint(conn, text)
			if half, ok := conn.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil && response.StatusCode >= 500 && response.StatusCode != 501 && response.StatusCode != 505 {
				t.Errorf("status %d", response.StatusCode)
			}
			if strings.HasPrefix(text, "OPTIONS") && (err != nil || response.Header.Get("X-Request-Id") == "") {
				t.Errorf("%v, or no X-Request-Id: %v", err, response)
			}
			s.alive(t)
			s.do(t, "GET", "/livez", "").is(t, http.StatusOK)
		})
	}
}

// TestRequestIDs holds which ids are echoed: those that are safe in a header and a log.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, sane := range []string{"x", "req-1", "01936d2e-9c1d-7d62-8a3b-5c4e2f1a0b9d", "A.b_c-9", strings.Repeat("a", 64)} {
		for _, path := range []string{usersPath, "/livez", "/nope", nobody} {
			a := s.do(t, "GET", path, "", "X-Request-Id", sane)
			if got := a.header.Get("X-Request-Id"); got != sane {
				t.Errorf("%s: %q became %q", path, sane, got)
			}
		}
	}
	made := map[string]bool{}
	for _, insane := range []string{"", "a b", "a\tb", "é", "\x80", strings.Repeat("a", 5000), "<script>", `"`, "a\\b", "{\"x\":1}\"", "\u202e"} {
		a := s.do(t, "GET", usersPath, "", "X-Request-Id", insane)
		got := a.header.Get("X-Request-Id")
		if got == "" || got == insane || made[got] {
			t.Errorf("%q became %q", insane, got)
		}
		made[got] = true
	}
	if got := s.do(t, "GET", "/nope", "", "X-Request-Id", "in-problem").problem(t); got.RequestID != "in-problem" || got.Instance != "/nope" {
		t.Errorf("%+v", got)
	}
}

// TestCORS holds preflights, and that every answer carries the headers, errors included.
func TestCORS(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	preflight := func(path, origin, method, headers string) answer {
		return s.do(t, "OPTIONS", path, "", "Authorization", "", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	for path, methods := range map[string][]string{usersPath: {"GET", "POST"}, u.path(): {"GET", "PUT", "PATCH", "DELETE"},
		u.path() + "/history": {"GET"}, "/ai/admin/changes": {"GET"}, "/ai/admin/events": {"POST"}} {
		for _, method := range methods {
			a := preflight(path, allowedOrigin, method, "authorization,content-type,if-match,idempotency-key,x-request-id")
			if a.status != 200 && a.status != 204 {
				t.Errorf("%s %s: %d", method, path, a.status)
			}
			if a.header.Get("Access-Control-Allow-Origin") != allowedOrigin || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), method) ||
				!strings.Contains(strings.ToLower(a.header.Get("Access-Control-Allow-Headers")), "if-match") {
				t.Errorf("%s %s: %v", method, path, a.header)
			}
			if got := a.header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("credentials are allowed: %q", got)
			}
		}
	}
	for _, origin := range []string{"https://evil.example.com", "https://console.example.com.evil.example", "http://console.example.com", "null", "https://console.example.com:444"} {
		if got := preflight(usersPath, origin, "GET", "authorization").header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s is allowed: %q", origin, got)
		}
		if got := s.do(t, "GET", usersPath, "", "Origin", origin).header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s is allowed: %q", origin, got)
		}
	}
	for name, a := range map[string]answer{
		"200": s.do(t, "GET", usersPath, "", "Origin", allowedOrigin),
		"304": s.do(t, "GET", u.path(), "", "Origin", allowedOrigin, "If-None-Match", "*"),
		"400": s.do(t, "POST", usersPath, `{}`, "Origin", allowedOrigin),
		"401": s.do(t, "GET", usersPath, "", "Origin", allowedOrigin, "Authorization", ""),
		"403": s.do(t, "GET", usersPath, "", "Origin", allowedOrigin, "Authorization", "Bearer "+eventsToken),
		"404": s.do(t, "GET", "/nope", "", "Origin", allowedOrigin),
		"405": s.do(t, "PUT", usersPath, "", "Origin", allowedOrigin),
		"412": s.do(t, "PUT", u.path(), `{"name":"N"}`, "Origin", allowedOrigin, "If-Match", `"9"`),
		"413": s.do(t, "POST", usersPath, strings.Repeat(" ", 2<<20), "Origin", allowedOrigin),
		"415": s.do(t, "POST", usersPath, `{}`, "Origin", allowedOrigin, "Content-Type", "text/plain"),
	} {
		if got := fmt.Sprint(a.status); got != name {
			t.Errorf("status %s, want %s", got, name)
		}
		if got := a.header.Get("Access-Control-Allow-Origin"); got != allowedOrigin {
			t.Errorf("%s: Access-Control-Allow-Origin %q", name, got)
		}
		if vary := strings.Join(a.header.Values("Vary"), ","); !strings.Contains(vary, "Origin") {
			t.Errorf("%s: Vary %q", name, vary)
		}
		exposed := strings.ToLower(strings.Join(a.header.Values("Access-Control-Expose-Headers"), ","))
		for _, header := range []string{"etag", "link", "location", "x-request-id", "ce-replayed"} {
			if !strings.Contains(exposed, header) {
				t.Errorf("%s: a page cannot read %s: %q", name, header, exposed)
			}
		}
	}
}

// TestTwoOrigins holds that a request with more than one Origin line, in whatever order, is of no allowed origin.
func TestTwoOrigins(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const foreign = "https://evil.example"
	for _, origins := range [][]string{{allowedOrigin, foreign}, {foreign, allowedOrigin}, {allowedOrigin, allowedOrigin}, {foreign, foreign}} {
		for _, method := range []string{"GET", "OPTIONS", "POST"} {
			req := s.request(t, method, usersPath, "", "Access-Control-Request-Method", "GET")
			req.Header["Origin"] = origins
			for name := range s.doRequest(t, req, nil).header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s with %v: %s", method, origins, name)
				}
			}
		}
	}
}

// TestAcceptOfTheFeed holds that the weights of Accept count (RFC 9110, section 12.5.1).
func TestAcceptOfTheFeed(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "text/event-stream": "text/event-stream", "TEXT/Event-Stream": "text/event-stream", "text/*": "text/event-stream",
		"text/event-stream;q=0.5, application/json": "application/json", "application/json;q=0.5, text/event-stream": "text/event-stream",
		"text/event-stream;q=0, */*": "application/json", "text/*;q=0.1, application/*;q=0.2": "application/json", "text/html, text/event-stream;q=0.9, */*;q=0.1": "text/event-stream",
	} {
		a := s.do(t, "HEAD", "/ai/admin/changes", "", "Accept", accept).is(t, http.StatusOK)
		if got := a.header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}
