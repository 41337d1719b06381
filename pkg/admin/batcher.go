package admin

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// batcher carries out the commands of independent requests: a lone one as a batch of one, and those
// that arrive while others are under way as one batch.
type batcher struct {
	service *Service
	queue   gather.Queue[*job]
	held    heldUsers
}

// job is a command that waits.
type job = gather.Job[user.Command, user.Outcome]

const (
	batchWorkers = 3                // batches that are written at once: more of them share less
	batchMost    = 64               // commands of one batch
	batchTime    = 30 * time.Second // for what is to take milliseconds
)

func (b *batcher) begin(s *Service) {
	b.service = s
	b.queue = gather.Queue[*job]{Workers: batchWorkers, Most: batchMost, Batch: func(jobs []*job) { b.carryOut(store.Skip, jobs) }}
	b.held = heldUsers{users: map[uuid.UUID][]*job{}, places: make(chan struct{}, max(1, s.store.ChangeConnections()/2)),
		patience: s.patience, carryOut: func(jobs []*job) { b.carryOut(store.Wait, jobs) }}
}

// Apply carries a command out, at most once if it brings a claim. While others are being
// carried out it waits, and is then carried out together with the others that wait.
func (s *Service) Apply(ctx context.Context, command user.Command) (user.Outcome, error) {
	if command.Claim == nil { // of a command with one, an earlier delivery's answer may be there
		if err := command.Change.Validate(); err != nil {
			return user.Outcome{}, err
		}
	}
	j := gather.NewJob[user.Command, user.Outcome](ctx, command)
	if !s.batcher.held.join(j) {
		s.batcher.queue.Add(j)
	}
	return j.Wait()
}

// carryOut carries out the jobs that are still wanted. In mode [store.Skip], those whose user another session
// holds then wait for it apart, so that they hold up nobody; in mode [store.Wait] these are carried out.
func (b *batcher) carryOut(mode store.Mode, jobs []*job) {
	jobs, commands := wantedOf(jobs)
	if len(jobs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchTime)
	defer cancel()
	ctx, end := b.service.options.Tracer.Shared(ctx, "change users", len(jobs), func(i int) context.Context { return jobs[i].Context })
	defer end()
	results := make([]user.Result, len(jobs))
	held := b.service.carryOut(ctx, mode, commands, results)
	for i, j := range jobs {
		if id, ok := held[i]; ok {
			b.held.add(id, j)
			continue
		}
		j.Answer(results[i].Outcome, results[i].Err)
	}
}

// wantedOf returns the jobs that nobody has given up, and their commands. If one was given up before its
// batch began, nothing is changed.
func wantedOf(jobs []*job) (wanted []*job, commands []user.Command) {
	for _, j := range jobs {
		if err := j.Context.Err(); err != nil {
			j.Answer(user.Outcome{}, err)
			continue
		}
		wanted, commands = append(wanted, j), append(commands, j.Asked)
	}
	return wanted, commands
}

// heldUsers are users whom another session holds, each with the jobs that wait for it. One goroutine for each
// user carries its jobs out, all that wait at a time, so that a held user takes one connection. All of them
// together take half of the connections of changes, so that however many users are held, others can be changed.
type heldUsers struct {
	places   chan struct{}
	patience time.Duration // for a place
	mu       sync.Mutex
	users    map[uuid.UUID][]*job
	carryOut func([]*job)
}

// join hands a job to the goroutine of its user, if there is one.
func (h *heldUsers) join(j *job) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	jobs, held := h.users[j.Asked.User.ID]
	if held {
		h.users[j.Asked.User.ID] = append(jobs, j)
	}
	return held
}

func (h *heldUsers) add(id uuid.UUID, j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	jobs, running := h.users[id]
	h.users[id] = append(jobs, j)
	if !running {
		go h.run(id)
	}
}

func (h *heldUsers) run(id uuid.UUID) {
	for jobs := h.next(id); len(jobs) > 0; jobs = h.next(id) {
		select {
		case h.places <- struct{}{}:
			h.carryOut(jobs)
			<-h.places
		case <-time.After(h.patience):
			for _, j := range jobs {
				j.Answer(user.Outcome{}, errContended)
			}
		}
	}
}

// next takes the jobs that wait for a user. Without any, the user is held no longer.
func (h *heldUsers) next(id uuid.UUID) []*job {
	h.mu.Lock()
	defer h.mu.Unlock()
	jobs := h.users[id]
	if len(jobs) == 0 {
		delete(h.users, id)
		return nil
	}
	n := min(len(jobs), batchMost)
	h.users[id] = jobs[n:]
	return jobs[:n:n]
}

// batchesAtOnce bounds the batches that came as one: the database works on one while the next is judged. More of
// them would only wait for each other's users.
const batchesAtOnce = 2

// ApplyAll carries commands out in their order, each judged on its own as [Service.Apply]
// judges one, after the effects of those before it. An error of its own (the database is
// away, the context ended) says that not all of them were carried out; those that bring a claim may
// be sent again.
func (s *Service) ApplyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	select {
	case s.bulk <- struct{}{}:
		defer func() { <-s.bulk }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	results := make([]user.Result, len(commands))
	s.carryOut(ctx, store.Wait, commands, results)
	for _, r := range results {
		if kind := user.KindOf(r.Err); r.Err != nil && (kind == user.Unavailable || kind == user.Timeout || kind == user.Internal && ctx.Err() != nil) {
			return nil, r.Err
		}
	}
	return results, nil
}

// carryOut carries commands out in one transaction, or where one stands in the others' way in smaller ones,
// down to one command each. It fills in the results, but those of commands on users whom another session
// holds: it returns their places and the users. In mode [store.Wait] there are none.
func (s *Service) carryOut(ctx context.Context, mode store.Mode, commands []user.Command, results []user.Result) map[int]uuid.UUID {
	held, err := s.try(ctx, mode, commands, results)
	switch {
	case err == nil:
		return held
	case len(commands) > 1 && (store.RolledBack(err) && !(mode == store.Wait && store.Held(err))):
		s.options.Log.Warn("a batch is carried out in smaller ones", "changes", len(commands), "error", err)
		half := len(commands) / 2
		held = s.carryOut(ctx, mode, commands[:half], results[:half])
		for place, id := range s.carryOut(ctx, mode, commands[half:], results[half:]) {
			held[half+place] = id
		}
		return held
	}
	for i := range results {
		results[i] = user.Result{Err: err}
	}
	return map[int]uuid.UUID{}
}

var errContended = user.Errorf(user.Unavailable, "others are changing the same data: try again shortly")

// try makes attempts at a batch until one is not in conflict with what others do at the same time. Of
// several commands it makes two: the second knows what made the first fail.
func (s *Service) try(ctx context.Context, mode store.Mode, commands []user.Command, results []user.Result) (map[int]uuid.UUID, error) {
	how := mode
	if canBeBlind(commands) {
		how = store.Blind
	}
	begun := time.Now()
	for n := 1; ; n++ {
		held, err := s.attempt(ctx, how, commands, results)
		if !store.Conflict(err) && !errors.Is(err, errBlind) {
			return held, err
		}
		if len(commands) > 1 && n == 2 {
			return nil, err
		}
		if time.Since(begun) > s.patience || ctx.Err() != nil {
			return nil, errContended.Wrap(store.Loggable(err))
		}
		if n > 1 {
			select {
			case <-time.After(rand.N(10 * time.Millisecond)): //nolint:gosec // no secret
			case <-ctx.Done():
			}
		}
		how = mode
	}
}

// attempt carries commands out in one transaction. A panic of one of them is its error.
func (s *Service) attempt(ctx context.Context, mode store.Mode, commands []user.Command, results []user.Result) (held map[int]uuid.UUID, err error) {
	happened := false
	err = gather.Guarded(func() error {
		b := newBatch(s, commands)
		tx, known, err := s.store.Begin(ctx, mode, b.wanted())
		if err != nil {
			return err
		}
		defer tx.Rollback()
		b.tx, b.known, b.state = tx, known, newState(known)
		if held, err = b.judgeAll(ctx, results); err != nil {
			return err
		}
		happened = b.happened
		if err := tx.Commit(ctx, b.pending.writes(), b.records); err != nil {
			return err
		}
		for i := range b.records {
			s.options.Audited(b.records[i].Audit, nil)
		}
		return nil
	})
	if err == nil && happened {
		s.options.Changed()
	}
	return held, err
}
