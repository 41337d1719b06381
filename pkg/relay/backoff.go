package relay

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
)

// verdict is what an answer means for the event.
type verdict int

const (
	accepted verdict = iota
	failed           // try again, for as long as it takes
	refused          // by a working sink: retry a few times, then park
)

// answer is the outcome of one try.
type answer struct {
	verdict    verdict
	fault      string        // a status, or the kind of network failure; no text of the sink's
	retryAfter time.Duration // what the sink asked for; 0 for nothing
	err        error         // for the log
}

func failure(fault string, err error) answer { return answer{verdict: failed, fault: fault, err: err} }

// judge reads an answer's status. An event is never parked because the sink is slow (408), not
// ready (425), overloaded (429), broken (5xx) or has moved (3xx, which is not followed).
func judge(response *http.Response, now time.Time) answer {
	code := response.StatusCode
	a := answer{fault: strconv.Itoa(code)}
	switch {
	case code >= 200 && code < 300:
		return answer{}
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code < 400, code >= 500:
		a.verdict, a.retryAfter = failed, retryAfter(response.Header.Get("Retry-After"), now)
	default:
		a.verdict, a.retryAfter = refused, retryAfter(response.Header.Get("Retry-After"), now)
	}
	return a
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3); anything else is 0.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

const (
	firstWait     = 250 * time.Millisecond
	growth        = 2
	spread        = 0.5             // of the wait, to either side
	maxRetryAfter = 5 * time.Minute // a sink's wish is granted up to here, or to MaxBackoff if that is longer
)

// wait returns how long to wait after an event's nth failure in a row, n from 1.
func wait(n int, longest, wished time.Duration) time.Duration {
	b := backoff.ExponentialBackOff{InitialInterval: min(firstWait, longest), Multiplier: growth,
		RandomizationFactor: spread, MaxInterval: max(1, time.Duration(float64(longest)/(1+spread)))}
	var d time.Duration
	for range min(n, 64) {
		d = b.NextBackOff()
	}
	if wished > d { // plus jitter, so that not all retry at once
		wished = min(wished, max(maxRetryAfter, longest))
		return wished + time.Duration(rand.Int64N(int64(wished/10)+1)) //nolint:gosec // jitter needs no secret
	}
	return min(d, longest)
}

// pace decides when events may be sent. When events of several users fail in a row, the sink counts
// as down. Then one event at a time is sent as a probe, with growing pauses, until the sink answers
// again.
type pace struct {
	mu      sync.Mutex
	failing map[uuid.UUID]struct{} // users whose event failed since the last answer
	down    bool
	probing bool
	probes  int           // failed ones since the sink went down
	next    time.Time     // of the next probe
	changed chan struct{} // closed when the sink is back or a probe has ended
	longest time.Duration
}

const (
	suspicious = 8               // users failing in a row that make the sink down
	maxPause   = 5 * time.Second // between two probes: how late the sink's return is seen
)

func newPace(longest time.Duration) *pace {
	return &pace{failing: map[uuid.UUID]struct{}{}, longest: min(longest, maxPause), changed: make(chan struct{})}
}

// begin reports whether an event may be sent now, and whether it is a probe.
func (p *pace) begin(now time.Time) (probe, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		return false, true
	}
	if p.probing || now.Before(p.next) {
		return false, false
	}
	p.probing = true
	return true, true
}

// wait returns when begin may answer differently, or ctx ends.
func (p *pace) wait(ctx context.Context) {
	p.mu.Lock()
	changed, left := p.changed, time.Until(p.next)
	if p.probing {
		left = sendTimeout
	}
	p.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-time.After(left):
	}
}

// change wakes the waiting workers. The caller holds the lock.
func (p *pace) change() {
	p.probing = false
	close(p.changed)
	p.changed = make(chan struct{})
}

// abandoned ends a try without a result.
func (p *pace) abandoned(probe bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if probe {
		p.change()
	}
}

// answered records that the sink is up, and reports whether it was down.
func (p *pace) answered() (back bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.failing)
	if back = p.down; back {
		p.down, p.probes = false, 0
		p.change()
	}
	return back
}

// failed records a failed try, and reports whether the sink is down and whether that is news.
func (p *pace) failed(user uuid.UUID, probe bool, wished time.Duration, now time.Time) (down, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		p.failing[user] = struct{}{}
		if len(p.failing) < suspicious {
			return false, false
		}
		p.down, news = true, true
	} else if !probe {
		return true, false // was under way when the sink went down, and says nothing new
	}
	p.probes++
	p.next = now.Add(wait(p.probes, p.longest, wished))
	p.change()
	return true, news
}
