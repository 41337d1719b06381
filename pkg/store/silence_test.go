package store_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

const silenceBound = 10 * time.Second // the contract's

// TestASilentDatabaseFailsRequests: requests under way, those that wait for a connection and those that
// come later fail in time, and all is well as soon as the database speaks.
func TestASilentDatabaseFailsRequests(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	for name, warmed := range map[string]bool{"connected": true, "not connected yet": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := pgtest.NewProxy(t, db)
			s := open(t, proxy.URL(db))
			if warmed {
				warm(t, s, 6) // of 12: the others wait for new connections
			}
			proxy.Silence()
			var all sync.WaitGroup
			for i := range 60 {
				all.Go(func() {
					time.Sleep(time.Duration(i%5) * 500 * time.Millisecond)
					began := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					_, err := s.Get(ctx, user.Ref{Tag: "nobody"})
					if took := time.Since(began); user.KindOf(err) != user.Unavailable || took > silenceBound {
						t.Errorf("after %v: %v", took, err)
					}
				})
			}
			all.Wait()
			proxy.Speak()
			for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				_, err := s.Get(t.Context(), user.Ref{Tag: "nobody"})
				if user.KindOf(err) == user.NotFound {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("it does not recover: %v", err)
				}
			}
		})
	}
}

// TestOneSilentConnectionIsLeft: when a single connection falls silent, its request fails in time, and the
// others go on.
func TestOneSilentConnectionIsLeft(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db)
	s := open(t, proxy.URL(db))
	warm(t, s, 1)
	proxy.Silence()
	failed := make(chan error, 1)
	began := time.Now()
	go func() { _, err := s.Get(t.Context(), user.Ref{Tag: "nobody"}); failed <- err }()
	for s.Stats().InUse == 0 { // until it has the silent connection
		time.Sleep(time.Millisecond)
	}
	must(t, s.Reconnect(t.Context(), db)) // past the proxy
	for end := began.Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := s.Get(t.Context(), user.Ref{Tag: "nobody"}); user.KindOf(err) != user.NotFound {
			t.Fatalf("others do not go on: %v", err)
		}
	}
	if err := <-failed; user.KindOf(err) != user.Unavailable || time.Since(began) > silenceBound {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// TestASilentHostIsAskedOnce: of several hosts the one that worked last is asked first, so that a silent
// one holds nothing up.
func TestASilentHostIsAskedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db)
	proxy.Silence()
	both, err := url.Parse(db)
	must(t, err)
	both.Host = proxy.Addr + "," + both.Host
	s := open(t, both.String())
	must(t, s.Ping(t.Context()))
	began := time.Now()
	warm(t, s, 12)
	if err := s.Reconnect(t.Context(), both.String()); err != nil {
		t.Error(err)
	}
	conn, err := s.Connect(t.Context())
	must(t, err)
	must(t, conn.Close(t.Context()))
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the silent host is asked again: %v", took)
	}
}
