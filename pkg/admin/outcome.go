package admin

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/secret"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

var (
	errBusy         = user.Errorf(user.InProgress, "the same request is being carried out at this moment: try again shortly")
	errContended    = user.Errorf(user.Unavailable, "others make and delete this user at the same time: try again shortly")
	errPrecondition = user.Errorf(user.PreconditionFailed, "the user's version is not the expected one: read it again")
	errKeyReused    = user.Errorf(user.KeyReused, "this Idempotency-Key was used with another body")
)

// conclude turns what the store did into the command's outcome.
func (s *Service) conclude(ctx context.Context, result store.Outcome, write store.Write, command user.Command) (user.Outcome, error) {
	switch result {
	case store.Done:
		return user.Outcome{User: write.User, Event: &write.Event}, nil
	case store.Busy:
		return user.Outcome{}, errBusy
	default:
		return s.refuse(ctx, command, errBusy)
	}
}

// refuse ends a command that cannot be carried out. What an earlier delivery of it did may
// be just what stands in its way, so that delivery's answer comes before the refusal.
func (s *Service) refuse(ctx context.Context, command user.Command, reason error) (user.Outcome, error) {
	if command.Claim == nil || !final(reason) {
		return user.Outcome{}, reason
	}
	replay, err := s.store.Replay(ctx, command.Claim)
	if err != nil || replay == nil {
		return user.Outcome{}, errors.Join(reason, err)
	}
	return replayed(replay, command, nil)
}

// final says whether trying again would be refused again.
func final(err error) bool {
	kind := user.KindOf(err)
	return kind != user.Internal && kind != user.Unavailable && kind != user.Timeout
}

func replayed(replay *store.Replay, command user.Command, err error) (user.Outcome, error) {
	if err != nil {
		return user.Outcome{}, err
	}
	outcome := user.Outcome{Event: replay.Event, Replayed: true}
	creation, ok := command.Change.(user.Create)
	switch {
	case command.Claim.Digest == nil:
		return outcome, nil
	case !bytes.Equal(command.Claim.Digest, replay.Digest):
		return user.Outcome{}, errKeyReused
	case ok && outcome.Event != nil:
		return outcome, outcome.Event.Restore(creation)
	}
	return outcome, nil
}

// unchanged ends an update that changes nothing; its claim is taken all the same.
func (s *Service) unchanged(ctx context.Context, u *user.User, command user.Command) (user.Outcome, error) {
	if command.Claim == nil {
		return user.Outcome{User: u}, nil
	}
	result, err := s.store.TakeClaim(ctx, command.Claim, s.expiry(command.Claim))
	switch {
	case err != nil:
		return user.Outcome{}, err
	case result == store.Busy:
		return user.Outcome{}, errBusy
	case result == store.Claimed:
		return s.refuse(ctx, command, errBusy)
	}
	return user.Outcome{User: u}, nil
}

// forGood stands for a retention without end, as a time that the database can hold.
const forGood = 100 * 365 * 24 * time.Hour

func (s *Service) expiry(claim *user.Claim) time.Time {
	kept := s.kept.Load().Requests
	if claim != nil && claim.Kind == user.EventClaim {
		kept = s.kept.Load().Events
	}
	if kept == 0 {
		kept = forGood
	}
	return s.options.Now().Add(kept)
}

// sealing is what one change needs of the vault: one key ring throughout.
type sealing struct {
	user  uuid.UUID
	keys  *vault.KeyRing
	stamp user.Stamp
	seals map[string]string // stored by provider
}

func (s *Service) sealing(seals map[string]string) sealing {
	keys := s.keys.Load()
	return sealing{keys: keys, seals: seals, stamp: user.Stamp{Now: user.Timestamp(s.options.Now()), KeyID: keys.Primary()}}
}

// withSame is the stamp that knows which secrets are stored already. A value that cannot
// be opened counts as another one, and is replaced.
func (l sealing) withSame() user.Stamp {
	stamp := l.stamp
	stamp.Same = func(provider string, plain secret.Text) bool {
		stored, ok := l.seals[provider]
		if !ok {
			return false
		}
		opened, err := l.keys.Open(l.user.String(), provider, stored)
		return err == nil && opened.Reveal() == plain.Reveal()
	}
	return stamp
}

// write assembles what the store has to do for a change from before (nil for a creation).
func (s *Service) write(before, after *user.User, command user.Command, patch user.Patch, l sealing) (store.Write, error) {
	write := store.Write{Before: before, User: after, Event: user.Recorded(before, after, command),
		Claim: command.Claim, Expires: s.expiry(command.Claim)}
	if before == nil {
		before = &user.User{}
	}
	for _, c := range after.Credentials {
		if old := before.Credential(c.Provider); old != nil && *old == c {
			continue
		}
		value, err := l.keys.Seal(after.ID.String(), c.Provider, patch.Credentials.Set[c.Provider])
		if err != nil {
			return store.Write{}, err
		}
		if write.Sealed == nil {
			write.Sealed = map[string]string{}
		}
		write.Sealed[c.Provider] = value
	}
	for _, c := range before.Credentials {
		if after.Credential(c.Provider) == nil {
			write.Dropped = append(write.Dropped, c.Provider)
		}
	}
	return write, nil
}
