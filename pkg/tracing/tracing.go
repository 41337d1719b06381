// Package tracing continues W3C trace contexts and, where an OTLP endpoint is configured, sends spans to it.
//
// Without an endpoint no spans are made: a [Tracer] that is nil is one that makes none. The traceparent of
// a request or an event is carried on all the same, see [Extract] and [Parent]. Spans show routes, never
// paths or statements, which hold personal values.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Options of a Tracer.
type Options struct {
	Endpoint    string  // such as http://collector:4318; /v1/traces is added where there is no path
	SampleRatio float64 // of the traces that begin here, 0 to 1; others are sampled as their parents are
	Service     string
	Version     string
	Log         *slog.Logger
}

// Tracer makes spans and sends them. A nil Tracer makes none.
type Tracer struct {
	provider *trace.TracerProvider
	tracer   oteltrace.Tracer
}

// exportTime is how long the last spans may take when the service stops.
const exportTime = 3 * time.Second

// New makes a Tracer, or nil without an endpoint. It connects to nothing yet, and an endpoint that is away only
// costs its spans.
func New(o Options) (*Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil //nolint:nilnil // no endpoint, no tracer
	}
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, errors.New("tracing.endpoint must be a URL such as http://collector:4318")
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/v1/traces" // OTLP/HTTP, the default path for traces
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(endpoint.String()))
	if err != nil {
		return nil, err
	}
	if o.Log != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("spans cannot be sent", "error", err) }))
	}
	described := resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(described),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(o.SampleRatio))))
	return &Tracer{provider, provider.Tracer("aiadmin")}, nil
}

// Stop sends the spans that are left.
func (t *Tracer) Stop() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), exportTime)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// Provider makes spans for libraries. It is nil where there are none.
func (t *Tracer) Provider() oteltrace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Server begins the span of a request. Its name is the route, once that is known.
func (t *Tracer) Server(ctx context.Context, name string) (context.Context, oteltrace.Span) {
	return t.start(ctx, name, oteltrace.WithSpanKind(oteltrace.SpanKindServer))
}

// Client begins the span of a request to another service.
func (t *Tracer) Client(ctx context.Context, name string) (context.Context, oteltrace.Span) {
	return t.start(ctx, name, oteltrace.WithSpanKind(oteltrace.SpanKindClient))
}

// Consumer begins the span of an event that a request brought: it continues the event's trace, if it has one,
// and is linked to the request's.
func (t *Tracer) Consumer(ctx context.Context, name, traceParent string) (context.Context, oteltrace.Span) {
	event := WithParent(ctx, traceParent)
	if t == nil || event == ctx {
		return event, noop.Span{}
	}
	return t.start(event, name, oteltrace.WithSpanKind(oteltrace.SpanKindConsumer), oteltrace.WithLinks(oteltrace.LinkFromContext(ctx)))
}

// Shared begins the span of work that n requests wait for, on a context of its own. It is part of the
// first sampled one's trace, and linked to the others.
func (t *Tracer) Shared(ctx context.Context, name string, n int, request func(i int) context.Context) (_ context.Context, end func()) {
	if t == nil {
		return ctx, func() {}
	}
	var links []oteltrace.Link
	parent := ctx
	for i := range n {
		switch span := oteltrace.SpanContextFromContext(request(i)); {
		case !span.IsSampled():
		case parent == ctx:
			parent = oteltrace.ContextWithSpanContext(ctx, span)
		default:
			links = append(links, oteltrace.Link{SpanContext: span})
		}
	}
	if parent == ctx {
		return ctx, func() {}
	}
	ctx, span := t.start(parent, name, oteltrace.WithLinks(links...), oteltrace.WithAttributes(attribute.Int("requests", n)))
	return ctx, func() { span.End() }
}

func (t *Tracer) start(ctx context.Context, name string, options ...oteltrace.SpanStartOption) (context.Context, oteltrace.Span) {
	if t == nil {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, name, options...)
}

// Answered completes the span of a request by its answer. The service that answers knows the route.
func Answered(span oteltrace.Span, method, route string, status int) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("http.request.method", method), attribute.Int("http.response.status_code", status))
	if route != "" {
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.route", route))
	}
	if status >= http.StatusInternalServerError || route == "" && status >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
	}
}

var w3c propagation.TraceContext

// Extract continues the trace that a request's headers name (W3C Trace Context, section 3).
func Extract(ctx context.Context, h http.Header) context.Context {
	if len(h["Traceparent"]) != 1 {
		return ctx
	}
	return w3c.Extract(ctx, propagation.MapCarrier{"traceparent": knownFlags(h["Traceparent"][0]), "tracestate": strings.Join(h["Tracestate"], ",")})
}

// knownFlags clears the flags of a traceparent that its version does not know (W3C Trace Context, section 3.2.2.5):
// the library takes a traceparent with one of them for none.
func knownFlags(traceParent string) string {
	const before = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-")
	if len(traceParent) != before+2 || !strings.HasPrefix(traceParent, "00-") || strings.ToLower(traceParent) != traceParent {
		return traceParent
	}
	flags, err := strconv.ParseUint(traceParent[before:], 16, 8)
	if err != nil {
		return traceParent
	}
	return fmt.Sprintf("%s%02x", traceParent[:before], flags&3)
}

// Inject writes the trace of a context into a request's headers.
func Inject(ctx context.Context, h http.Header) { w3c.Inject(ctx, propagation.HeaderCarrier(h)) }

// WithParent continues the trace of a traceparent, and returns ctx itself if it is none.
func WithParent(ctx context.Context, traceParent string) context.Context {
	if traceParent == "" {
		return ctx
	}
	span := oteltrace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.MapCarrier{"traceparent": knownFlags(traceParent)}))
	if !span.IsValid() {
		return ctx
	}
	return oteltrace.ContextWithRemoteSpanContext(ctx, span)
}

// Parent returns the trace of a context as a traceparent, "" for none.
func Parent(ctx context.Context) string {
	if !oteltrace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// traceID returns the id of a context's trace, "" for none.
func traceID(ctx context.Context) string {
	if span := oteltrace.SpanContextFromContext(ctx); span.IsValid() {
		return span.TraceID().String()
	}
	return ""
}

// SampledID returns the id of a context's trace if spans of it are kept, "" otherwise.
func SampledID(ctx context.Context) string {
	if !oteltrace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	return traceID(ctx)
}

// LogHandler adds traceId to log lines that belong to a trace.
func LogHandler(h slog.Handler) slog.Handler { return logHandler{h} }

type logHandler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := traceID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("traceId", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}
