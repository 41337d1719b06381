package scimapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// Base is the path that everything is below.
const Base = "/scim/v2"

// Serves reports whether a path is SCIM's, and so are its errors.
func (a *API) Serves(path string) bool { return path == "/scim" || strings.HasPrefix(path, "/scim/") }

// Admin is what the endpoints need of the service.
type Admin interface {
	Apply(context.Context, user.Command) (user.Outcome, error)
	ApplyGroup(context.Context, user.GroupCommand) (user.GroupOutcome, error)
	Get(context.Context, user.Ref) (*user.User, error)
	Group(context.Context, uuid.UUID) (*user.Group, error)
	SearchUsers(context.Context, scim.Query) (scim.Page[*user.User], error)
	SearchGroups(context.Context, scim.Query) (scim.Page[*user.Group], error)
	MembersOf(ctx context.Context, groups []uuid.UUID, most int64) (map[uuid.UUID][]user.GroupMember, error)
	SealCursor(text string) (string, error)
	OpenCursor(cursor string) (text string, ok bool)
}

// Bodies reads the bodies of requests into bounded memory and then waits for a place among the requests worked on;
// leave gives both back.
type Bodies interface {
	Read(w http.ResponseWriter, r *http.Request) (body []byte, leave func(), err error)
}

// Options of an API.
type Options struct {
	Admin Admin
	// Authorize checks who is calling, and that they have one of the scopes. Its errors are [user.Error]s.
	Authorize func(r *http.Request, scopes ...auth.Scope) (auth.Caller, error)
	// Enter waits for a place among the requests worked on, which leave gives back.
	Enter func(context.Context) (leave func(), err error)
	// Users and Groups read bodies of at most 1 MiB and 8 MiB.
	Users, Groups Bodies
	// GrantAdmin reports whether a provider may make, suspend and delete admins.
	GrantAdmin func() bool
	// Audit records a change that was refused for want of that right.
	Audit func(context.Context, user.AuditEntry) error
	// Observe is called for every answered request, for metrics; it may be nil.
	Observe func(Served)
	Log     *slog.Logger
}

// Served is an answered request, as metrics see it.
type Served struct {
	Operation string // such as users.patch
	Provider  string // by the user agent: entra, okta, google, onelogin, jumpcloud or other
	Status    int
	Duration  time.Duration
}

// API serves SCIM.
type API struct {
	options Options
	large   chan struct{} // see largeAnswers
}

// largeAnswers bounds the answers with members that are composed at once: one of a group with 50,000 members may
// take 30 MiB.
const largeAnswers = 2

// New makes an API.
func New(options Options) *API {
	return &API{options: options, large: make(chan struct{}, largeAnswers)}
}

// exchange is one request and its answer.
type exchange struct {
	*API
	w       http.ResponseWriter
	r       *http.Request
	caller  auth.Caller
	base    string // the URL of [Base]
	segment string // of the path, after the endpoint: an id or a name
}

// operation is what a method of a path does.
type operation struct {
	name  string
	reads bool // the scope users:read suffices
	waits bool // for a place among the requests worked on; what takes a body waits once the body has arrived
	serve func(*exchange) error
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	answer := &request.Recorder{ResponseWriter: w}
	route, segment, methods := a.route(r.URL.Path)
	x := &exchange{API: a, w: answer, r: r, base: request.Base(r) + Base, segment: segment}
	request.Of(r.Context()).Describe(route, "", false)
	name, err := x.dispatch(methods)
	if err != nil {
		a.Problem(answer, r, err)
	}
	if a.options.Observe != nil {
		a.options.Observe(Served{Operation: name, Provider: provider(r.UserAgent()), Status: cmp.Or(answer.Status, http.StatusOK), Duration: time.Since(begun)})
	}
}

// dispatch authorizes the request and carries out its operation.
func (x *exchange) dispatch(methods map[string]operation) (name string, err error) {
	method := x.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok := methods[method]
	if !ok {
		op, ok = methods["*"]
	}
	scopes := []auth.Scope{auth.SCIM}
	if op.reads || !ok {
		scopes = append(scopes, auth.UsersRead)
	}
	name = cmp.Or(op.name, "unknown")
	if x.caller, err = x.options.Authorize(x.r, scopes...); err != nil {
		return name, err
	}
	switch {
	case methods == nil:
		return name, scim.StatusError(http.StatusNotFound, "there is no such endpoint: see %s/ResourceTypes", x.base)
	case !ok:
		allow := allowed(methods)
		x.w.Header().Set("Allow", allow)
		return name, scim.StatusError(http.StatusMethodNotAllowed, "this endpoint takes %s", allow)
	}
	if op.waits {
		leave, err := x.options.Enter(x.r.Context())
		if err != nil {
			return name, err
		}
		defer leave()
	}
	return name, op.serve(x)
}

// route returns the pattern of a path, what follows its endpoint, and the operations by method. Without operations
// there is no such path.
func (a *API) route(path string) (pattern, segment string, methods map[string]operation) {
	rest, ok := strings.CutPrefix(strings.TrimRight(path, "/"), Base)
	if !ok || rest != "" && rest[0] != '/' {
		return "unknown", "", nil
	}
	pattern = strings.TrimPrefix(rest, "/")
	if endpoint, after, nested := strings.Cut(pattern, "/"); nested && (after == "{id}" || routes[pattern] == nil) {
		pattern, segment = endpoint+"/{id}", after
	}
	if methods = routes[pattern]; methods == nil || strings.Contains(segment, "/") {
		return "unknown", "", nil
	}
	return strings.TrimSuffix(Base+"/"+pattern, "/"), segment, methods
}

// routes are the operations by path below [Base] and method; "*" stands for any method.
var routes = map[string]map[string]operation{
	"":        {"GET": {"root.list", true, true, list(userType, groupType)}},
	".search": {"POST": {"root.search", true, false, search(userType, groupType)}},
	"Users": {
		"GET":  {"users.list", true, true, list(userType)},
		"POST": {"users.create", false, false, (*exchange).createUser},
	},
	"Users/.search": {"POST": {"users.search", true, false, search(userType)}},
	"Users/{id}": {
		"GET":    {"users.get", true, true, (*exchange).getUser},
		"PUT":    {"users.replace", false, false, (*exchange).replaceUser},
		"PATCH":  {"users.patch", false, false, (*exchange).patchUser},
		"DELETE": {"users.delete", false, true, (*exchange).deleteUser},
	},
	"Groups": {
		"GET":  {"groups.list", true, true, list(groupType)},
		"POST": {"groups.create", false, false, (*exchange).createGroup},
	},
	"Groups/.search": {"POST": {"groups.search", true, false, search(groupType)}},
	"Groups/{id}": {
		"GET":    {"groups.get", true, true, (*exchange).getGroup},
		"PUT":    {"groups.replace", false, false, (*exchange).replaceGroup},
		"PATCH":  {"groups.patch", false, false, (*exchange).patchGroup},
		"DELETE": {"groups.delete", false, true, (*exchange).deleteGroup},
	},
	"ServiceProviderConfig": {"GET": {"discovery", true, false, (*exchange).serviceProviderConfig}},
	"ResourceTypes":         {"GET": {"discovery", true, false, (*exchange).resourceTypes}},
	"ResourceTypes/{id}":    {"GET": {"discovery", true, false, (*exchange).resourceTypes}},
	"Schemas":               {"GET": {"discovery", true, false, (*exchange).schemas}},
	"Schemas/{id}":          {"GET": {"discovery", true, false, (*exchange).schemas}},
	"Bulk":                  {"*": {"bulk", true, false, notImplemented}},
	"Bulk/{id}":             {"*": {"bulk", true, false, notImplemented}},
	"Me":                    {"*": {"me", true, false, notImplemented}},
	"Me/{id}":               {"*": {"me", true, false, notImplemented}},
}

func allowed(methods map[string]operation) string {
	var names []string
	for _, method := range []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} {
		if _, ok := methods[method]; ok || method == "HEAD" && methods["GET"].serve != nil {
			names = append(names, method)
		}
	}
	return strings.Join(names, ", ")
}

func notImplemented(*exchange) error {
	return scim.StatusError(http.StatusNotImplemented, "/Bulk and /Me are not supported: see ServiceProviderConfig")
}

// provider names the identity provider by its user agent. The names are few, since they label metrics.
func provider(userAgent string) string {
	agent := strings.ToLower(userAgent)
	for _, known := range []struct{ part, name string }{{"okta", "okta"}, {"google", "google"}, {"onelogin", "onelogin"}, {"jumpcloud", "jumpcloud"},
		{"azure", "entra"}, {"microsoft", "entra"}, {"entra", "entra"}, {"aad", "entra"}} {
		if strings.Contains(agent, known.part) {
			return known.name
		}
	}
	return "other"
}

// Problem answers an error (RFC 7644, section 3.12).
func (a *API) Problem(w http.ResponseWriter, r *http.Request, err error) {
	request.Of(r.Context()).Failure = err
	if errors.Is(err, context.DeadlineExceeded) {
		err = user.Errorf(user.Timeout, "the request took too long: try again").Wrap(err)
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		w.WriteHeader(http.StatusServiceUnavailable) // nobody reads it
		return
	}
	e := scim.ErrorOf(err)
	header := w.Header()
	switch e.Status {
	case http.StatusUnauthorized:
		challenge := `Bearer realm="ai-admin"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		header.Set("WWW-Authenticate", challenge)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusGatewayTimeout:
		header.Set("Retry-After", "3")
	}
	header.Del("ETag")
	header.Del("Location")
	write(w, e.Status, e.Object().Append(nil))
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/scim+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has left reads no error either
}
