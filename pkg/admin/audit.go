package admin

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/user"
)

// auditor writes the audit entries that no change to a user writes in its own transaction. Entries that are
// counted have a bucket: the first of a bucket is written at once, and those that follow within the bucket's
// time are added to it every second. So a storm of refused tokens costs one statement a second.
type auditor struct {
	service *Service
	queue   gather.Queue[*auditJob]

	mu      sync.Mutex
	buckets map[string]*auditBucket
}

type auditJob = gather.Job[user.AuditEntry, struct{}]

// auditBucket is a bucket that has an entry in the database.
type auditBucket struct {
	entry   user.AuditEntry // whose count is what is to be added
	written time.Time       // when the first was
}

const (
	auditBatch   = 500             // entries that are written together
	auditTime    = 5 * time.Second // for that
	countsEvery  = time.Second
	bucketsKept  = 2 * time.Hour // longer than any bucket's own time
	mostBuckets  = 20_000        // some 10 MiB; past that, buckets of the past are forgotten, and then all
	auditWorkers = 1
)

func (a *auditor) begin(s *Service) {
	a.service, a.buckets = s, map[string]*auditBucket{}
	a.queue = gather.Queue[*auditJob]{Workers: auditWorkers, Most: auditBatch, Batch: a.write}
}

// Audit records an entry and returns once it is written. If an entry of the same bucket was written before,
// this one is added to its count instead, within a second.
func (s *Service) Audit(ctx context.Context, entry user.AuditEntry) error {
	if s.auditor.count(&entry) {
		return nil
	}
	entry.ID = user.NewID()
	j := gather.NewJob[user.AuditEntry, struct{}](ctx, entry)
	s.auditor.queue.Add(j)
	_, err := j.Wait()
	return err
}

// count adds an entry to its bucket if that has been written. Past the bound on buckets, tokens that are
// refused go to one bucket for all sources.
func (a *auditor) count(entry *user.AuditEntry) bool {
	if entry.Bucket == "" {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.buckets) >= mostBuckets && entry.Action == user.TokenRefused && a.buckets[entry.Bucket] == nil {
		entry.SourceIP, entry.Bucket = "", string(user.TokenRefused)+" "+time.Now().UTC().Format("2006-01-02T15:04Z")+" others"
	}
	bucket := a.buckets[entry.Bucket]
	if bucket == nil {
		return false
	}
	bucket.entry.Count += max(1, entry.Count)
	return true
}

// write writes the entries of jobs.
func (a *auditor) write(jobs []*auditJob) {
	ctx, cancel := context.WithTimeout(context.Background(), auditTime)
	defer cancel()
	entries := make([]user.AuditEntry, len(jobs))
	for i, j := range jobs {
		entries[i] = j.Asked
	}
	err := a.store(ctx, entries)
	if err == nil {
		a.remember(entries)
	}
	for _, j := range jobs {
		j.Answer(struct{}{}, err)
	}
}

func (a *auditor) store(ctx context.Context, entries []user.AuditEntry) error {
	err := gather.Guarded(func() error { return a.service.store.WriteAudit(ctx, entries) })
	if err != nil {
		a.service.options.Log.Error("audit entries cannot be written at present", "entries", len(entries), "action", entries[0].Action, "error", err)
	}
	a.service.options.Audited(entries, err)
	return err
}

func (a *auditor) remember(entries []user.AuditEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entries {
		if e.Bucket != "" && len(a.buckets) <= mostBuckets {
			e.ID, e.Count = uuid.Nil, 0
			a.buckets[e.Bucket] = &auditBucket{e, time.Now()}
		}
	}
}

// KeepAudit adds pending counts to their entries every second until ctx ends, and then once more.
func (s *Service) KeepAudit(ctx context.Context) {
	repeat(ctx, countsEvery, func() { s.auditor.writeCounts(time.Now()) })
}

// repeat calls work at intervals until ctx ends, and then once more.
func repeat(ctx context.Context, interval time.Duration, work func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		if work(); ctx.Err() != nil {
			return
		}
	}
}

// writeCounts writes the counts that have grown. What cannot be written is tried again the next time.
func (a *auditor) writeCounts(now time.Time) {
	grown := a.takeCounts(now)
	ctx, cancel := context.WithTimeout(context.Background(), auditTime)
	defer cancel()
	for len(grown) > 0 {
		n := min(len(grown), auditBatch)
		if err := a.store(ctx, grown[:n]); err != nil {
			a.giveBack(grown)
			return
		}
		grown = grown[n:]
	}
}

// takeCounts takes the counts that have grown, and forgets buckets whose time is over.
func (a *auditor) takeCounts(now time.Time) (grown []user.AuditEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	full := len(a.buckets) >= mostBuckets
	for name, bucket := range a.buckets {
		if bucket.entry.Count > 0 {
			entry := bucket.entry
			entry.ID = user.NewID()
			grown = append(grown, entry)
			bucket.entry.Count = 0
		} else if full || now.Sub(bucket.written) > bucketsKept {
			delete(a.buckets, name)
		}
	}
	return grown
}

func (a *auditor) giveBack(counts []user.AuditEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range counts {
		if bucket := a.buckets[e.Bucket]; bucket != nil {
			bucket.entry.Count += e.Count
		}
	}
}

// AuditLog returns one page of the audit log.
func (s *Service) AuditLog(ctx context.Context, q user.AuditQuery) (user.AuditPage, error) {
	entries, err := s.store.Audit(ctx, q, q.Limit+1)
	page := user.AuditPage{Entries: entries}
	if len(entries) > q.Limit {
		page.Entries = entries[:q.Limit]
		page.Next = q.CursorAfter(entries[q.Limit-1].ID)
	}
	return page, err
}

// Log returns one page of the history of all users. A page can be short, or empty, and have a next one:
// each looks at a bounded number of entries.
func (s *Service) Log(ctx context.Context, q user.LogQuery) (user.HistoryPage, error) {
	entries, seen, err := s.store.Log(ctx, q, q.Limit+1)
	page := user.HistoryPage{Entries: entries}
	switch {
	case len(entries) > q.Limit:
		page.Entries = entries[:q.Limit]
		page.Next = q.CursorAfter(entries[q.Limit-1].ID)
	case seen != uuid.Nil:
		page.Next = q.CursorAfter(seen)
	}
	return page, err
}
