package faults

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"aiadmin/pkg/postgres"
	"aiadmin/test/pgtest"
)

// recovery is how long after the new primary's first write the service takes changes again.
const recovery = 5 * time.Second

// pair is a primary and its standby, with a service that knows both.
type pair struct {
	t                *testing.T
	primary, standby *postgres.Cluster
	service          *service
	sink             *sink
	load             *load
}

func newPair(t *testing.T, synchronous bool) *pair {
	t.Helper()
	p := &pair{t: t, primary: pgtest.Primary(t), sink: newSink(t)}
	p.standby = pgtest.Standby(t, p.primary)
	if synchronous {
		db := p.primary.URL("postgres")
		must(t, pgtest.Exec(t.Context(), db, "ALTER SYSTEM SET synchronous_standby_names = '*'"))
		must(t, pgtest.Exec(t.Context(), db, "SELECT pg_reload_conf()"))
		pgtest.AwaitTrue(t, db, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")
	}
	both, err := url.Parse(p.primary.URL("postgres"))
	must(t, err)
	standby, err := url.Parse(p.standby.URL("postgres"))
	must(t, err)
	password, _ := both.User.Password()
	m := layVolume(t, map[string]string{"PG_HOST": both.Hostname() + "," + standby.Hostname(), "PG_PORT": both.Port() + "," + standby.Port(),
		"PG_DB": "postgres", "PG_USER": both.User.Username(), "PG_PASS": password, "PG_SSLMODE": "disable"}, "{maxBackoff: 300ms}")
	p.service = newService(t, m, p.sink.url())
	p.service.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p.service.awaitReady(ctx)
	p.load = newLoad(t, m, p.service.url)
	return p
}

// promote makes the standby the primary, and returns when that takes writes.
func (p *pair) promote() {
	p.t.Helper()
	must(p.t, pgtest.Exec(p.t.Context(), p.standby.URL("postgres"), "SELECT pg_promote()"))
	pgtest.AwaitTrue(p.t, p.standby.URL("postgres"), "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'")
}

// awaitChange makes a change by the service, which must succeed within the time for recovery.
func (p *pair) awaitChange() {
	p.t.Helper()
	began := time.Now()
	w := &worker{load: p.load, name: "after"}
	w.create(p.t.Context())
	if took := time.Since(began); took > recovery {
		p.t.Errorf("the service took changes %v after the new primary did", took)
	}
}

func (p *pair) finish() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	awaitDrained(ctx, p.t, p.load.client, p.service.url)
	check(p.t, p.load, p.service.url, p.sink)
	if p.load.changes.Load() < 100 {
		p.t.Errorf("only %d changes were made: the test says little", p.load.changes.Load())
	}
	if code := p.service.stop(); code != 0 {
		p.t.Errorf("exit code %d", code)
	}
}

// TestFailover ends the primary under load, by a crash or in an orderly way, and promotes a synchronous
// standby: nothing acknowledged is lost, events come in order, and the service is back without a restart.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*postgres.Cluster, context.Context) error{
		"crash": (*postgres.Cluster).StopImmediate, "switch-over": (*postgres.Cluster).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, true)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			p.load.begin(ctx, workers)
			time.Sleep(2 * time.Second)
			must(t, end(p.primary, t.Context()))
			p.promote()
			p.awaitChange()
			time.Sleep(time.Second)
			stop()
			p.load.running.Wait()
			p.finish()
		})
	}
}

// TestFailoverThatLosesChanges promotes a standby that lags: what it had not got is lost. The feed has what
// the new primary has, and a cursor of a lost event is refused instead of skipping what comes later.
func TestFailoverThatLosesChanges(t *testing.T) {
	t.Parallel()
	p := newPair(t, false)
	w := &worker{load: p.load, name: "kept"}
	for range 5 {
		w.create(t.Context())
	}
	pgtest.AwaitTrue(t, p.standby.URL("postgres"), "SELECT count(*) = 5 FROM users")
	must(t, pgtest.Exec(t.Context(), p.standby.URL("postgres"), "ALTER SYSTEM SET primary_conninfo = ''"))
	must(t, pgtest.Exec(t.Context(), p.standby.URL("postgres"), "SELECT pg_reload_conf()"))
	pgtest.AwaitTrue(t, p.primary.URL("postgres"), "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)")
	lost := &worker{load: newLoad(t, mounts{token: p.load.client.token}, p.service.url), name: "lost"}
	for range 200 { // more transactions than the promotion makes itself
		lost.create(t.Context())
	}
	cursor := lastCursor(t, p.load.client, p.service.url)
	must(t, p.primary.StopImmediate(t.Context()))
	p.promote()
	p.awaitChange()
	got, err := p.load.client.do(t.Context(), http.MethodGet, p.service.url+"/ai/admin/changes?after="+cursor, nil, nil)
	must(t, err)
	var problem struct{ ErrorCode, Detail string }
	must(t, got.decode(&problem))
	if got.status != http.StatusGone || problem.ErrorCode != "CURSOR_EXPIRED" {
		t.Errorf("the cursor of a lost event: %d %s", got.status, got.body)
	}
	feed := readFeed(t, p.load.client, p.service.url)
	if len(feed) != 6 {
		t.Errorf("the feed has %d events, want the 5 that were replicated and the one since", len(feed))
	}
	checkChanges(t, p.load, feed)
	if code := p.service.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// lastCursor reads the feed to its end.
func lastCursor(t *testing.T, c *client, url string) (cursor string) {
	t.Helper()
	for {
		got, err := c.do(t.Context(), http.MethodGet, url+"/ai/admin/changes?limit=500&after="+cursor, nil, nil)
		must(t, err)
		var page struct {
			Changes []entry
			Next    string
		}
		must(t, got.decode(&page))
		if cursor = page.Next; len(page.Changes) == 0 {
			return cursor
		}
	}
}
