package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// endpoint serves one method of a route.
type endpoint struct {
	scope auth.Scope // empty: open to all
	serve func(http.ResponseWriter, *http.Request) error
	// waits says that the endpoint works inside the [Gate]. One that takes a body enters it by
	// itself, once the body has arrived.
	waits bool
}

// routes lists every path with its methods: all that the service answers.
func (a *API) routes() map[string]map[string]endpoint {
	const users, one = "/ai/admin/users", "/ai/admin/users/{UserID}"
	probes := map[string]map[string]endpoint{
		"/livez":  {"GET": {"", a.livez, false}},
		"/readyz": {"GET": {"", a.readyz, false}},
	}
	if a.options.Admin == nil {
		return probes
	}
	routes := map[string]map[string]endpoint{
		users: {
			"GET":  {auth.UsersRead, a.list, true},
			"POST": {auth.UsersWrite, a.create, false},
		},
		users + "/import": {"POST": {auth.UsersWrite, a.importUsers, false}},
		one: {
			"GET":    {auth.UsersRead, a.get, true},
			"PUT":    {auth.UsersWrite, a.put, false},
			"PATCH":  {auth.UsersWrite, a.patch, false},
			"DELETE": {auth.UsersWrite, a.delete, true},
		},
		one + "/credentials/{provider}": {"GET": {auth.CredentialsRead, a.reveal, true}},
		one + "/history":                {"GET": {auth.UsersRead, a.history, true}},
		one + "/keys": {
			"GET":    {auth.UsersRead, a.listKeys, true},
			"POST":   {auth.KeysWrite, a.issueKey, false},
			"DELETE": {auth.KeysWrite, a.revokeKeys, true},
		},
		one + "/keys/{KeyID}": {
			"GET":    {"", a.getKey, true}, // two scopes allow it
			"PATCH":  {auth.KeysWrite, a.patchKey, false},
			"DELETE": {auth.KeysWrite, a.revokeKey, true},
		},
		one + "/keys/{KeyID}/rotate":      {"POST": {auth.KeysWrite, a.rotateKey, false}},
		"/ai/admin/keys":                  {"GET": {auth.UsersRead, a.findKeys, true}},
		"/ai/admin/changes":               {"GET": {auth.UsersRead, a.changes, false}},
		"/openapi.json":                   {"GET": {"", a.serveOpenAPI, false}},
		"/ai/admin/docs":                  {"GET": {"", a.serveReference, false}},
		"/ai/admin/audit":                 {"GET": {auth.AuditRead, a.auditLog, true}},
		"/ai/admin/history":               {"GET": {auth.AuditRead, a.log, true}},
		groupsPath:                        {"GET": {auth.UsersRead, a.listGroups, true}},
		groupsPath + "/{GroupID}":         {"GET": {auth.UsersRead, a.getGroup, true}},
		groupsPath + "/{GroupID}/members": {"GET": {auth.UsersRead, a.listMembers, true}},
	}
	maps.Copy(routes, probes)
	if a.options.Events != nil {
		events := map[string]endpoint{"POST": {auth.EventsSend, plain(a.options.Events), false}}
		routes["/ai/admin/events"], routes["/{$}"] = events, events
	}
	if a.options.Schemas != nil {
		routes["/ai/admin/schemas/{name}"] = map[string]endpoint{"GET": {"", plain(a.options.Schemas), false}}
	}
	return routes
}

func plain(h http.Handler) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

func (a *API) mux() http.Handler {
	mux := http.NewServeMux()
	for pattern, methods := range a.routes() {
		mux.Handle(pattern, a.dispatch(pattern, methods))
	}
	mux.HandleFunc("/", a.noRoute)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.mounted(r) {
			a.options.SCIM.ServeHTTP(w, r)
			return
		}
		if unclean(r.URL.Path) && unclean(r.URL.EscapedPath()) { // an encoded slash is part of a name
			a.noRoute(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// mounted reports whether the request, and its errors, are another API's.
func (a *API) mounted(r *http.Request) bool {
	return a.options.SCIM != nil && a.options.SCIM.Serves(r.URL.Path)
}

// unclean says whether ServeMux would redirect a path: one with // or .. in it is no route
// of ours, and a redirect would lose the body.
func unclean(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path, "/.") || !strings.HasPrefix(path, "/")
}

func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	a.Problem(w, r, user.Errorf(user.NotFound, "no such route: GET /openapi.json lists them all"))
}

// dispatch picks the method's endpoint, checks who is calling and what they may do, and
// answers what the endpoint returns as an error.
func (a *API) dispatch(pattern string, methods map[string]endpoint) http.Handler {
	allow := allowed(methods)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request.Of(r.Context()).Route = strings.TrimSuffix(pattern, "{$}")
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		e, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", allow)
			a.Problem(w, r, user.Errorf(user.MethodNotAllowed, "this route takes %s", allow))
			return
		}
		if err := a.serve(w, r, e); err != nil {
			a.Problem(w, r, err)
		}
	})
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, e endpoint) error {
	if e.scope != "" {
		if _, err := a.Authorize(r, e.scope); err != nil {
			return err
		}
	}
	if e.waits {
		leave, err := a.options.Gate.Enter(r.Context())
		if err != nil {
			return err
		}
		defer leave()
	}
	return e.serve(w, r)
}

func allowed(methods map[string]endpoint) string {
	names := slices.Collect(maps.Keys(methods))
	if _, ok := methods["GET"]; ok {
		names = append(names, "HEAD")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
