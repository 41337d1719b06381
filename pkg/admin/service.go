package admin

import (
	"log/slog"
	"sync/atomic"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Service administers users.
type Service struct {
	store    *store.Store
	options  Options
	keys     atomic.Pointer[vault.KeyRing]
	kept     atomic.Pointer[Retention]
	batcher  batcher
	auditor  auditor
	uses     uses
	bulk     chan struct{} // taken by each batch that came as one
	patience time.Duration // with a change that others stand in the way of

	rotationPatience time.Duration
}

// Options of a Service.
type Options struct {
	Log *slog.Logger
	// Changed is called after each committed batch of changes, and must not block: it wakes the relay.
	Changed func()
	// Refused is called for each sealed value that could not be opened, for metrics.
	Refused func()
	// Audited is called with audit entries that were written, or with the error for which they were not,
	// for metrics.
	Audited func(entries []user.AuditEntry, err error)
	// Tracer makes spans of batches; nil makes none.
	Tracer *tracing.Tracer
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Retention says how long claims are kept; 0 is for good.
type Retention struct {
	Events   time.Duration // of CloudEvents
	Requests time.Duration // of Idempotency-Keys
}

// defaultPatience is how long a change is tried again while others stand in its way.
const defaultPatience = 10 * time.Second

// New makes a Service.
func New(s *store.Store, keys *vault.KeyRing, kept Retention, options Options) *Service {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Changed == nil {
		options.Changed = func() {}
	}
	if options.Refused == nil {
		options.Refused = func() {}
	}
	if options.Audited == nil {
		options.Audited = func([]user.AuditEntry, error) {}
	}
	service := &Service{store: s, options: options, bulk: make(chan struct{}, batchesAtOnce), patience: defaultPatience, rotationPatience: rotationPatience}
	service.UseKeys(keys)
	service.Keep(kept)
	service.batcher.begin(service)
	service.auditor.begin(service)
	return service
}

// UseKeys makes another key ring seal and open from now on.
func (s *Service) UseKeys(keys *vault.KeyRing) { s.keys.Store(keys) }

// Keep sets the retention of claims taken from now on.
func (s *Service) Keep(kept Retention) { s.kept.Store(&kept) }

// forGood stands for a retention without end, as a time that the database can hold.
var forGood = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// expiry is when a claim taken now ends.
func (s *Service) expiry(claim *user.Claim) time.Time {
	if claim == nil {
		return time.Time{}
	}
	kept := s.kept.Load().Requests
	if claim.Kind == user.EventClaim {
		kept = s.kept.Load().Events
	}
	if kept == 0 {
		return forGood
	}
	return s.options.Now().Add(kept)
}
