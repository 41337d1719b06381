// Package accessapi serves the check that gateways make, over the one decision of package access:
//
//	/ai/admin/authorize[/{provider}/…]         forward authorization, any method
//	POST /access/v1/evaluation, …/evaluations  OpenID AuthZEN Authorization API 1.0
//	GET /.well-known/authzen-configuration     its metadata
//
// [Handler.Serves] matches raw paths and comes before any multiplexer: one that cleans paths would
// redirect a gateway that appends its client's path, and the redirect would reach the end user.
//
// Handlers share nothing that changes but the limiter of log lines. An allowed check and a refusal
// are counted; only refusals are logged, at most one a second for each key.
package accessapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"aiadmin/pkg/access"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/body"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// Checker answers questions from what the database holds now.
type Checker interface {
	// Check answers questions in their order, up to the one that the semantic ends with. Errors
	// are of the kinds of package user: [user.Unavailable] while the database is away.
	Check(context.Context, []access.Question, access.Semantic) ([]access.Decision, error)
}

// Settings are the section `access` of config.yaml.
type Settings struct {
	// TokenOptional lets a key ask about itself without a gateway's token.
	TokenOptional bool
	// MaxAge is how long a gateway may cache an allowed check; 0 forbids it.
	MaxAge time.Duration
}

// Options of a Handler.
type Options struct {
	Checker  Checker
	Settings func() Settings
	// Authenticate judges the value of an Authorization header. Errors are of the kinds
	// [user.Unauthenticated] and [user.Unavailable].
	Authenticate func(ctx context.Context, authorization string) (auth.Caller, error)
	// Observe counts a check: the face that took it, and "allowed" or the reason of its refusal.
	Observe func(face, outcome string)
	Log     *slog.Logger
}

// Handler serves the routes of this package.
type Handler struct {
	options  Options
	bodies   *body.Budget
	refusals *limiter
}

// New makes a Handler.
func New(options Options) *Handler {
	return &Handler{options: options, bodies: body.NewBudget(body.OneChange, nil), refusals: newLimiter()}
}

const (
	authorizePath     = "/ai/admin/authorize"
	evaluationPath    = "/access/v1/evaluation"
	evaluationsPath   = "/access/v1/evaluations"
	configurationPath = "/.well-known/authzen-configuration"
)

// Serves says whether a request is for one of the routes here.
func (h *Handler) Serves(r *http.Request) bool {
	switch path := r.URL.EscapedPath(); path {
	case authorizePath, evaluationPath, evaluationsPath, configurationPath:
		return true
	default:
		return strings.HasPrefix(path, authorizePath+"/")
	}
}

// ServeHTTP implements [http.Handler], for the requests that [Handler.Serves] is true for.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.EscapedPath(); path {
	case evaluationPath, evaluationsPath:
		h.evaluate(w, r, path)
	case configurationPath:
		h.configuration(w, r)
	default:
		h.authorize(w, r, strings.TrimPrefix(path, authorizePath))
	}
}

// gateway is who asks.
type gateway struct {
	name string
	// reveals says whether credentials may be handed to it: never to a key that asks about itself.
	reveals bool
}

// identify judges a gateway's token.
func (h *Handler) identify(ctx context.Context, authorization string) (gateway, error) {
	caller, err := h.options.Authenticate(ctx, authorization)
	if err != nil {
		return gateway{}, err
	}
	if !caller.Can(auth.AccessCheck) {
		return gateway{name: caller.Name}, user.Errorf(user.Forbidden, "this needs the scope %s", auth.AccessCheck)
	}
	return gateway{name: caller.Name, reveals: caller.Can(auth.CredentialsRead)}, nil
}

// record counts a decision, and logs a refusal unless one of the same key was logged just now.
func (h *Handler) record(ctx context.Context, face string, by gateway, d *access.Decision) {
	if d.Allowed() {
		h.options.Observe(face, "allowed")
		return
	}
	h.options.Observe(face, string(d.Reason))
	attributes, about := []slog.Attr{slog.String("face", face), slog.String("gateway", by.name), slog.String("reason", string(d.Reason))}, ""
	if d.Subject != nil {
		about = d.Subject.ID.String()
		attributes = append(attributes, slog.String("user", about))
	}
	if d.Key != nil {
		about = d.Key.ID.String()
		attributes = append(attributes, slog.String("key", about))
	}
	h.logRefusal(ctx, by.name, about, attributes)
}

// logRefusal logs at most one refusal a second of what it is about: a key, else a user, else
// all that is unknown to one gateway.
func (h *Handler) logRefusal(ctx context.Context, gateway, about string, attributes []slog.Attr) {
	if about == "" {
		about = "unknown to " + gateway
	}
	if h.refusals.allow(about, time.Now()) {
		attributes = append(attributes, slog.String("requestId", request.Of(ctx).ID))
		h.options.Log.LogAttrs(ctx, slog.LevelInfo, "access refused", attributes...)
	}
}

// limiter lets one line a second through for each of the things that were logged last.
type limiter struct {
	mu   sync.Mutex
	last *simplelru.LRU[string, time.Time]
}

const limited = 4096 // things that are remembered

func newLimiter() *limiter {
	last, err := simplelru.NewLRU[string, time.Time](limited, nil)
	if err != nil {
		panic(err) // only a size below 1 can do that
	}
	return &limiter{last: last}
}

func (l *limiter) allow(about string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.last.Get(about); ok && now.Sub(last) < time.Second {
		return false
	}
	l.last.Add(about, now)
	return true
}

// refused is a refusal that needs no look at the database.
func refused(reason access.Reason) access.Decision {
	var d access.Decision
	d.Refuse(reason)
	return d
}

// logFailure logs a gateway whose token is refused, at most once a second.
func (h *Handler) logFailure(r *http.Request, by gateway, err error) {
	h.logRefusal(r.Context(), by.name, "", []slog.Attr{slog.String("face", "forward"), slog.String("gateway", by.name),
		slog.String("reason", string(user.KindOf(err))), slog.String("error", err.Error())})
}
