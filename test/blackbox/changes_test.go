package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

type event struct {
	ID, Source, Type, Subject, Time, Sequence, PartitionKey, CausationID, SpecVersion, DataContentType string
	Data                                                                                               json.RawMessage
}

// feed reads the change feed from a cursor to its present end.
func (s *service) feed(t testing.TB, after string, limit int) (events []event, next string) {
	t.Helper()
	for {
		query := url.Values{"limit": {fmt.Sprint(limit)}}
		if after != "" {
			query.Set("after", after)
		}
		var body struct {
			Changes []event
			Next    string
		}
		s.do(t, "GET", "/ai/admin/changes?"+query.Encode(), "").is(t, http.StatusOK).decode(t, &body)
		if len(body.Changes) > limit {
			t.Fatalf("%d changes, limit %d", len(body.Changes), limit)
		}
		if len(body.Changes) == 0 {
			return events, body.Next
		}
		if body.Next == after {
			t.Fatal("the cursor does not move")
		}
		events, after = append(events, body.Changes...), body.Next
	}
}

// changesOf are the feed's events of one user.
func (s *service) changesOf(t testing.TB, id string) []event {
	t.Helper()
	all, _ := s.feed(t, "", 500)
	var out []event
	for _, e := range all {
		if e.Subject == id {
			out = append(out, e)
		}
	}
	return out
}

// waitChanges waits for a number of a user's events: the feed shows an event once every
// older transaction has ended, those of parallel tests too.
func (s *service) waitChanges(t testing.TB, id string, n int) []event {
	t.Helper()
	var got []event
	eventually(t, fmt.Sprintf("%d events of %s", n, id), func() bool {
		got = s.changesOf(t, id)
		return len(got) >= n
	})
	if len(got) != n {
		t.Fatalf("%d events, want %d", len(got), n)
	}
	return got
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	t.Run("an event of each change", func(t *testing.T) {
		t.Parallel()
		u := s.create(t, `"credentials":{"openai":"planted-openai-1"}`)
		s.do(t, "PUT", u.path(), `{"status":"suspended","credentials":{"openai":"planted-openai-2"}}`, "X-Request-Id", "why-2").is(t, http.StatusOK)
		s.do(t, "PUT", u.path(), `{"status":"suspended"}`).is(t, http.StatusOK)
		s.do(t, "PUT", u.path(), `{"status":"broken"}`).is(t, http.StatusBadRequest)
		s.do(t, "DELETE", u.path(), "").is(t, http.StatusNoContent)
		events := s.waitChanges(t, u.ID, 3)
		for i, kind := range []string{"created", "updated", "deleted"} {
			e := events[i]
			if e.Type != "ai.admin.user."+kind || e.Source != "/ai/admin/users" || e.PartitionKey != u.ID || e.Sequence != fmt.Sprintf("%020d", i+1) ||
				e.SpecVersion != "1.0" || e.DataContentType != "application/json" {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if events[1].CausationID != "why-2" {
			t.Errorf("causationid %q", events[1].CausationID)
		}
		var data struct {
			User    user
			Changed []string
		}
		must(t, json.Unmarshal(events[1].Data, &data))
		if data.User.Version != 2 || data.User.Status != "suspended" || !strings.Contains(fmt.Sprint(data.Changed), "status") {
			t.Errorf("data: %s", events[1].Data)
		}
		// Its tag may be erased already, as no sink is to get it.
		if text := string(events[2].Data); !strings.Contains(text, u.ID) || strings.Contains(text, "role") {
			t.Errorf("data of the deletion: %s", text)
		}
	})
	t.Run("bad parameters", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{"?limit=0", "?limit=-1", "?limit=100000", "?limit=x", "?after=x", "?after=AAAAAAAA", "?foo=1", "?after=%00"} {
			s.do(t, "GET", "/ai/admin/changes"+bad, "").fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
		}
	})
}

// TestFeedPages holds that pages of any size add up to the same feed, and that a reader who
// goes on from its cursor while others write misses nothing and sees nothing twice.
func TestFeedPages(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	first, cursor := s.feed(t, "", 10)
	if len(first) != 0 || cursor == "" {
		t.Fatalf("an empty feed: %v, next %q", first, cursor)
	}
	const users, updates = 8, 10
	var writers sync.WaitGroup
	for range users {
		writers.Go(func() {
			u := s.create(t)
			for i := range updates {
				s.do(t, "PUT", u.path(), fmt.Sprintf(`{"name":"N %d"}`, i)).is(t, http.StatusOK)
			}
		})
	}
	var read []event
	eventually(t, "the feed shows all", func() bool { // while the changes are being made
		var more []event
		more, cursor = s.feed(t, cursor, 7)
		read = append(read, more...)
		return len(read) >= users*(updates+1)
	})
	writers.Wait()
	checkFeed(t, read, users*(updates+1))
	for _, limit := range []int{1, 13, 500} {
		again, _ := s.feed(t, "", limit)
		if ids(again) != ids(read) {
			t.Errorf("limit %d: another feed", limit)
		}
	}
}

// TestFeedBeginsBehindWhatRetentionRemoved: what is kept to answer a repeated request is no
// part of the feed and of the history any more, and the feed's beginning can be gone on from.
func TestFeedBeginsBehindWhatRetentionRemoved(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t), func(m mounts) { m["config"]["config.yaml"] += "retention: {history: 1s}\n" })
	once := func() answer {
		return s.do(t, "POST", usersPath, `{"tag":"kept","name":"N"}`, "Idempotency-Key", "kept").is(t, http.StatusCreated)
	}
	u := once().user(t)
	s.do(t, "PUT", u.path(), `{"name":"M"}`).is(t, http.StatusOK)
	eventually(t, "both are past retention", func() bool { return len(s.history(t, u.ID)) == 0 })
	events, next := s.feed(t, "", 10)
	if again, _ := s.feed(t, next, 10); len(events)+len(again) != 0 {
		t.Errorf("shown all the same: %v, %v", events, again)
	}
	if a := once(); a.header.Get("Idempotency-Replayed") != "true" {
		t.Error("what answers the key was not kept")
	}
	s.do(t, "DELETE", u.path(), "").is(t, http.StatusNoContent)
	eventually(t, "the history knows nobody", func() bool { return s.do(t, "GET", u.path()+"/history", "").status == http.StatusNotFound })
}

func ids(events []event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.ID + " ")
	}
	return b.String()
}

// checkFeed holds that every event is there once, and each user's in order.
func checkFeed(t *testing.T, events []event, n int) {
	t.Helper()
	seen, last := map[string]bool{}, map[string]string{}
	for _, e := range events {
		if seen[e.ID] {
			t.Errorf("%s twice", e.ID)
		}
		seen[e.ID] = true
		if e.Sequence <= last[e.Subject] {
			t.Errorf("%s: %s after %s", e.Subject, e.Sequence, last[e.Subject])
		}
		last[e.Subject] = e.Sequence
	}
	if len(events) != n {
		t.Errorf("%d events, want %d", len(events), n)
	}
}
