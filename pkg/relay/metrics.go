package relay

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aiadmin/pkg/store"
)

// metrics holds the relay's metrics. No label holds an id or tag of a user.
type metrics struct {
	sent, parked prometheus.Counter
	retried      *prometheus.CounterVec
	took, delay  prometheus.Histogram
	flying       prometheus.Gauge
	owned, down  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, db *store.Store) *metrics {
	m := &metrics{
		sent: counter("sent_total", "Events that the sink accepted."),
		retried: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "retried_total",
			Help: "Tries that failed and are made again, by fault: a status, or network."}, []string{"fault"}),
		parked: counter("parked_total", "Events parked because the sink refused them for good."),
		took:   histogram("send_duration_seconds", "Time for one try to send an event.", .0005),
		delay:  histogram("delay_seconds", "Time from a change to the sink's acceptance of its event.", .001),
		flying: gauge("in_flight", "Events being sent."),
		owned:  gauge("partitions_owned", "Partitions of the outbox (of 16) that this process sends."),
		down:   gauge("sink_down", "1 while the sink answers nobody and one event at a time is tried."),
	}
	if r != nil {
		r.MustRegister(m.sent, m.retried, m.parked, m.took, m.delay, m.flying, m.owned, m.down, backlog{db})
	}
	return m
}

const prefix = "ai_admin_outbox_"

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
}

func histogram(name, help string, first float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + name, Help: help,
		Buckets: prometheus.ExponentialBuckets(first, 4, 10)})
}

// tried counts one try.
func (m *metrics) tried(t try) {
	m.took.Observe(t.took.Seconds())
	if t.answer.verdict == accepted {
		m.sent.Inc()
		m.delay.Observe(max(0, time.Since(t.event.At).Seconds()))
		return
	}
	fault := t.answer.fault
	if t.answer.err != nil { // few kinds of label values
		fault = "network"
	}
	m.retried.WithLabelValues(fault).Inc()
}

// backlog reads the outbox's figures when they are collected.
type backlog struct{ store *store.Store }

var (
	oldestDesc = prometheus.NewDesc(prefix+"oldest_unsent_age_seconds", "Age of the oldest event not sent yet, parked ones included; 0 when all are sent.", nil, nil)
	parkedDesc = prometheus.NewDesc(prefix+"parked", "Events that are parked at present.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (backlog) Describe(out chan<- *prometheus.Desc) { out <- oldestDesc; out <- parkedDesc }

const collectTimeout = 2 * time.Second

// Collect implements [prometheus.Collector]. While the database is away it reports nothing.
func (b backlog) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	oldest, err := OldestUnsent(ctx, b.store)
	if err != nil {
		return
	}
	parked, err := CountParked(ctx, b.store)
	if err != nil {
		return
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, time.Since(oldest).Seconds())
	}
	out <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age)
	out <- prometheus.MustNewConstMetric(parkedDesc, prometheus.GaugeValue, float64(parked.Events))
}
