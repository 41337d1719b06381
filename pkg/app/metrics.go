package app

import (
	"context"
	"database/sql"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/scimapi"
	"aiadmin/pkg/user"
)

// metrics are the service's own figures. No label holds a user's id or tag: their number
// has no bound, and metrics are read by more people than users are.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	scim      *prometheus.HistogramVec
	refused   prometheus.Counter
	reloads   *prometheus.CounterVec
	audit     *prometheus.CounterVec
	unwritten prometheus.Counter
	imported  *prometheus.CounterVec
	checks    *prometheus.CounterVec
}

func newMetrics(version string, stats func() sql.DBStats, checks func(context.Context) []check) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_admin_http_requests_total",
			Help: "Requests answered, by method, route pattern and status."}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ai_admin_http_request_duration_seconds",
			Help: "Time from a request's first byte to its answer's last, by route pattern.",
			// Half a millisecond is a read at rest; 300 s is the longest a request may take.
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 300}}, []string{"route"}),
		scim: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ai_admin_scim_request_duration_seconds",
			Help:    "Time of a SCIM request, by operation, identity provider (from the user agent) and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30}}, []string{"operation", "provider", "status"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "ai_admin_vault_refused_total",
			Help: "Sealed values that could not be opened: tampered with, copied, or of an unknown key."}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_admin_mount_reloads_total",
			Help: "Changes of a mounted volume, by whether they were taken up or refused."}, []string{"volume", "result"}),
	}
	m.checks = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_admin_access_checks_total",
		Help: "Checks that gateways made, by face (forward, authzen) and outcome: allowed, or the reason of the refusal."}, []string{"face", "outcome"})
	m.audit = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_admin_audit_entries_total",
		Help: "Audit entries written, by action and outcome; counted entries by their count."}, []string{"action", "outcome"})
	m.imported = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_admin_imported_lines_total",
		Help: "Lines of imports, by outcome: created, updated, unchanged, deleted, failed. Dry runs do not count."}, []string{"outcome"})
	m.unwritten = prometheus.NewCounter(prometheus.CounterOpts{Name: "ai_admin_audit_failures_total",
		Help: "Attempts to write audit entries that failed: a reveal is refused then, all else goes on."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ai_admin_build_info", Help: "What the binary was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.checks, m.audit, m.unwritten, m.imported, m.requests, m.duration, m.scim, m.refused, m.reloads, build, readyCollector{checks},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.pool(stats)
	return m
}

// pool registers the connection pool's figures, which are read when they are asked for.
func (m *metrics) pool(stats func() sql.DBStats) {
	gauge := func(name, help string, value func(sql.DBStats) int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(stats())) }))
	}
	gauge("ai_admin_database_connections_open", "Open database connections.", func(s sql.DBStats) int { return s.OpenConnections })
	gauge("ai_admin_database_connections_in_use", "Database connections at work.", func(s sql.DBStats) int { return s.InUse })
	gauge("ai_admin_database_connections_max", "The most database connections there may be.", func(s sql.DBStats) int { return s.MaxOpenConnections })
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "ai_admin_database_waits_total", Help: "Times a request waited for a database connection."},
			func() float64 { return float64(stats().WaitCount) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "ai_admin_database_wait_seconds_total", Help: "Time that requests waited for a database connection."},
			func() float64 { return stats().WaitDuration.Seconds() }))
}

// streams registers the number of open streams.
func (m *metrics) streams(open func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "ai_admin_outbox_streams",
		Help: "Open streams of the change feed."}, func() float64 { return float64(open()) }))
}

func (m *metrics) served(s httpapi.Served) {
	m.requests.WithLabelValues(methodLabel(s.Method), s.Route, strconv.Itoa(s.Status)).Inc()
	duration := m.duration.WithLabelValues(s.Route)
	if exemplar, ok := duration.(prometheus.ExemplarObserver); ok && s.TraceID != "" {
		exemplar.ObserveWithExemplar(s.Duration.Seconds(), prometheus.Labels{"trace_id": s.TraceID})
		return
	}
	duration.Observe(s.Duration.Seconds())
}

func (m *metrics) checked(face, outcome string) { m.checks.WithLabelValues(face, outcome).Inc() }

func (m *metrics) provisioned(s scimapi.Served) {
	m.scim.WithLabelValues(s.Operation, s.Provider, strconv.Itoa(s.Status)).Observe(s.Duration.Seconds())
}

func (m *metrics) importedLines(outcome string, lines int64) {
	m.imported.WithLabelValues(outcome).Add(float64(lines))
}

// methodLabel keeps made-up methods from making a label value each.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// watched makes a volume's series begin at 0: the first refusal would be no increase otherwise.
func (m *metrics) watched(volume string) {
	for _, result := range []string{"taken", "refused"} {
		m.reloads.WithLabelValues(volume, result)
	}
}

func (m *metrics) reloaded(volume string, err error) {
	result := "taken"
	if err != nil {
		result = "refused"
	}
	m.reloads.WithLabelValues(volume, result).Inc()
}

// wroteAudit counts audit entries.
func (m *metrics) wroteAudit(entries []user.AuditEntry, err error) {
	if err != nil {
		m.unwritten.Inc()
		return
	}
	for _, e := range entries {
		m.audit.WithLabelValues(string(e.Action), string(e.Outcome)).Add(float64(max(1, e.Count)))
	}
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// readyCollector carries out the readiness checks when it is asked for them.
type readyCollector struct {
	checks func(context.Context) []check
}

var readyDesc = prometheus.NewDesc("ai_admin_ready", "Whether a readiness check passes: 1 or 0.", []string{"check"}, nil)

// Describe implements [prometheus.Collector].
func (c readyCollector) Describe(out chan<- *prometheus.Desc) { out <- readyDesc }

// Collect implements [prometheus.Collector].
func (c readyCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	for _, one := range c.checks(ctx) {
		passes := 1.0
		if one.run() != nil {
			passes = 0
		}
		out <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, passes, one.name)
	}
}

// Version is what this binary was built from: the tag or commit that the linker stamped or,
// without one, what the go command recorded of the repository (such as
// v0.0.0-20261127020304-0123456789ab+dirty); "unknown" where neither is there.
func Version(stamped string) string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if version := info.Main.Version; info.Main.Path == "aiadmin" && version != "" && version != "(devel)" {
		return version
	}
	commit, modified := "unknown", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			modified = "+dirty"
		}
	}
	return commit + modified
}
