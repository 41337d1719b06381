package scimapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/body"
	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/scim"
	"aiadmin/pkg/scimapi"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
	"aiadmin/test/logtest"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// service is the whole service but its mounts, over a database of its own.
type service struct {
	*httptest.Server
	admin    *admin.Service
	store    *store.Store
	database string
	grants   atomic.Bool
	mu       sync.Mutex
	refusals []user.AuditEntry
	served   []scimapi.Served
	log      logtest.Buffer
}

// tokens are the callers by their token.
var tokens = map[string]auth.Caller{"scim": auth.NewCaller("okta", auth.SCIM), "reader": auth.NewCaller("reader", auth.UsersRead),
	"writer": auth.NewCaller("writer", auth.UsersWrite, auth.UsersRead), "admin": auth.NewCaller("root", auth.Admin)}

func start(t testing.TB) *service {
	t.Helper()
	return startOn(t, pgtest.Database(t))
}

func startOn(t testing.TB, url string) *service {
	t.Helper()
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := vault.ParseKeyRing(map[string]string{"one": vault.NewKey().Reveal(), "PRIMARY": "one"})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{store: db, database: url}
	log := slog.New(slog.NewJSONHandler(&s.log, nil))
	s.admin = admin.New(db, keys, admin.Retention{}, admin.Options{Log: log})
	var api *httpapi.API
	gate := httpapi.NewGate(0)
	provisioning := scimapi.New(scimapi.Options{Admin: s.admin, Authorize: func(r *http.Request, scopes ...auth.Scope) (auth.Caller, error) { return api.Authorize(r, scopes...) },
		Enter: gate.Enter, Users: body.NewBudget(body.OneChange, gate.Enter), Groups: body.NewBudget(body.Limits{Most: 8 << 20, Total: 16 << 20, Reserved: 2}, gate.Enter),
		GrantAdmin: s.grants.Load, Log: log,
		Audit: func(_ context.Context, r user.AuditEntry) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refusals = append(s.refusals, r)
			return nil
		},
		Observe: func(served scimapi.Served) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.served = append(s.served, served)
		}})
	api = httpapi.New(httpapi.Options{Admin: s.admin, SCIM: provisioning, Log: log,
		Authenticate: func(_ context.Context, header string) (auth.Caller, error) {
			token, _ := strings.CutPrefix(header, "Bearer ")
			caller, ok := tokens[token]
			switch {
			case header == "":
				return caller, auth.ErrMissing
			case !ok:
				return caller, auth.ErrUnauthenticated
			}
			return caller, nil
		},
		Ready:       func(context.Context) (string, error) { return "", nil },
		AppendEvent: func(dst []byte, e user.Event) []byte { return append(dst, e.Data...) }}, httpapi.CORS{})
	s.Server = httptest.NewServer(api)
	t.Cleanup(s.Close)
	return s
}

// answer is what came back.
type answer struct {
	call   string
	status int
	header http.Header
	text   string
	body   map[string]any // nil for none
}

// ask sends a request below /scim/v2 as an identity provider; headers are name, value, ….
func (s *service) ask(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	return s.askAt(t, method, scimapi.Base+path, body, headers...)
}

func (s *service) askAt(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, s.URL+strings.ReplaceAll(path, " ", "%20"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer scim")
	if body != "" {
		request.Header.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	received, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{call: method + " " + path, status: response.StatusCode, header: response.Header, text: string(received)}
	if len(received) > 0 {
		if err := json.Unmarshal(received, &a.body); err != nil {
			t.Fatalf("%s: %v: %s", a.call, err, received)
		}
		if kind := a.header.Get("Content-Type"); strings.HasPrefix(path, "/scim") && kind != "application/scim+json" {
			t.Errorf("%s: Content-Type %q", a.call, kind)
		}
	}
	return a
}

// is checks the status.
func (a answer) is(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s → %d, want %d: %.800s", a.call, a.status, status, a.text)
	}
	return a
}

// fails checks an error's status and scimType.
func (a answer) fails(t testing.TB, status int, kind string) answer {
	t.Helper()
	a.is(t, status)
	got, _ := a.body["scimType"].(string)
	if got != kind || a.body["status"] != fmt.Sprint(status) || a.body["detail"] == "" || fmt.Sprint(a.body["schemas"]) != "["+scim.ErrorURN+"]" {
		t.Errorf("%s: %s, want scimType %q", a.call, a.text, kind)
	}
	return a
}

// at returns the value at a path such as name.givenName or emails.0.value; nil when there is none.
func (a answer) at(path string) any {
	var value any = a.body
	for name := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[strings.ReplaceAll(name, "|", ".")]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// has checks the value at a path, written as JSON.
func (a answer) has(t testing.TB, path, want string) answer {
	t.Helper()
	got, err := json.Marshal(a.at(path))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s: %s is %s, want %s in %s", a.call, path, got, want, a.text)
	}
	return a
}

func (a answer) id(t testing.TB) string {
	t.Helper()
	id, _ := a.body["id"].(string)
	if _, err := uuid.Parse(id); err != nil {
		t.Fatalf("%s: no id in %s", a.call, a.text)
	}
	return id
}

const (
	userURN       = "urn:ietf:params:scim:schemas:core:2|0:User"
	coreURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	ourURN        = "urn:ietf:params:scim:schemas:extension:ai-admin:2.0:User"
)

// dotted writes a URN for [answer.at].
func dotted(urn string) string { return strings.ReplaceAll(urn, ".", "|") }

func userBody(userName string, more ...string) string {
	return `{"schemas":["` + coreURN + `"],"userName":"` + userName + `"` + strings.Join(append([]string{""}, more...), ",") + `}`
}

func groupBody(name string, members ...string) string {
	list := make([]string, len(members))
	for i, id := range members {
		list[i] = `{"value":"` + id + `"}`
	}
	return `{"schemas":["` + groupURN + `"],"displayName":"` + name + `","members":[` + strings.Join(list, ",") + `]}`
}

func patchBody(operations ...string) string {
	return `{"schemas":["` + scim.PatchOpURN + `"],"Operations":[` + strings.Join(operations, ",") + `]}`
}

func (s *service) user(t testing.TB, userName string, more ...string) string {
	t.Helper()
	return s.ask(t, "POST", "/Users", userBody(userName, more...)).is(t, 201).id(t)
}

func (s *service) group(t testing.TB, name string, members ...string) string {
	t.Helper()
	return s.ask(t, "POST", "/Groups", groupBody(name, members...)).is(t, 201).id(t)
}

// TestEventsCarryTheTrace: the changes of users and groups go on under the provider's trace, request and name.
func TestEventsCarryTheTrace(t *testing.T) {
	t.Parallel()
	s := start(t)
	trace := "0af7651916cd43dd8448eb211c80319c"
	headers := []string{"Traceparent", "00-" + trace + "-b7ad6b7169203331-01", "X-Request-Id", "r1"}
	one := s.ask(t, "POST", "/Users", userBody("a"), headers...).is(t, 201).id(t)
	s.ask(t, "POST", "/Groups", `{"schemas":["`+groupURN+`"],"displayName":"G","members":[{"value":"`+one+`"}]}`, headers...).is(t, 201)
	var changes user.ChangesPage
	eventually(t, "the feed has both", func() bool { // once older transactions, of other tests as well, are over
		changes, _ = s.admin.Changes(t.Context(), "", 10)
		return len(changes.Entries) == 2
	})
	for _, e := range changes.Entries {
		if !strings.Contains(e.TraceParent, trace) || e.Cause != "r1" || e.Actor == "" {
			t.Errorf("%s has the trace %q, the cause %q and the actor %q", e.Type, e.TraceParent, e.Cause, e.Actor)
		}
	}
}

// native makes a user by the native API.
func (s *service) native(t testing.TB, body string) string {
	t.Helper()
	return s.askAt(t, "POST", "/ai/admin/users", body, "Authorization", "Bearer writer", "Content-Type", "application/json").is(t, 201).id(t)
}

// eventually waits for what happens a moment later.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// problemOf is how an error is answered.
func problemOf(t testing.TB, err error) answer {
	t.Helper()
	api := scimapi.New(scimapi.Options{})
	w := httptest.NewRecorder()
	api.Problem(w, httptest.NewRequest(http.MethodGet, scimapi.Base+"/Users", nil), err)
	a := answer{call: "an error", status: w.Code, header: w.Header(), text: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
		t.Fatal(err)
	}
	return a
}

func jsonText(s string) string { return mustJSON(s) }

func mustJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a value of a test always encodes
	}
	return string(text)
}
