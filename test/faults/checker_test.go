package faults

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// entry is an event as the change feed and the histories tell of it.
type entry struct {
	ID, Type, Subject, CausationID string
	Sequence                       string
	version                        int
}

// check proves that changes, history and sink agree; see the package's comment.
func check(t testing.TB, l *load, url string, s *sink) {
	t.Helper()
	feed := settledFeed(t, l, url, s)
	checkChanges(t, l, feed)
	checkHistories(t, l, url, feed)
	checkSink(t, feed, s.deliveries())
	t.Logf("%d changes acknowledged, %d in the history, %d deliveries", len(l.acked), len(feed), len(s.deliveries()))
}

// settledFeed reads the change feed once it shows all that was acknowledged or delivered. Before that, a transaction
// that is still open, in another test's database as well, holds newer events back.
func settledFeed(t testing.TB, l *load, url string, s *sink) (feed []entry) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		feed = readFeed(t, l.client, url)
		shown := map[string]bool{}
		for _, e := range feed {
			shown[e.CausationID], shown[e.ID] = true, true
		}
		settled := true
		for cause := range l.acked {
			settled = settled && shown[cause]
		}
		for _, d := range s.deliveries() {
			settled = settled && shown[d.id]
		}
		if settled || time.Now().After(end) {
			return feed
		}
	}
}

// readFeed reads the whole change feed.
func readFeed(t testing.TB, c *client, url string) []entry {
	t.Helper()
	var feed []entry
	for cursor := ""; ; {
		got, err := c.do(t.Context(), http.MethodGet, url+"/ai/admin/changes?limit=500&after="+cursor, nil, nil)
		must(t, err)
		var page struct {
			Changes []entry
			Next    string
		}
		must(t, got.decode(&page))
		if len(page.Changes) == 0 {
			return feed
		}
		for _, e := range page.Changes {
			e.version, err = strconv.Atoi(e.Sequence)
			must(t, err)
			feed = append(feed, e)
		}
		cursor = page.Next
	}
}

// checkChanges: acknowledged changes are in the feed once, and only changes asked for are;
// each user's versions come in order and without a gap.
func checkChanges(t testing.TB, l *load, feed []entry) {
	t.Helper()
	seen, last := map[string]entry{}, map[string]int{}
	for _, e := range feed {
		if _, twice := seen[e.CausationID]; twice {
			t.Errorf("%s had its effect twice", e.CausationID)
		}
		seen[e.CausationID] = e
		if !l.asked[e.CausationID] {
			t.Errorf("nobody asked for %+v", e)
		}
		if e.version != last[e.Subject]+1 {
			t.Errorf("%+v comes after version %d", e, last[e.Subject])
		}
		last[e.Subject] = e.version
	}
	for cause, ack := range l.acked {
		e, happened := seen[cause]
		switch {
		case !happened:
			t.Errorf("%s was acknowledged (%+v) and is lost", cause, ack)
		case e.Subject != ack.user, ack.version != 0 && e.version != ack.version:
			t.Errorf("%s was acknowledged as %+v and is %+v", cause, ack, e)
		}
	}
}

// checkHistories: each user's history is what the feed tells of it, newest first.
func checkHistories(t testing.TB, l *load, url string, feed []entry) {
	t.Helper()
	byUser := map[string][]entry{}
	for _, e := range feed {
		byUser[e.Subject] = append(byUser[e.Subject], e)
	}
	for id := range l.users {
		want := byUser[id]
		for cursor := "?limit=500"; cursor != ""; {
			got, err := l.client.do(t.Context(), http.MethodGet, url+"/ai/admin/users/"+id+"/history"+cursor, nil, nil)
			must(t, err)
			var page struct {
				History []struct {
					Version           int
					Type, CausationID string
				}
				Page struct{ Next string }
			}
			must(t, got.decode(&page))
			for _, h := range page.History {
				if len(want) == 0 || want[len(want)-1].version != h.Version || want[len(want)-1].CausationID != h.CausationID || want[len(want)-1].Type != h.Type {
					t.Errorf("history of %s: %+v, but the feed has %+v", id, h, want)
					return
				}
				want = want[:len(want)-1]
			}
			cursor = ""
			if page.Page.Next != "" {
				cursor = "?limit=500&cursor=" + page.Page.Next
			}
		}
		if len(want) > 0 {
			t.Errorf("history of %s lacks %+v", id, want)
		}
	}
}

// checkSink: all of the feed reached the sink, and nothing else; what came twice was the
// same; and no version was delivered before the sink had accepted all those before it. What it
// had accepted may be delivered again, and even refused then, while its first sender, who
// has lost its partition since, takes it out of the outbox.
func checkSink(t testing.TB, feed []entry, log []delivery) {
	t.Helper()
	known, accepted := map[string]entry{}, map[string]bool{}
	for _, e := range feed {
		known[e.ID] = e
	}
	done, content := map[string]int{}, map[string][32]byte{}
	for i, d := range log {
		e, there := known[d.id]
		if !there || e.Subject != d.subject || e.Sequence != d.sequence || e.CausationID != d.cause || e.Type != d.kind {
			t.Errorf("the sink was told of %+v; the feed has %+v", d, e)
			continue
		}
		if first, again := content[d.id]; again && first != d.content {
			t.Errorf("%+v came again with other content", d)
		}
		content[d.id] = d.content
		if e.version > done[d.subject]+1 {
			t.Errorf("version %d of %s, sent at %s, came after %s", e.version, d.subject, d.at.Format(time.StampMicro), recent(log[:i], known, d.subject))
		}
		if d.accepted && e.version == done[d.subject]+1 {
			done[d.subject] = e.version
		}
		accepted[d.id] = accepted[d.id] || d.accepted
	}
	for _, e := range feed {
		if !accepted[e.ID] {
			t.Errorf("%+v never reached the sink", e)
		}
	}
}

// recent tells of a user's last deliveries, for whoever has to find out why one was out of order.
func recent(log []delivery, known map[string]entry, subject string) string {
	var told []string
	for i := len(log) - 1; i >= 0 && len(told) < 4; i-- {
		if d := log[i]; d.subject == subject {
			told = append(told, fmt.Sprintf("%d at %s (accepted: %t)", known[d.id].version, d.at.Format(time.StampMicro), d.accepted))
		}
	}
	return strings.Join(told, ", before that ")
}

// awaitDrained waits until nothing is unsent.
func awaitDrained(ctx context.Context, t testing.TB, c *client, url string) {
	t.Helper()
	var last string
	for ctx.Err() == nil {
		got, err := c.do(ctx, http.MethodGet, url+"/readyz?verbose", nil, nil)
		if err == nil {
			var ready struct{ OldestUnsent string }
			if err := got.decode(&ready); err == nil && ready.OldestUnsent == "" && got.status == http.StatusOK {
				return
			}
			last = string(got.body)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("not everything was sent in time: %s", last)
}
