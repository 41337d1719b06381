package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/gather"
	"aiadmin/pkg/store"
)

// Check answers questions of access from what is committed now: in their order, up to the one that the
// semantic ends with. A credential that it hands out is counted first.
func (s *Service) Check(ctx context.Context, questions []access.Question, semantic access.Semantic) ([]access.Decision, error) {
	looked, err := s.store.Look(ctx, questions)
	if err != nil {
		return nil, err
	}
	now := s.options.Now()
	decisions := make([]access.Decision, 0, len(questions))
	for i := range questions {
		q := &questions[i]
		d := access.Decide(q, looked[i].Found, now)
		if err := s.hand(ctx, q, &d, looked[i].Sealed, now); err != nil {
			return nil, err
		}
		if d.Allowed() && d.Key != nil {
			s.tally.use(d.Key.ID, looked[i].Used, now)
		}
		decisions = append(decisions, d)
		if semantic.Ends(&d) {
			break
		}
	}
	return decisions, nil
}

// hand opens the credential that an allowed question asks for. One that cannot be counted is not handed out.
func (s *Service) hand(ctx context.Context, q *access.Question, d *access.Decision, sealed string, now time.Time) error {
	if !d.Allowed() || q.Provider == "" {
		return nil
	}
	id := d.Subject.ID
	plain, err := s.keys.Load().Open(id.String(), q.Provider, sealed)
	if err != nil {
		s.refused(ctx, id, q.Provider, err)
		return fmt.Errorf("credential of %s for %s: %w", id, q.Provider, err)
	}
	d.Hand(q, plain)
	if d.Credential == nil {
		return nil
	}
	return s.tally.reveal(ctx, store.Reveal{Gateway: q.Gateway, UserID: id, Provider: q.Provider, Hour: now.UTC().Truncate(time.Hour)})
}

// tally notes what checks leave behind without a write for each: when a key was used, once an hour, and how
// often a credential was revealed. The first reveal of an hour is written before it is answered, so that
// none goes unrecorded; those that follow are added to it within seconds, and when the service stops.
type tally struct {
	store *store.Store
	first gather.Queue[*firstReveal]

	mu      sync.Mutex
	used    map[uuid.UUID]time.Time
	counts  map[store.Reveal]int64 // not written yet
	hour    time.Time
	written map[store.Reveal]bool // of this hour: those that have a row
}

type firstReveal struct {
	of   store.Reveal
	err  error
	done chan struct{}
}

const (
	tallyEvery    = 5 * time.Second
	tallyTime     = 5 * time.Second // for a statement of tallies
	mostTallied   = 100_000         // rows that are remembered as written
	revealsAtOnce = 256
)

func (t *tally) begin(s *store.Store) {
	t.store = s
	t.used, t.counts, t.written = map[uuid.UUID]time.Time{}, map[store.Reveal]int64{}, map[store.Reveal]bool{}
	t.first = gather.Queue[*firstReveal]{Workers: 1, Most: revealsAtOnce, Batch: t.writeFirst}
}

// use notes a key's first use in an hour; last is when the database knows it to be used last.
func (t *tally) use(key uuid.UUID, last *time.Time, now time.Time) {
	if last != nil && !last.Before(now.UTC().Truncate(time.Hour)) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, noted := t.used[key]; !noted {
		t.used[key] = now
	}
}

func (t *tally) reveal(ctx context.Context, of store.Reveal) error {
	if t.add(of) {
		return nil
	}
	f := &firstReveal{of: of, done: make(chan struct{})}
	t.first.Add(f)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add counts a reveal that has a row already.
func (t *tally) add(of store.Reveal) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.written[of] {
		return false
	}
	t.counts[of]++
	return true
}

func (t *tally) writeFirst(reveals []*firstReveal) {
	ctx, cancel := context.WithTimeout(context.Background(), tallyTime)
	defer cancel()
	counts := map[store.Reveal]int64{}
	for _, f := range reveals {
		counts[f.of]++
	}
	err := gather.Guarded(func() error { return t.store.CountReveals(ctx, counts) })
	if err == nil {
		t.remember(counts)
	}
	for _, f := range reveals {
		f.err = err
		close(f.done)
	}
}

// remember keeps which rows there are, of the present hour alone.
func (t *tally) remember(counts map[store.Reveal]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for of := range counts {
		if !of.Hour.Equal(t.hour) || len(t.written) >= mostTallied {
			t.hour = of.Hour
			clear(t.written)
		}
		t.written[of] = true
	}
}

// KeepTallies writes what checks leave behind every few seconds, until ctx ends, and then once more.
func (s *Service) KeepTallies(ctx context.Context) {
	ticker := time.NewTicker(tallyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		s.writeTallies()
		if ctx.Err() != nil {
			return
		}
	}
}

// writeTallies writes what is noted. What cannot be written is tried again the next time.
func (s *Service) writeTallies() {
	ctx, cancel := context.WithTimeout(context.Background(), tallyTime)
	defer cancel()
	uses, counts := s.tally.take()
	if len(uses) > 0 {
		if err := s.store.NoteUses(ctx, uses); err != nil {
			s.options.Log.Warn("the use of keys cannot be noted at present", "keys", len(uses), "error", err)
			s.tally.giveBack(uses, nil)
		}
	}
	if len(counts) > 0 {
		if err := s.store.CountReveals(ctx, counts); err != nil {
			s.options.Log.Warn("revealed credentials cannot be counted at present", "rows", len(counts), "error", err)
			s.tally.giveBack(nil, counts)
		}
	}
}

func (t *tally) take() (uses []store.Use, counts map[store.Reveal]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, at := range t.used {
		uses = append(uses, store.Use{KeyID: key, At: at})
	}
	counts, t.counts = t.counts, map[store.Reveal]int64{}
	clear(t.used)
	return uses, counts
}

func (t *tally) giveBack(uses []store.Use, counts map[store.Reveal]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, use := range uses {
		t.used[use.KeyID] = use.At
	}
	for of, count := range counts {
		t.counts[of] += count
	}
}
