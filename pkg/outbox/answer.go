package outbox

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// verdict is what an answer means for the event.
type verdict int

const (
	accepted verdict = iota
	failed           // try again, for as long as it takes
	refused          // by a sink that is well: try a few times more, then park
)

// answer is the outcome of one try.
type answer struct {
	verdict    verdict
	fault      string        // a status, or the kind of network failure; no text of the sink's
	retryAfter time.Duration // what the sink asked for; 0 for nothing
	err        error         // for the log
}

func failure(fault string, err error) answer { return answer{verdict: failed, fault: fault, err: err} }

// judge reads an answer's status. A sink that is slow (408), not ready (425), overloaded
// (429), broken (5xx), or that moved (3xx, which is not followed) loses no event.
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

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3); nonsense is nothing.
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

// wait is how long to wait after the nth failure in a row of one event, n from 1.
func wait(n int, longest, wished time.Duration) time.Duration {
	b := backoff.ExponentialBackOff{InitialInterval: min(firstWait, longest), Multiplier: growth,
		RandomizationFactor: spread, MaxInterval: max(1, time.Duration(float64(longest)/(1+spread)))}
	var d time.Duration
	for range min(n, 64) {
		d = b.NextBackOff()
	}
	if wished > d { // and some more, so that not all come at once
		wished = min(wished, max(maxRetryAfter, longest))
		return wished + time.Duration(rand.Int64N(int64(wished/10)+1)) //nolint:gosec // jitter needs no secret
	}
	return min(d, longest)
}
