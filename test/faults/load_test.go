package faults

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// load changes users until it is told to stop, and knows what it was told of each change.
type load struct {
	t       testing.TB
	client  *client
	urls    []string // of the copies that may be asked
	running sync.WaitGroup
	changes atomic.Int64
	shared  []string // users that all workers change
	name    string   // of the workers, where one load follows another

	mu    sync.Mutex
	asked map[string]bool        // causes of all changes that may have happened
	acked map[string]acknowledge // by cause
	users map[string]bool
}

type acknowledge struct {
	user    string
	version int // 0: not told
}

func newLoad(t testing.TB, m mounts, urls ...string) *load {
	return &load{t: t, client: newClient(m), urls: urls, asked: map[string]bool{}, acked: map[string]acknowledge{}, users: map[string]bool{}}
}

// begin makes the shared users and starts workers, which end with ctx.
func (l *load) begin(ctx context.Context, workers int) {
	w := &worker{load: l, name: l.name + "s"}
	for range 4 {
		l.shared = append(l.shared, w.create(ctx))
	}
	for n := range workers {
		l.running.Go(func() { (&worker{load: l, name: l.name + "w" + strconv.Itoa(n)}).work(ctx) })
	}
}

// ask notes that a change is being asked for.
func (l *load) ask(cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[cause] = true
}

// ack notes that a change was acknowledged.
func (l *load) ack(cause, user string, version int) {
	l.changes.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, twice := l.acked[cause]; twice {
		l.t.Errorf("%s was acknowledged twice", cause)
	}
	l.acked[cause] = acknowledge{user, version}
	l.users[user] = true
}

func (l *load) url() string { return l.urls[rand.IntN(len(l.urls))] }

// worker makes one change after the other.
type worker struct {
	load  *load
	name  string
	count int
	mine  []string
}

const (
	workPause  = 4 * time.Millisecond
	retryPause = 50 * time.Millisecond
)

// cause is a new id, for a change that is asked for from now on.
func (w *worker) cause() string {
	w.count++
	cause := fmt.Sprintf("%s-%d", w.name, w.count)
	w.load.ask(cause)
	return cause
}

// work ends with ctx, but finishes the change that it is at: ctx only ends the wish for
// more. What it may repeat is repeated until it is known to have happened.
func (w *worker) work(ctx context.Context) {
	steady := context.WithoutCancel(ctx)
	for n := 0; ctx.Err() == nil; n++ {
		switch {
		case len(w.mine) < 3 || n%23 == 0:
			w.mine = append(w.mine, w.create(steady))
		case n%29 == 28:
			w.remove(steady)
		case n%7 == 3:
			w.batch(steady)
		case n%2 == 0:
			w.event(steady)
		default:
			w.put(steady)
		}
		time.Sleep(workPause)
	}
}

func (w *worker) anyone() string {
	if rand.IntN(4) == 0 && len(w.load.shared) > 0 {
		return w.load.shared[rand.IntN(len(w.load.shared))]
	}
	return w.mine[rand.IntN(len(w.mine))]
}

type version struct{ Version int }

// create repeats a creation with its key until it is answered.
func (w *worker) create(ctx context.Context) string {
	cause, id := w.cause(), uuid.NewString()
	body := map[string]any{"id": id, "tag": "u" + cause, "name": cause}
	header := map[string]string{"X-Request-Id": cause, "Idempotency-Key": cause}
	var created version
	w.until(ctx, http.StatusCreated, &created, func(url string) (answer, error) {
		return w.load.client.do(ctx, http.MethodPost, url+"/ai/admin/users", header, body)
	})
	w.load.ack(cause, id, created.Version)
	return id
}

// until repeats a request that may be repeated, until it has the answer that it must get.
func (w *worker) until(_ context.Context, want int, into any, ask func(url string) (answer, error)) answer {
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(retryPause) {
		got, err := ask(w.load.url())
		switch {
		case err != nil, got.status == http.StatusServiceUnavailable, got.status == http.StatusGatewayTimeout,
			got.status == http.StatusConflict, got.status == http.StatusTooManyRequests:
		case got.status != want:
			w.load.t.Errorf("answered %d: %s", got.status, got.body)
			return got
		default:
			if into != nil {
				if err := got.decode(into); err != nil {
					w.load.t.Error(err)
				}
			}
			return got
		}
	}
	w.load.t.Errorf("no answer")
	return answer{}
}

// put asks once: without an answer, the change may have happened.
func (w *worker) put(ctx context.Context) {
	cause, id := w.cause(), w.anyone()
	got, err := w.load.client.do(ctx, http.MethodPut, w.load.url()+"/ai/admin/users/"+id, map[string]string{"X-Request-Id": cause}, map[string]any{"name": cause})
	if err != nil || got.status >= 500 {
		time.Sleep(retryPause)
		return
	}
	var v version
	if got.status != http.StatusOK || got.decode(&v) != nil {
		w.load.t.Errorf("PUT answered %d: %s", got.status, got.body)
		return
	}
	w.load.ack(cause, id, v.Version)
}

// event sends an update as a CloudEvent, again and again until it is answered.
func (w *worker) event(ctx context.Context) {
	cause, id := w.cause(), w.anyone()
	header := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": cause, "Ce-Source": "/hr", "Ce-Type": "ai.admin.user.update", "Ce-Subject": id}
	got := w.until(ctx, http.StatusOK, nil, func(url string) (answer, error) {
		return w.load.client.do(ctx, http.MethodPost, url+"/ai/admin/events", header, map[string]any{"name": cause})
	})
	v, _ := strconv.Atoi(got.header.Get("Ce-Sequence"))
	w.load.ack(cause, id, v)
}

// batch sends several events at once; those that were not judged are sent again.
func (w *worker) batch(ctx context.Context) {
	todo, about := map[string]any{}, map[string]string{}
	for range 6 {
		cause, id := w.cause(), w.anyone()
		about[cause] = id
		todo[cause] = map[string]any{"specversion": "1.0", "id": cause, "source": "/hr", "type": "ai.admin.user.update", "subject": id, "data": map[string]any{"name": cause}}
	}
	for tries := 0; len(todo) > 0 && tries < 100; tries++ {
		var events []any
		for event := range maps.Values(todo) {
			events = append(events, event)
		}
		var got struct {
			Results []struct {
				ID     string
				Status int
				User   version
			}
		}
		w.until(ctx, http.StatusOK, &got, func(url string) (answer, error) {
			return w.load.client.do(ctx, http.MethodPost, url+"/ai/admin/events", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, events)
		})
		for _, r := range got.Results {
			switch r.Status {
			case http.StatusOK:
				delete(todo, r.ID)
				w.load.ack(r.ID, about[r.ID], r.User.Version)
			case http.StatusConflict, http.StatusServiceUnavailable:
			default:
				w.load.t.Errorf("an event of a batch: %+v", r)
				delete(todo, r.ID)
			}
		}
	}
}

// remove deletes one of the worker's own users, by an event that it repeats.
func (w *worker) remove(ctx context.Context) {
	cause, id := w.cause(), w.mine[0]
	w.mine = w.mine[1:]
	header := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": cause, "Ce-Source": "/hr", "Ce-Type": "ai.admin.user.delete", "Ce-Subject": id}
	w.until(ctx, http.StatusOK, nil, func(url string) (answer, error) {
		return w.load.client.do(ctx, http.MethodPost, url+"/ai/admin/events", header, map[string]any{})
	})
	w.load.ack(cause, id, 0)
}
