package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/test/pgtest"
)

// A stop in the middle of a batch and of a stream: the batch is answered whole, the stream
// ends as HTTP says it should, the process exits with 0, and what the sink did not get yet
// it gets from the next one.
func TestStopWhileStreamAndBatchAreOpen(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	sink.become(t, mood{name: "slow", answer: func(http.ResponseWriter, delivery) int { time.Sleep(50 * time.Millisecond); return 200 }})
	m := layMounts(t, pgtest.Database(t), "{maxBackoff: 300ms}")
	s := newService(t, m, sink.url())
	s.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.awaitReady(ctx)
	l := newLoad(t, m, s.url)

	first := (&worker{load: l, name: "first"}).create(ctx)
	streamed := make(chan error, 1)
	events := openFeed(ctx, t, l.client, s.url, streamed)
	if id := <-events; id != first {
		t.Fatalf("streamed %q first, not %q", id, first)
	}
	const size = 300
	body, upload := io.Pipe()
	answered := make(chan error, 1)
	go func() { answered <- sendBatch(ctx, l, s.url, body, size) }()
	write := func(text string) {
		if _, err := io.WriteString(upload, text); err != nil {
			t.Errorf("upload: %v", err)
		}
	}
	write("[")
	for i := range size {
		if i == size/2 {
			time.Sleep(100 * time.Millisecond) // the request is under way
			must(t, s.command.Process.Signal(syscall.SIGTERM))
			must(t, <-streamed)
			if !s.running() {
				t.Fatal("it ended under a request")
			}
		}
		cause := fmt.Sprintf("batch-%d", i)
		l.ask(cause)
		write(fmt.Sprintf(`%s{"specversion":"1.0","id":"%s","source":"/hr","type":"ai.admin.user.create","data":{"tag":"%s","name":"x","id":"%s"}}`,
			map[bool]string{true: ",", false: ""}[i > 0], cause, cause, uuid.NewString()))
	}
	write("]")
	must(t, upload.Close())
	must(t, <-answered)
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.start()
	s.awaitReady(ctx)
	awaitDrained(ctx, t, l.client, s.url)
	check(t, l, s.url, sink)
	for _, d := range sink.deliveries() {
		if again := countOf(sink.deliveries(), d.id); again > 1 { // an orderly stop gives no reason for it
			t.Fatalf("%s was sent %d times", d.id, again)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func countOf(log []delivery, id string) (n int) {
	for _, d := range log {
		if d.id == id {
			n++
		}
	}
	return n
}

// openFeed streams the change feed's subjects, and reports how the stream ended.
func openFeed(ctx context.Context, t testing.TB, c *client, url string, ended chan<- error) <-chan string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ai/admin/changes", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultTransport.RoundTrip(request)
	must(t, err)
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("%d %s", response.StatusCode, got)
	}
	subjects := make(chan string, 1000)
	go func() {
		defer func() { _ = response.Body.Close() }()
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			var e struct{ Subject string }
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
				subjects <- e.Subject
			}
		}
		ended <- lines.Err() // a connection that was cut is an error, the end of the answer is not
	}()
	return subjects
}

// sendBatch sends a batch of creations and notes what was acknowledged.
func sendBatch(ctx context.Context, l *load, url string, body io.Reader, size int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/ai/admin/events", body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+l.client.token)
	request.Header.Set("Content-Type", "application/cloudevents-batch+json")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var got struct {
		Results []struct {
			ID     string
			Status int
			User   struct {
				ID      string
				Version int
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || len(got.Results) != size {
		return fmt.Errorf("answered %d with %d results", response.StatusCode, len(got.Results))
	}
	for _, r := range got.Results {
		if r.Status != http.StatusOK {
			return fmt.Errorf("result %+v", r)
		}
		l.ack(r.ID, r.User.ID, r.User.Version)
	}
	return nil
}
