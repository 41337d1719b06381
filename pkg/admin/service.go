package admin

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Service administers users.
type Service struct {
	store   *store.Store
	options Options
	keys    atomic.Pointer[vault.KeyRing]
	kept    atomic.Pointer[Retention]
	changes gatherer

	rotationPatience time.Duration
}

// Options of a Service.
type Options struct {
	Log *slog.Logger
	// Changed is called after each committed change, and must not block: it wakes the relay.
	Changed func()
	// Refused is called for each sealed value that could not be opened, for metrics.
	Refused func()
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Retention says how long claims are kept; 0 is for good.
type Retention struct {
	Events   time.Duration // of CloudEvents
	Requests time.Duration // of Idempotency-Keys
}

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
	service := &Service{store: s, options: options, rotationPatience: rotationPatience}
	service.UseKeys(keys)
	service.Keep(kept)
	service.changes.log = options.Log
	service.changes.begin(service.applyAlone, func(ctx context.Context, commands []user.Command) ([]user.Result, error) {
		return service.applyAll(ctx, groupPatience, commands)
	})
	return service
}

// UseKeys makes another key ring seal and open from now on.
func (s *Service) UseKeys(keys *vault.KeyRing) { s.keys.Store(keys) }

// Keep makes another retention apply to claims taken from now on.
func (s *Service) Keep(kept Retention) { s.kept.Store(&kept) }

// Apply carries a command out, at most once if it brings a claim. While others are being
// carried out, it waits and goes with those that wait as well.
func (s *Service) Apply(ctx context.Context, command user.Command) (user.Outcome, error) {
	return s.changes.apply(ctx, command)
}

func (s *Service) applyAlone(ctx context.Context, command user.Command) (user.Outcome, error) {
	outcome, err := s.apply(ctx, command)
	if err == nil && outcome.Event != nil && !outcome.Replayed {
		s.options.Changed()
	}
	return outcome, err
}

func (s *Service) apply(ctx context.Context, command user.Command) (user.Outcome, error) {
	if err := command.Change.Validate(); err != nil {
		return s.refuse(ctx, command, err)
	}
	switch change := command.Change.(type) {
	case user.Create:
		return s.create(ctx, command, change)
	case user.Update:
		return s.update(ctx, command, change)
	default:
		return s.remove(ctx, command)
	}
}

func (s *Service) create(ctx context.Context, command user.Command, change user.Create) (user.Outcome, error) {
	write, err := s.make(command, change)
	if err != nil {
		return s.refuse(ctx, command, err)
	}
	result, err := s.store.Insert(ctx, *write)
	if err != nil {
		return s.refuse(ctx, command, err)
	}
	return s.conclude(ctx, result, *write, command)
}

// make computes a creation's write. Before it, the user's version is 0: that is all that a
// precondition can ask of a creation.
func (s *Service) make(command user.Command, change user.Create) (*store.Write, error) {
	if !command.IfMatch.Holds(0) {
		return nil, errPrecondition
	}
	sealing := s.sealing(nil)
	created, err := change.Apply(sealing.stamp)
	if err != nil {
		return nil, err
	}
	write, err := s.write(nil, created, command, change.Patch, sealing)
	return &write, err
}

// attempts are those at a change of a user whom others make, delete and rename at the same time.
const attempts = 10

// errMoved ends an attempt at an update of whom the command names no longer: another has the tag, or
// the user is gone, and may have been made again.
var errMoved = errors.New("others were faster")

func (s *Service) update(ctx context.Context, command user.Command, change user.Update) (user.Outcome, error) {
	for range attempts {
		outcome, err := s.updateFound(ctx, command, change)
		if !errors.Is(err, errMoved) {
			return outcome, err
		}
	}
	return s.refuse(ctx, command, errContended)
}

func (s *Service) updateFound(ctx context.Context, command user.Command, change user.Update) (user.Outcome, error) {
	before, err := s.store.Get(ctx, command.User)
	if err != nil {
		return s.refuse(ctx, command, err)
	}
	var seals map[string]string
	if len(change.Credentials.Set) > 0 {
		if seals, err = s.store.Seals(ctx, before.ID); err != nil {
			return user.Outcome{}, err
		}
	}
	write, err := s.revise(before, seals, command, change)
	if err != nil {
		return s.refuse(ctx, command, err)
	}
	if write == nil && len(change.Credentials.Set) > 0 { // the seals were read apart: they may be newer than the user
		return s.updateLocked(ctx, before.ID, command, change)
	}
	if write == nil {
		return s.unchanged(ctx, before, command)
	}
	result, err := s.store.Update(ctx, *write)
	if err != nil {
		return s.refuse(ctx, command, err)
	}
	if result == store.Missed || result == store.Claimed {
		return s.updateLocked(ctx, before.ID, command, change)
	}
	return s.conclude(ctx, result, *write, command)
}

// updateLocked makes an update that lost a race, holding the row's lock.
func (s *Service) updateLocked(ctx context.Context, id uuid.UUID, command user.Command, change user.Update) (user.Outcome, error) {
	var outcome user.Outcome
	err := s.store.Locked(ctx, user.Ref{ID: id}, func(l *store.Locked) error {
		if command.Claim != nil {
			replay, err := l.Replay(ctx, command.Claim)
			if replay != nil || err != nil {
				outcome, err = replayed(replay, command, err)
				return err
			}
		}
		if command.User.ID == uuid.Nil && l.User.Tag != command.User.Tag {
			return errMoved
		}
		seals, err := l.Seals(ctx)
		if err != nil {
			return err
		}
		write, err := s.revise(l.User, seals, command, change)
		if err != nil {
			return err
		}
		if write == nil {
			outcome = user.Outcome{User: l.User}
			return nil
		}
		result, err := l.Update(ctx, *write)
		if err == nil && result != store.Done { // the same request, about another user, is or was just faster
			err = errBusy
		}
		outcome = user.Outcome{User: write.User, Event: &write.Event}
		return err
	})
	switch {
	case errors.Is(err, errMoved), user.KindOf(err) == user.NotFound:
		return user.Outcome{}, errMoved
	case err != nil:
		return s.refuse(ctx, command, err)
	}
	if outcome.Event == nil && !outcome.Replayed {
		return s.unchanged(ctx, outcome.User, command)
	}
	return outcome, nil
}

// revise computes an update's write, nil when the update changes nothing.
func (s *Service) revise(before *user.User, seals map[string]string, command user.Command, change user.Update) (*store.Write, error) {
	if !command.IfMatch.Holds(before.Version) {
		return nil, errPrecondition
	}
	change.For(before.ID)
	if err := change.Validate(); err != nil {
		return nil, err
	}
	sealing := s.sealing(seals)
	sealing.user = before.ID
	after, err := change.Apply(before, sealing.withSame())
	if err != nil || after == before {
		return nil, err
	}
	write, err := s.write(before, after, command, change.Patch, sealing)
	return &write, err
}
