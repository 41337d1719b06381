package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/cors"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/body"
	"aiadmin/pkg/gather"
	"aiadmin/pkg/request"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
)

// Admin is what the routes need of the service.
type Admin interface {
	Apply(context.Context, user.Command) (user.Outcome, error)
	Get(context.Context, user.Ref) (*user.User, error)
	List(context.Context, user.Query) (user.Page, error)
	Reveal(ctx context.Context, id uuid.UUID, provider string, entry user.AuditEntry) (secret.Text, error)
	History(ctx context.Context, id uuid.UUID, cursor string, limit int) (user.HistoryPage, error)
	Group(ctx context.Context, id uuid.UUID) (*user.Group, error)
	Groups(ctx context.Context, cursor string, limit int) (groups []*user.Group, next string, err error)
	Members(ctx context.Context, group uuid.UUID, cursor string, limit int) (members []user.GroupMember, next string, err error)
	Changes(ctx context.Context, cursor string, limit int) (user.ChangesPage, error)
	// Export yields all users that a query finds, of one state, and returns its cursor in the change feed.
	Export(ctx context.Context, q user.Query, yield func(*user.User) error) (cursor string, err error)
	// ApplyAll carries out commands in their order, each judged on its own. After an error, those that bring
	// a claim may be sent again.
	ApplyAll(context.Context, []user.Command) ([]user.Result, error)
	// DryRun returns what judges commands like ApplyAll, and changes nothing.
	DryRun() (applyAll func(context.Context, []user.Command) ([]user.Result, error), end func())
	// Audit returns once the entry is written, or counted.
	Audit(ctx context.Context, entry user.AuditEntry) error
	AuditLog(context.Context, user.AuditQuery) (user.AuditPage, error)
	Log(context.Context, user.LogQuery) (user.HistoryPage, error)
	Keys(context.Context, user.Ref) ([]user.ListedKey, error)
	Key(ctx context.Context, ref user.Ref, id uuid.UUID) (user.ListedKey, error)
	FindKeys(context.Context, user.KeyQuery) (user.KeyPage, error)
}

// Options of the routes.
type Options struct {
	Admin        Admin // nil serves probes and Access alone
	Authenticate func(ctx context.Context, authorization string) (auth.Caller, error)
	Log          *slog.Logger
	// Ready names the check that fails at present, with its reason; nil when all pass.
	Ready func(context.Context) (check string, err error)
	// Verbose adds to a verbose readiness report; nil adds nothing.
	Verbose func(context.Context) map[string]any
	// Events takes CloudEvents in, Schemas serves the JSON Schemas of events; a nil one has
	// no route.
	Events, Schemas http.Handler
	// Access serves the check that gateways make, apart from the other routes: paths are not
	// cleaned and CORS does not apply. Nil has no such routes.
	Access interface {
		http.Handler
		Serves(*http.Request) bool
	}
	// Console makes the handler of the pages under /ai/admin/console/, which are apart from the other routes:
	// CORS does not apply. It is given the routes, to call them for a page. Nil serves no pages.
	Console func(routes http.Handler) http.Handler
	// Cursor encodes a place in the change feed, for the streams. Nil serves pages alone.
	Cursor func(user.Place) string
	// AppendEvent appends an event as structured CloudEvents JSON.
	AppendEvent func(dst []byte, e user.Event) []byte
	// Observe is told of every answered request, for metrics; it may be nil.
	Observe func(Served)
	// Imported is told of the lines of each group of an import, by what became of them; it may be nil.
	Imported func(outcome string, lines int64)
	// Timeout ends a request; 0 is 300 s, which is also Knative's.
	Timeout time.Duration
	// BodyTimeout is the time for a request's body to arrive; 0 is 30 s.
	BodyTimeout time.Duration
	// AnswerTimeout is the time for a large answer to be taken, beside what it needs at
	// 2 Mbit/s; 0 is 30 s.
	AnswerTimeout time.Duration
	// Gate bounds the requests worked on at once; nil is one of 500 places.
	Gate *Gate
	// Version is what the service was built from, for the OpenAPI document.
	Version string
	// SCIM serves the paths that are its own, with its own errors; nil serves none of them.
	SCIM Mounted
	// Tracer makes spans of requests; nil makes none.
	Tracer *tracing.Tracer
	// FissionCompat serves requests by the headers of the router of the function replaced.
	FissionCompat bool
}

// Mounted is an API beside this one, which gives it the request's id, log line and deadline and keeps
// panics and other origins' pages from it. It authorizes requests by [API.Authorize], and tells what the log
// line says in [request.Info].
type Mounted interface {
	http.Handler
	Serves(path string) bool
	Problem(w http.ResponseWriter, r *http.Request, err error)
}

// Served is an answered request, as metrics see it: no id or tag of a user in it.
type Served struct {
	Method, Route string // the route's pattern, "unknown" for none
	Status        int
	Duration      time.Duration
	TraceID       string // empty: it belongs to none that is sampled
}

// API is the whole HTTP interface.
type API struct {
	http.Handler
	options   Options
	cors      atomic.Pointer[cors.Cors]
	denials   *rate.Limiter // of audit entries that are written one by one
	bodies    *body.Budget
	lists     gather.Shared[*page]
	pages     *semaphore.Weighted // see pageBudget
	streams   *streams
	exports   chan struct{}          // see exportsAtOnce
	imports   chan struct{}          // see importsAtOnce
	failing   atomic.Pointer[string] // the check that the last probe was told of
	openAPI   func() ([]byte, error) // the document as JSON
	reference func() (*reference, error)
}

// New composes the routes and what surrounds each of them, outermost first: the request's
// id and log line, protection from panics, CORS, the deadline.
func New(options Options, rules CORS) *API {
	options.Timeout = cmp.Or(options.Timeout, 300*time.Second)
	options.BodyTimeout = cmp.Or(options.BodyTimeout, 30*time.Second)
	options.AnswerTimeout = cmp.Or(options.AnswerTimeout, 30*time.Second)
	if options.Gate == nil {
		options.Gate = NewGate(0)
	}
	a := &API{options: options, denials: rate.NewLimiter(10, 600), pages: semaphore.NewWeighted(pageBudget), bodies: body.NewBudget(body.OneChange, options.Gate.Enter),
		streams: newStreams(), exports: make(chan struct{}, exportsAtOnce),
		imports: make(chan struct{}, importsAtOnce)}
	// Nothing that can wait is done before the service is ready.
	a.openAPI = sync.OnceValues(func() ([]byte, error) { return openAPIJSON(options.Version) })
	a.reference = sync.OnceValues(func() (*reference, error) { return newReference(options.Version) })
	a.UseCORS(rules)
	var h http.Handler = a.mux()
	if options.FissionCompat {
		h = fissionCompat(h)
	}
	h = a.withCORS(a.deadline(h))
	if options.Access != nil {
		h = a.withAccess(h)
	}
	if options.Console != nil {
		h = a.withConsole(h)
	}
	h = a.recovered(h)
	a.Handler = a.logged(h)
	return a
}

func (a *API) withAccess(next http.Handler) http.Handler {
	access := a.deadline(a.options.Access)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.options.Access.Serves(r) {
			access.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// consolePath is where the console's pages are.
const consolePath = "/ai/admin/console/"

func (a *API) withConsole(next http.Handler) http.Handler {
	pages := a.deadline(a.options.Console(a.mux()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path+"/", consolePath) {
			next.ServeHTTP(w, r)
			return
		}
		request.Of(r.Context()).Route = consolePath
		pages.ServeHTTP(w, r)
	})
}

// Problem answers an error with the status of its kind.
func (a *API) Problem(w http.ResponseWriter, r *http.Request, err error) {
	if a.mounted(r) {
		a.options.SCIM.Problem(w, r, err)
		return
	}
	request.Fail(w, r, request.Status(err), err)
}
