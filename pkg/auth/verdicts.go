package auth

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Verifying a JWT takes 50 µs and more, a look at the cache under one.
const (
	verdictsKept = 4096             // tokens; about 1 MiB
	verdictTTL   = 60 * time.Second // how long a withdrawn key's tokens may go on
)

// verdicts remember who the verified tokens belong to, by the tokens' hash. Refusals are
// not kept: they would push out the callers that are welcome.
//
// It is the plain LRU with a time in the entry; the library's expiring one starts a
// goroutine that never ends, and cannot honour each token's own exp.
type verdicts struct {
	kept *lru.Cache[[32]byte, verdict]
	now  func() time.Time
}

type verdict struct {
	caller Caller
	until  time.Time
}

func newVerdicts(now func() time.Time) *verdicts {
	kept, err := lru.New[[32]byte, verdict](verdictsKept)
	if err != nil {
		panic(err) // only a size below 1 can do that
	}
	return &verdicts{kept, now}
}

func (v *verdicts) get(hash [32]byte) (Caller, bool) {
	known, ok := v.kept.Get(hash)
	if !ok || !v.now().Before(known.until) {
		return Caller{}, false
	}
	return known.caller, true
}

func (v *verdicts) add(hash [32]byte, caller Caller, expiry time.Time) {
	until := v.now().Add(verdictTTL)
	if expiry.Before(until) {
		until = expiry
	}
	v.kept.Add(hash, verdict{caller, until})
}
