package app

import (
	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"

	"aiadmin/pkg/tracing"
)

// statementSpans returns what makes a span of each statement, nil for none. It shows no statement, since many
// hold values. Preparing one, which is nearly always a look into the cache, is no span.
func statementSpans(t *tracing.Tracer) pgx.QueryTracer {
	if t == nil {
		return nil
	}
	tracer := otelpgx.NewTracer(otelpgx.WithTracerProvider(t.Provider()), otelpgx.WithMeterProvider(noop.NewMeterProvider()),
		otelpgx.WithDisableSQLStatementInAttributes(), otelpgx.WithDisableConnectionDetailsInAttributes(),
		otelpgx.WithSpanNameFunc(func(string) string { return "statement" }))
	return struct {
		pgx.QueryTracer
		pgx.BatchTracer
	}{tracer, tracer}
}
