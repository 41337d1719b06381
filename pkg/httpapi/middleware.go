package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/cors"
	"go.opentelemetry.io/otel/trace"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
)

// logged gives every request its id, and writes its line when it has been answered.
func (a *API) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := &request.Info{ID: requestID(r.Header.Get("X-Request-Id")), Route: "unknown", Started: time.Now(), AnswerTime: a.options.AnswerTimeout, Severity: slog.LevelError}
		w.Header().Set("X-Request-Id", known.ID)
		answer := &request.Recorder{ResponseWriter: w}
		ctx, span := a.options.Tracer.Server(tracing.Extract(r.Context(), r.Header), "request")
		defer span.End()
		r = r.WithContext(request.With(ctx, known))
		defer a.report(r, known, answer)
		next.ServeHTTP(answer, r)
	})
}

// statusClientGone is what the log line says when the client went away; nobody reads an answer.
const statusClientGone = 499

func (a *API) report(r *http.Request, known *request.Info, answer *request.Recorder) {
	took := time.Since(known.Started)
	status := cmp.Or(answer.Status, http.StatusOK)
	if request.Abandoned(r, known.Failure) {
		status = statusClientGone
	}
	if a.options.Observe != nil {
		a.options.Observe(Served{r.Method, known.Route, status, took, tracing.SampledID(r.Context())})
	}
	if known.Quiet && status < 500 {
		return
	}
	tracing.Answered(trace.SpanFromContext(r.Context()), r.Method, known.Route, status)
	level := slog.LevelInfo
	if status >= 500 && status != http.StatusNotImplemented { // which is no fault of the service's
		level = known.Severity
	}
	attributes := []slog.Attr{slog.String("requestId", known.ID), slog.String("method", r.Method),
		slog.String("route", known.Route), slog.Int("status", status), slog.String("duration", took.Round(time.Microsecond).String()),
		slog.Int64("bytes", answer.Bytes), slog.String("actor", known.Actor)}
	attributes = append(attributes, known.Revealed...)
	if known.Failure != nil {
		attributes = append(attributes, slog.String("error", known.Failure.Error()))
	}
	ctx := r.Context()
	if known.Traced != nil {
		ctx = known.Traced
	}
	a.options.Log.LogAttrs(ctx, level, "request", attributes...)
}

// requestID keeps an id that the request brought when it is sane: it ends up in logs and
// headers of ours.
func requestID(brought string) string {
	if len(brought) < 1 || len(brought) > 128 {
		return uuid.NewString()
	}
	for _, c := range []byte(brought) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' {
			return uuid.NewString()
		}
	}
	return brought
}

// recovered turns a panic into an internal error: one request's fault ends no other's.
func (a *API) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(fault)
			}
			a.options.Log.ErrorContext(r.Context(), "panic", "requestId", request.Of(r.Context()).ID, "stack", string(debug.Stack()))
			err := fmt.Errorf("panic: %v", fault)
			if answer, ok := w.(*request.Recorder); ok && answer.Status != 0 {
				// An answer has begun: cut it off, or the client would take half of one for whole.
				request.Of(r.Context()).Failure = err
				panic(http.ErrAbortHandler)
			}
			a.Problem(w, r, err)
		}()
		next.ServeHTTP(w, r)
	})
}

// deadline ends a request's work in time, and the reading of a body that trickles in.
func (a *API) deadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.options.Timeout)
		defer cancel()
		now := time.Now()
		control := http.NewResponseController(w) // not all writers of tests have deadlines
		if r.Body != http.NoBody {               // what is not read cannot trickle in, and the call costs a microsecond
			// A connection's read that times out cancels the request as a client that goes away
			// would: the request's own deadline must come first.
			_ = control.SetReadDeadline(now.Add(min(a.options.BodyTimeout, a.options.Timeout+readGrace)))
		}
		_ = control.SetWriteDeadline(now.Add(a.options.Timeout + writeGrace))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

const readGrace = 250 * time.Millisecond

// writeGrace is the time to write the answer that says that time is up.
const writeGrace = 5 * time.Second

// Authorize checks who is calling, and that they have one of the scopes. Refusals are audited.
func (a *API) Authorize(r *http.Request, scopes ...auth.Scope) (auth.Caller, error) {
	caller, err := a.mayCall(r, scopes...)
	request.Of(r.Context()).Actor = caller.Name
	if err != nil {
		a.AuditRefusal(r, scopes[0], err)
	}
	return caller, err
}

// mayCall returns who sends a request, and refuses whoever has none of the scopes. Errors are [user.Error]s and the
// context's.
func (a *API) mayCall(r *http.Request, scopes ...auth.Scope) (auth.Caller, error) {
	// Joined, so that of two headers neither is taken for the caller's: the whole is no token.
	caller, err := Identify(r.Context(), a.options.Authenticate, strings.Join(r.Header.Values("Authorization"), ", "))
	if err == nil && !slices.ContainsFunc(scopes, caller.Can) {
		err = user.Errorf(user.Forbidden, "this needs the scope %s", scopes[0])
	}
	return caller, err
}

// Identify says who sends the value of an Authorization header. Errors are of the kinds
// [user.Unauthenticated] and [user.Unavailable], or the context's.
func Identify(ctx context.Context, authenticate func(context.Context, string) (auth.Caller, error), authorization string) (auth.Caller, error) {
	caller, err := authenticate(ctx, authorization)
	switch {
	case err == nil: // also if the client has closed its half of the connection meanwhile
	case errors.Is(err, auth.ErrMissing):
		err = user.Errorf(user.Unauthenticated, "send a bearer token in the Authorization header").Wrap(err)
	case errors.Is(err, auth.ErrExpired):
		err = user.Errorf(user.Unauthenticated, "the bearer token has expired: get a new one").Wrap(err)
	case errors.Is(err, auth.ErrUnauthenticated):
		err = user.Errorf(user.Unauthenticated, "the bearer token is not valid").Wrap(err)
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = user.Errorf(user.Unavailable, "the token cannot be checked at present: try again shortly").Wrap(err)
	}
	return caller, err
}

// CORS says which pages of other origins may call (WHATWG Fetch, section 3.2).
type CORS struct {
	AllowedOrigins   []string
	AllowCredentials bool
}

// corsMethods are those that a page may use. OPTIONS is not among them: it asks for the rules.
var corsMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// UseCORS makes other rules apply from now on.
func (a *API) UseCORS(rules CORS) {
	options := cors.Options{
		AllowedOrigins:   rules.AllowedOrigins,
		AllowCredentials: rules.AllowCredentials,
		AllowedMethods:   corsMethods,
		AllowedHeaders:   []string{"*"},
		ExposedHeaders: []string{"ETag", "Link", "Location", "X-Request-Id", "Idempotency-Replayed", "Retry-After",
			"WWW-Authenticate", "Allow", "Accept-Patch", "ce-id", "ce-type", "ce-source", "ce-subject", "ce-time", "ce-specversion",
			"ce-dataschema", "ce-sequence", "ce-partitionkey", "ce-causationid", "ce-actor", "ce-traceparent", "ce-replayed"},
		MaxAge: 600,
	}
	if len(rules.AllowedOrigins) == 0 { // the library would read an empty list as all
		options.AllowOriginFunc = func(string) bool { return false }
	}
	a.cors.Store(cors.New(options))
}

// withCORS adds the CORS headers. A request with more than one Origin line gets none: the
// library would look at the first and answer with all of them. For a method that is not allowed it would
// leave the headers out, but the refusal is an answer like any other: the library is shown a GET.
func (a *API) withCORS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Origin"]) > 1 {
			w.Header().Add("Vary", "Origin")
			next.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodOptions && !slices.Contains(corsMethods, r.Method) {
			get := *r
			get.Method = http.MethodGet
			a.cors.Load().HandlerFunc(w, &get)
			next.ServeHTTP(w, r)
			return
		}
		a.cors.Load().Handler(next).ServeHTTP(w, r)
	})
}

// fissionCompat serves requests as the Fission router sends them: it rewrites the path to
// "/" and tells the original in headers. Only a path that names no user is restored, so
// that the headers cannot lead a request for one user to another. A CloudEvent is addressed to "/" itself.
func fissionCompat(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if restored := originalURL(r); restored != nil {
			clone := *r
			clone.URL = restored
			r = &clone
		}
		next.ServeHTTP(w, r)
	})
}

// originalURL is the URL before the router's rewriting, nil when there was none.
func originalURL(r *http.Request) *url.URL {
	full, id := r.Header.Get("X-Fission-Full-Url"), r.Header.Get("X-Fission-Params-Userid")
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path != "" && path != usersPath || full == "" && id == "" || path == "" && isEvent(r.Header) {
		return nil
	}
	restored := &url.URL{Path: usersPath, RawQuery: r.URL.RawQuery}
	if original, err := url.Parse(full); err == nil && strings.HasPrefix(original.Path, "/ai/admin/") {
		restored.Path, restored.RawPath = strings.TrimSuffix(original.Path, "/"), strings.TrimSuffix(original.RawPath, "/")
		if restored.RawQuery == "" {
			restored.RawQuery = original.RawQuery
		}
	}
	if id != "" && restored.Path == usersPath {
		restored.Path, restored.RawPath = restored.Path+"/"+id, restored.Path+"/"+url.PathEscape(id)
	}
	return restored
}

// isEvent reports whether a request brings CloudEvents, in any of the three content modes.
func isEvent(h http.Header) bool {
	return len(h["Ce-Specversion"]) > 0 || strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/cloudevents")
}
