package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// measureTracing compares the throughput of a service that traces a tenth of its requests with one that traces none,
// at 500 connections. Spans go to a collector that counts their bytes and does nothing else.
func measureTracing(ctx context.Context, b *bench, r *report) error {
	var received atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		n, _ := io.Copy(io.Discard, request.Body)
		received.Add(n)
	}))
	defer collector.Close()
	tracing, err := b.startTraced(ctx, collector.URL)
	if err != nil {
		return err
	}
	defer tracing.stop()
	const rounds, slot = 6, 2 * time.Second
	o := operation{name: "traced", method: "GET", path: oneUser, status: 200}
	var with, without float64
	for range rounds { // in turns, since a machine's speed changes while it is measured
		for server, rate := range map[*service]*float64{tracing: &with, b.service: &without} {
			outcome, err := b.pressed(ctx, o, server, places, slot)
			if err != nil {
				return err
			}
			if outcome.errors > 0 {
				return fmt.Errorf("%d errors, the first: %s", outcome.errors, outcome.first)
			}
			*rate += outcome.perSecond()
		}
	}
	if received.Load() == 0 {
		return fmt.Errorf("no span was sent")
	}
	r.add("tracing: throughput at 500 connections with a tenth of the requests traced, to that without", with/without, "", "at least 0.95", with/without >= .95)
	return nil
}

// startTraced starts a second copy of the service, which sends spans to a collector.
func (b *bench) startTraced(ctx context.Context, collector string) (*service, error) {
	traced := filepath.Join(b.folder, "traced")
	if err := os.CopyFS(traced, os.DirFS(b.mounts())); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("metricsPort: 0\ntracing: {endpoint: %q, sampleRatio: 0.1}\n", collector)
	if err := os.WriteFile(filepath.Join(traced, "config/config.yaml"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	return b.startService(ctx, traced)
}
