package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load is what many connections do at once.
type load struct {
	address     string
	connections int
	request     template
	others      []template                            // any of these instead
	subjects    int                                   // users per request, 0 is 1
	numbers     func(*rand.Rand) (n, m int64)         // of the next request
	most        int64                                 // requests in all; 0: as many as fit into the time
	warm, time  time.Duration                         // before counting, and while counting
	status      int                                   // the one that counts as success
	measured    func(begin bool)                      // told when the counting begins and ends; may be nil
	refused     func(retryAfter string) time.Duration // how long to wait after a 503; nil: it is an error
}

// outcome is what came of a load.
type outcome struct {
	requests, errors, refusals int64
	took                       time.Duration
	latencies                  []int32 // microseconds, sorted
	first                      string  // the first unexpected answer
}

func (o *outcome) perSecond() float64 { return float64(o.requests) / o.took.Seconds() }

func (o *outcome) quantile(q float64) float64 {
	if len(o.latencies) == 0 {
		return 0
	}
	return float64(o.latencies[min(len(o.latencies)-1, int(q*float64(len(o.latencies))))]) / 1000
}

// run drives the load until its time is over or all its requests are made.
func (l *load) run(ctx context.Context) (outcome, error) {
	workers := make([]*worker, l.connections)
	var left atomic.Int64
	left.Store(l.most)
	var dialer net.Dialer
	for i := range workers {
		conn, err := dialer.DialContext(ctx, "tcp", l.address)
		if err != nil {
			return outcome{}, err
		}
		defer func() { _ = conn.Close() }()
		workers[i] = &worker{load: l, conn: conn, reader: bufio.NewReaderSize(conn, 4<<10), request: l.request.copied(),
			random: rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))), left: &left} //nolint:gosec // it spreads load
	}
	from := time.Now().Add(l.warm)
	until := from.Add(l.time)
	if l.measured != nil {
		time.AfterFunc(l.warm, func() { l.measured(true) })
	}
	var running sync.WaitGroup
	for _, w := range workers {
		if l.most == 0 { // what is under way when the time is up may take long: it is given up
			_ = w.conn.SetDeadline(until.Add(time.Second))
		}
		running.Go(func() { w.work(ctx, from, until) })
	}
	running.Wait()
	if l.measured != nil {
		l.measured(false)
	}
	return merge(workers, from, until, l.most > 0), ctx.Err()
}

func merge(workers []*worker, from, until time.Time, bounded bool) outcome {
	o := outcome{took: until.Sub(from)}
	var last time.Time
	for _, w := range workers {
		o.requests += int64(len(w.latencies))
		o.errors += w.errors
		o.refusals += w.refusals
		o.latencies = append(o.latencies, w.latencies...)
		if w.last.After(last) {
			last = w.last
		}
		if o.first == "" {
			o.first = w.first
		}
	}
	if bounded {
		o.took = last.Sub(from)
	}
	slices.Sort(o.latencies)
	return o
}

// worker is one connection.
type worker struct {
	load             *load
	conn             net.Conn
	reader           *bufio.Reader
	request          template
	random           *rand.Rand
	left             *atomic.Int64
	latencies        []int32
	errors, refusals int64
	last             time.Time
	first            string
}

func (w *worker) work(ctx context.Context, from, until time.Time) {
	l := w.load
	for ctx.Err() == nil {
		if l.most > 0 && w.left.Add(-1) < 0 {
			return
		}
		if len(l.others) > 0 {
			w.request = l.others[w.random.IntN(len(l.others))]
		}
		n, m := l.numbers(w.random)
		w.request.fill(n, m, max(1, l.subjects))
		begun := time.Now()
		if l.most == 0 && !begun.Before(until) {
			return
		}
		status, retryAfter, err := w.exchange()
		w.last = time.Now()
		counts := !w.last.Before(from) && (l.most > 0 || w.last.Before(until))
		switch {
		case err != nil:
			w.fail(counts, err.Error())
			return // the connection is of no more use
		case status == l.status:
			if counts {
				w.latencies = append(w.latencies, int32(w.last.Sub(begun).Microseconds())) //nolint:gosec // under half an hour
			}
		case status == 503 && l.refused != nil:
			w.refusals++
			time.Sleep(l.refused(retryAfter))
		default:
			w.fail(counts, "status "+strconv.Itoa(status))
		}
	}
}

func (w *worker) fail(counts bool, what string) {
	if w.first == "" {
		w.first = what
	}
	if counts {
		w.errors++
	}
}

const chunked = -1 // in the place of a length

// discardChunks reads past a body that came in chunks (RFC 9112, section 7.1).
func (w *worker) discardChunks() error {
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimRight(line, "\r\n")), 16, 32)
		if err != nil {
			return err
		}
		if _, err := w.reader.Discard(int(size) + len("\r\n")); err != nil || size == 0 {
			return err
		}
	}
}

// exchange sends the request and reads the answer to its end.
func (w *worker) exchange() (status int, retryAfter string, err error) {
	if _, err := w.conn.Write(w.request.text); err != nil {
		return 0, "", err
	}
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	if len(line) < 12 {
		return 0, "", fmt.Errorf("status line %q", line)
	}
	status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	length := 0
	for {
		line, err = w.reader.ReadSlice('\n')
		if err != nil {
			return 0, "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(value))
		} else if value, ok := bytes.CutPrefix(line, []byte("Retry-After: ")); ok {
			retryAfter = string(value)
		} else if bytes.Equal(line, []byte("Transfer-Encoding: chunked")) {
			length = chunked
		}
	}
	if length == chunked {
		return status, retryAfter, w.discardChunks()
	}
	_, err = w.reader.Discard(length)
	return status, retryAfter, err
}
