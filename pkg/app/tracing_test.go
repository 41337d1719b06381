package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"aiadmin/pkg/app"
	"aiadmin/test/logtest"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

// receiver takes spans as a collector does (OTLP/HTTP 1.x, binary protobuf).
type receiver struct {
	mu    sync.Mutex
	spans []*spans.Span
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	raw, _ := io.ReadAll(body)
	var sent collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &sent); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range sent.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(nil)
}

// named returns the received spans of a trace by their names.
func (c *receiver) named(trace string) map[string]*spans.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]*spans.Span{}
	for _, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) == trace {
			found[s.GetName()] = s
		}
	}
	return found
}

// traced starts a service that sends to a sink; it returns what its headers were.
func traced(t testing.TB, configuration string) (a *app.App, log *logtest.Buffer, stop func(), sent chan http.Header) {
	t.Helper()
	sent = make(chan http.Header, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Clone()
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(sink.Close)
	root, log := mounttest.Volumes(t, map[string]string{
		"postgres/PG_URL": pgtest.Database(t),
		"vault/PRIMARY":   "k", "vault/k": strings.Repeat("5a", 32),
		"config/config.yaml": "auth: disabled\n" + configuration,
	}), &logtest.Buffer{}
	a, err := app.New(app.Options{Mounts: root, Log: log, Environment: app.Environment{Sink: sink.URL}})
	if err != nil {
		t.Fatal(err)
	}
	a.Start(t.Context())
	stop = sync.OnceFunc(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	until(t, "ready", func() bool { return readiness(a) == "" })
	return a, log, stop, sent
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	inbound = "00-" + traceID + "-00f067aa0ba902b7-01"
	other   = "0af7651916cd43dd8448eb211c80319c"
)

func post(a *app.App, path, body string, headers ...string) int {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewBufferString(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Code
}

// TestTraceGoesThrough: a request's trace is continued by its span, those of its statements and of the
// delivery of its event, which carries it on; log lines name it.
func TestTraceGoesThrough(t *testing.T) {
	t.Parallel()
	spans := &receiver{}
	server := httptest.NewServer(spans)
	t.Cleanup(server.Close)
	a, log, stop, sent := traced(t, "tracing: {endpoint: \""+server.URL+"\", sampleRatio: 0}\n")
	if code := post(a, "/ai/admin/users", `{"tag":"ada","name":"Ada","email":"ada@example.com"}`, "Traceparent", inbound); code != http.StatusCreated {
		t.Fatal(code)
	}
	header := <-sent
	if code := post(a, "/ai/admin/users", `{"tag":"bob","name":"Bob"}`); code != http.StatusCreated {
		t.Fatal(code)
	}
	<-sent
	scrape := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	scrape.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	metrics := httptest.NewRecorder()
	a.Metrics().ServeHTTP(metrics, scrape)
	if !strings.Contains(metrics.Body.String(), `# {trace_id="`+traceID+`"}`) {
		t.Error("no exemplar names the trace")
	}
	stop() // sends what is left
	found := spans.named(traceID)
	request, batch, statement, delivery := found["POST /ai/admin/users"], found["change users"], found["statement"], found["deliver event"]
	if request == nil || batch == nil || statement == nil || delivery == nil {
		t.Fatalf("spans: %v", found)
	}
	if hex.EncodeToString(request.GetParentSpanId()) != "00f067aa0ba902b7" || !bytes.Equal(batch.GetParentSpanId(), request.GetSpanId()) {
		t.Errorf("the request's span: %v", request)
	}
	want := "00-" + traceID + "-" + hex.EncodeToString(request.GetSpanId()) + "-01"
	if header.Get("Ce-Traceparent") != want || !bytes.Equal(delivery.GetParentSpanId(), request.GetSpanId()) {
		t.Errorf("the event has %s, want %s; delivered by %v", header.Get("Ce-Traceparent"), want, delivery)
	}
	if header.Get("Traceparent") != "00-"+traceID+"-"+hex.EncodeToString(delivery.GetSpanId())+"-01" {
		t.Errorf("delivered with %s", header.Get("Traceparent"))
	}
	if header.Get("Ce-Actor") != "anonymous" {
		t.Errorf("actor %q", header.Get("Ce-Actor"))
	}
	if !strings.Contains(log.String(), `"traceId":"`+traceID+`"`) {
		t.Errorf("no log line names the trace: %s", log)
	}
	for _, s := range spans.spans {
		if text := s.String(); strings.Contains(text, "ada") && strings.Contains(text, "@") || strings.Contains(strings.ToUpper(text), "INSERT") {
			t.Errorf("a span shows a value or a statement: %s", text)
		}
		if hex.EncodeToString(s.GetTraceId()) != traceID {
			t.Errorf("with sampleRatio 0, another trace was sent: %v", s)
		}
	}
}

// TestEventsTraceGoesBefore: of an event's trace and its request's, the event's is continued and the other
// is linked. Without an endpoint it goes on as it came, and what is no trace context is passed over.
func TestEventsTraceGoesBefore(t *testing.T) {
	t.Parallel()
	event := func(id, trace string) []string {
		return []string{"Ce-Specversion", "1.0", "Ce-Id", id, "Ce-Source", "/hr", "Ce-Type", "ai.admin.user.create", "Ce-Traceparent", trace,
			"Traceparent", "00-" + other + "-b7ad6b7169203331-01"}
	}
	spans := &receiver{}
	server := httptest.NewServer(spans)
	t.Cleanup(server.Close)
	a, _, stop, sent := traced(t, "tracing: {endpoint: \""+server.URL+"\"}\n")
	if code := post(a, "/ai/admin/events", `{"tag":"ada","name":"Ada"}`, event("1", inbound)...); code != http.StatusOK {
		t.Fatal(code)
	}
	if got := (<-sent).Get("Ce-Traceparent"); !strings.HasPrefix(got, "00-"+traceID+"-") {
		t.Errorf("the event has %s", got)
	}
	stop()
	consumed := spans.named(traceID)["event"]
	if consumed == nil || len(consumed.GetLinks()) != 1 || hex.EncodeToString(consumed.GetLinks()[0].GetTraceId()) != other {
		t.Errorf("the event's span: %v", consumed)
	}

	a, log, _, sent := traced(t, "")
	for i, step := range []struct{ trace, want string }{{inbound, inbound}, {inbound[:53] + "ff", inbound[:53] + "03"}, {inbound[:53] + "FF", "00-" + other + "-b7ad6b7169203331-01"}, {"rubbish", "00-" + other + "-b7ad6b7169203331-01"}} {
		if code := post(a, "/ai/admin/events", fmt.Sprintf(`{"tag":"u%d","name":"U"}`, i), event(strconv.Itoa(i), step.trace)...); code != http.StatusOK {
			t.Fatal(i, code)
		}
		if got := (<-sent).Get("Ce-Traceparent"); got != step.want {
			t.Errorf("without an endpoint the event has %s, want %s", got, step.want)
		}
	}
	for id, want := range map[string]int{traceID: 2, other: 2} {
		if n := strings.Count(log.String(), `"traceId":"`+id+`"`); n != want {
			t.Errorf("%d log lines name the trace %s, want %d: %s", n, id, want, log)
		}
	}
}

// BenchmarkTracing reads a user from 16 goroutines: without an endpoint, and with one that a tenth of the traces
// is sent to.
func BenchmarkTracing(b *testing.B) {
	server := httptest.NewServer(&receiver{})
	b.Cleanup(server.Close)
	for name, configuration := range map[string]string{"off": "", "on": "tracing: {endpoint: \"" + server.URL + "\", sampleRatio: 0.1}\n"} {
		b.Run(name, func(b *testing.B) {
			a, _, _, _ := traced(b, configuration+"logLevel: error\n")
			if code := post(a, "/ai/admin/users", `{"tag":"ada","name":"Ada"}`); code != http.StatusCreated {
				b.Fatal(code)
			}
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if w := ask(a.Handler(), http.MethodGet, "/ai/admin/users/tag:ada"); w.Code != http.StatusOK {
						b.Error(w.Code)
						return
					}
				}
			})
		})
	}
}
