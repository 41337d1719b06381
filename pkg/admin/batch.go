package admin

import (
	"context"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// ApplyAll carries commands out in their order, each judged on its own as [Service.Apply]
// judges one, after the effects of those before it. An error of its own (the database is
// away, the context ended) means that none of them was carried out.
//
// All happens in one transaction with few statements: claims and users are read and
// locked, every change is computed from what those before it made, and what came of them
// is written at once. See [store.Bulk] for what happens when others interfere.
func (s *Service) ApplyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	return s.applyAll(ctx, batchPatience, commands)
}

// How long a batch waits for its turn and for what others hold. A group does not wait long:
// its commands can be carried out apart instead.
const (
	batchPatience = 30 * time.Second
	groupPatience = 200 * time.Millisecond
)

func (s *Service) applyAll(ctx context.Context, patience time.Duration, commands []user.Command) ([]user.Result, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	var (
		results []user.Result
		b       *batch
	)
	invalid := validate(commands)
	err := s.store.Bulk(ctx, len(commands), patience, wantedFor(commands, invalid), func(bulk *store.Bulk, known store.Known) (err error) {
		b = &batch{service: s, bulk: bulk, commands: commands, invalid: invalid, claims: known.Claims,
			answers: map[[32]byte]*store.Replay{}, assumed: known.Assumed, world: newWorld(known)}
		results, err = b.run(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if b.happened {
		s.options.Changed()
	}
	return results, nil
}

func validate(commands []user.Command) []error {
	invalid := make([]error, len(commands))
	for i := range commands {
		invalid[i] = commands[i].Change.Validate()
	}
	return invalid
}

// batch is one attempt to carry commands out.
type batch struct {
	service  *Service
	bulk     *store.Bulk
	commands []user.Command
	invalid  []error            // by command: what its change says of itself
	claims   []store.ClaimState // by command
	assumed  bool               // that they are all free
	answers  map[[32]byte]*store.Replay
	world    world
	pending  pending
	records  []store.Record
	happened bool // there is an event among the records
}

func (b *batch) run(ctx context.Context) ([]user.Result, error) {
	results := make([]user.Result, len(b.commands))
	for i := range b.commands {
		outcome, change, err := b.judge(i)
		if err != nil && b.assumed && b.commands[i].Claim != nil {
			return nil, store.ErrAssumed // it may be a repetition, whose answer is there already
		}
		if change != nil {
			if err := b.take(ctx, change); err != nil {
				return nil, err
			}
		}
		if err == nil && !outcome.Replayed {
			b.record(b.commands[i].Claim, outcome.Event)
		}
		results[i] = user.Result{Outcome: outcome, Err: err}
	}
	return results, b.bulk.Finish(ctx, b.pending.group(), b.records)
}

// judge decides about a command, given what those before it made. Its change, when there
// is one, has yet to be taken.
func (b *batch) judge(i int) (user.Outcome, *change, error) {
	command := b.commands[i]
	if command.Claim != nil {
		replay := b.claims[i].Replay
		if replay == nil {
			replay = b.answers[command.Claim.Key()] // of an earlier event of this batch
		}
		switch {
		case replay != nil:
			outcome, err := replayed(replay, command, nil)
			return outcome, nil, err
		case b.claims[i].Busy:
			return user.Outcome{}, nil, errBusy
		}
	}
	if b.invalid[i] != nil {
		return user.Outcome{}, nil, b.invalid[i]
	}
	made, err := b.decide(command)
	switch {
	case err != nil:
		return user.Outcome{}, nil, err
	case made.event == nil:
		return user.Outcome{User: made.before}, nil, nil
	}
	return user.Outcome{User: made.after, Event: made.event}, made, nil
}

// record notes what goes to the log, and the answer to the event's next delivery.
func (b *batch) record(claim *user.Claim, event *user.Event) {
	b.happened = b.happened || event != nil
	b.records = append(b.records, store.Record{Event: event, Claim: claim, Expires: b.service.expiry(claim)})
	if claim != nil {
		b.answers[claim.Key()] = &store.Replay{Digest: claim.Digest, Event: event}
	}
}
