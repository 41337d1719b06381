package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

const importedLines = 20_000

// imported is what an import's answer told before it ended.
type imported struct {
	ids     map[int]string // by line
	failed  []string
	summary map[string]any // nil: the answer was torn
}

// importFile sends the file, and calls told for each line that is answered.
func importFile(t testing.TB, m mounts, url, file, key string, told func(lines int)) imported {
	t.Helper()
	result := imported{ids: map[int]string{}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/ai/admin/users/import", strings.NewReader(file))
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+m.token)
	request.Header.Set("Content-Type", "application/x-ndjson")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer, err := (&http.Client{}).Do(request)
	if err != nil {
		return result
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(answer.Body)
		t.Errorf("import: %s %s", answer.Status, body)
	}
	for lines := bufio.NewReader(answer.Body); ; {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return result // a line without an end is torn
		}
		var line struct {
			Line, Status int
			ID           string
			Summary      map[string]any
		}
		must(t, json.Unmarshal(text, &line))
		switch {
		case line.Summary != nil:
			result.summary = line.Summary
		case line.Status == http.StatusCreated:
			result.ids[line.Line] = line.ID
			told(len(result.ids))
		case line.Line > 0:
			result.failed = append(result.failed, string(text))
		}
	}
}

func fileOfUsers() string {
	var b strings.Builder
	for i := range importedLines {
		fmt.Fprintf(&b, "{\"tag\":\"u%d\",\"name\":\"User %d\",\"metadata\":{\"n\":%d}}\n", i, i, i)
	}
	return b.String()
}

// checkImported: each line made one user, once.
func checkImported(t testing.TB, m mounts, url string, got imported) {
	t.Helper()
	if len(got.failed) > 0 || len(got.ids) != importedLines || got.summary == nil || got.summary["doneThrough"] != nil {
		t.Fatalf("%d lines done, %d failed (%.3v), summary %v", len(got.ids), len(got.failed), got.failed, got.summary)
	}
	made := map[string]int{}
	for _, e := range readFeed(t, newClient(m), url) {
		made[e.Subject]++
	}
	for line, id := range got.ids {
		if made[id] != 1 {
			t.Errorf("line %d: user %s was made %d times", line, id, made[id])
		}
	}
	if len(made) != importedLines {
		t.Errorf("%d users, want %d", len(made), importedLines)
	}
}

// TestImportOutlivesAKilledService: the same file sent again with its key makes what is left, and tells of the
// others what was told at first.
func TestImportOutlivesAKilledService(t *testing.T) {
	t.Parallel()
	cluster, sink := pgtest.Cluster(t), newSink(t)
	m := layMounts(t, cluster.URL("postgres"), "{maxBackoff: 300ms}")
	s := newService(t, m, sink.url())
	s.start()
	s.awaitReady(t.Context())
	file := fileOfUsers()
	first := importFile(t, m, s.url, file, "monday", func(lines int) {
		if lines == importedLines/4 {
			s.kill()
		}
	})
	if first.summary != nil || len(first.ids) == 0 {
		t.Fatalf("the kill came too late: %d lines, %v", len(first.ids), first.summary)
	}
	s.start()
	s.awaitReady(t.Context())
	again := importFile(t, m, s.url, file, "monday", func(int) {})
	for line, id := range first.ids {
		if again.ids[line] != id {
			t.Errorf("line %d made %s, and %s when it was sent again", line, id, again.ids[line])
		}
	}
	checkImported(t, m, s.url, again)
}

// TestImportWaitsForACrashedDatabase: an import goes on where a crash of the database has interrupted it.
func TestImportWaitsForACrashedDatabase(t *testing.T) {
	t.Parallel()
	cluster, sink := pgtest.Cluster(t), newSink(t)
	m := layMounts(t, cluster.URL("postgres"), "{maxBackoff: 300ms}")
	s := newService(t, m, sink.url())
	s.start()
	s.awaitReady(t.Context())
	crashed := false
	got := importFile(t, m, s.url, fileOfUsers(), "", func(lines int) {
		if lines == importedLines/4 {
			crashed = true
			must(t, cluster.StopImmediate(t.Context()))
			time.Sleep(time.Second)
			must(t, cluster.Start(t.Context()))
		}
	})
	if !crashed {
		t.Fatal("the import ended before the crash")
	}
	checkImported(t, m, s.url, got)
}
