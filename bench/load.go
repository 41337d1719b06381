package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// template is a text with numbers of twelve digits in it, to be used again with other numbers.
type template struct {
	text   []byte
	places []place
}

// place is where a number stands, and how much it exceeds the request's first number of its kind.
type place struct {
	at     int
	fresh  bool // a value, not a user
	offset int64
}

var twelveDigits = regexp.MustCompile(`\d{12}`)

// madeUp matches what the service makes up anew for each change: ids of events, digests and keys of locks.
var madeUp = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|\\x[0-9a-f]{64}|\d{13,}`)

// newTemplate finds the numbers of count users from n on, and of count values from m on. Unless ids is nil, what the
// service makes up gets a value's number in its last twelve digits, the same wherever it stands.
func newTemplate(text string, n, m, count int64, ids map[string]int64) template {
	t := template{text: append([]byte{}, text...)}
	for _, found := range twelveDigits.FindAllStringIndex(text, -1) {
		number, _ := strconv.ParseInt(text[found[0]:found[1]], 10, 64)
		switch {
		case number >= n && number < n+count:
			t.places = append(t.places, place{found[0], false, number - n})
		case number >= m && number < m+count:
			t.places = append(t.places, place{found[0], true, number - m})
		}
	}
	if ids == nil {
		return t
	}
	for _, found := range madeUp.FindAllStringIndex(text, -1) {
		id := text[found[0]:found[1]]
		if strings.HasPrefix(id, "00000000-0000-7000-8000-") {
			continue // a user's
		}
		if _, known := ids[id]; !known {
			ids[id] = int64(len(ids)) % count
		}
		t.places = append(t.places, place{found[1] - 12, true, ids[id]})
	}
	return t
}

// render returns the text with the numbers from n and from m on. A nil text stays nil.
func (t template) render(n, m int64) []byte {
	if len(t.places) == 0 {
		return t.text
	}
	text := bytes.Clone(t.text)
	for _, p := range t.places {
		first := n
		if p.fresh {
			first = m
		}
		strconv.AppendInt(text[:p.at], first+p.offset, 10) // over as many digits
	}
	return text
}

// load is what many clients do at once, each as often as it can.
type load struct {
	connect    func(context.Context) (client, error)
	clients    int
	numbers    func() (n, m int64)
	warm, time time.Duration               // before counting, and while counting
	process    *process                    // whose processor time is counted; nil is none
	prepare    func(context.Context) error // before the load; may be nil
	strict     bool                        // fails unless all of it succeeds; any load fails if nothing does
}

// client is a connection and what is done with it. An exchange that the server refuses returns
// how long it asks to wait.
type client struct {
	net.Conn
	exchange func(n, m int64) (wait time.Duration, err error)
}

// outcome sums up a load.
type outcome struct {
	errors, refusals int64
	took             time.Duration
	cpu              float64 // seconds
	latencies        []int32 // microseconds, of what succeeded
	first            error
}

func (o *outcome) add(other outcome) {
	o.errors += other.errors
	o.refusals += other.refusals
	o.took += other.took
	o.cpu += other.cpu
	o.latencies = append(o.latencies, other.latencies...)
	if o.first == nil {
		o.first = other.first
	}
}

func (o *outcome) successes() float64 { return float64(len(o.latencies)) }

func (o *outcome) failures() float64 { return float64(o.errors + o.refusals) }

func (o *outcome) perSecond() float64 { return o.successes() / o.took.Seconds() }

// quantile returns a latency in milliseconds.
func (o *outcome) quantile(q float64) float64 {
	if len(o.latencies) == 0 {
		return 0
	}
	slices.Sort(o.latencies)
	return float64(o.latencies[int(q*float64(len(o.latencies)-1))]) / 1000
}

// run drives the load until its time is over.
func (l load) run(ctx context.Context) (outcome, error) {
	if l.prepare != nil {
		if err := l.prepare(ctx); err != nil {
			return outcome{}, err
		}
	}
	clients := make([]client, l.clients)
	for i := range clients {
		c, err := l.connect(ctx)
		if err != nil {
			return outcome{}, err
		}
		defer func() { _ = c.Close() }()
		clients[i] = c
	}
	from := time.Now().Add(l.warm)
	until := from.Add(l.time)
	outcomes := make([]outcome, l.clients)
	var running sync.WaitGroup
	for i, c := range clients {
		_ = c.SetDeadline(until.Add(time.Second)) // what is under way at the end may take long: it is given up
		running.Go(func() { outcomes[i] = l.work(ctx, c, from, until) })
	}
	time.Sleep(l.warm)
	before := l.process.cpu()
	time.Sleep(l.time)
	total := outcome{took: l.time, cpu: l.process.cpu() - before}
	running.Wait()
	for _, o := range outcomes {
		total.add(o)
	}
	if total.errors > 0 {
		progress("%d of %d clients failed, the first: %v", total.errors, l.clients, total.first)
	}
	if total.successes() == 0 || l.strict && total.failures() > 0 {
		return total, fmt.Errorf("%.0f succeeded in %v, %.0f failed: %v", total.successes(), l.time, total.failures(), total.first)
	}
	return total, ctx.Err()
}

// work is what one client does. Its first error ends it.
func (l load) work(ctx context.Context, c client, from, until time.Time) (o outcome) {
	for begun := time.Now(); begun.Before(until) && ctx.Err() == nil; begun = time.Now() {
		n, m := l.numbers()
		wait, err := c.exchange(n, m)
		end := time.Now()
		switch {
		case end.After(until):
			return o
		case err != nil:
			o.errors, o.first = 1, err
			return o
		case wait > 0:
			o.refusals++
			time.Sleep(min(wait, until.Sub(end)))
		case end.After(from):
			o.latencies = append(o.latencies, int32(end.Sub(begun).Microseconds())) //nolint:gosec // under half an hour
		}
	}
	return o
}

// callers returns what connects a client that makes any of the requests each time.
func callers(address string, status int, requests []template) func(context.Context) (client, error) {
	return func(ctx context.Context) (client, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		reader := bufio.NewReader(conn)
		return client{conn, func(n, m int64) (time.Duration, error) {
			response, err := call(conn, reader, requests[rand.IntN(len(requests))].render(n, m))
			if err != nil {
				return 0, err
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				return 0, err
			}
			wait, _ := strconv.Atoi(response.Header.Get("Retry-After"))
			switch {
			case response.StatusCode == status:
				return 0, nil
			case response.StatusCode == http.StatusServiceUnavailable && wait > 0:
				return time.Duration(wait)*time.Second + rand.N(200*time.Millisecond), nil
			}
			return 0, errors.New(response.Status)
		}}, err
	}
}

// call sends a request and reads the head of the answer.
func call(conn net.Conn, reader *bufio.Reader, request []byte) (*http.Response, error) {
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(reader, nil)
}

// inTurns runs loads one after the other, several rounds of each, so that a slow moment of the machine meets them
// all. It returns an outcome for each.
func inTurns(ctx context.Context, rounds int, loads ...load) ([]outcome, error) {
	all := make([]outcome, len(loads))
	for range rounds {
		for i, l := range loads {
			o, err := l.run(ctx)
			if err != nil {
				return all, err
			}
			all[i].add(o)
		}
	}
	return all, nil
}
