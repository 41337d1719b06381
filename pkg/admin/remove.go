package admin

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

func (s *Service) remove(ctx context.Context, command user.Command) (user.Outcome, error) {
	found, err := &user.User{ID: command.User.ID}, error(nil) // which the deletion itself will find, or not
	if command.User.Tag != "" {
		found, err = s.removable(ctx, command.User)
	}
	for n := 0; err == nil && n < attempts; n++ {
		removal := s.removal(found.ID, command)
		result, fault := s.store.Delete(ctx, &removal)
		switch {
		case fault != nil:
			return user.Outcome{}, fault
		case result == store.Done:
			return user.Outcome{Event: &removal.Event}, nil
		case result == store.Busy:
			return user.Outcome{}, errBusy
		}
		found, err = s.whyNotRemoved(ctx, command)
	}
	return s.refuse(ctx, command, cmp.Or[error](err, errContended))
}

func (s *Service) removal(id uuid.UUID, command user.Command) store.Removal {
	return store.Removal{ID: id, Tag: command.User.Tag, IfMatch: command.IfMatch, Claim: command.Claim, Expires: s.expiry(command.Claim),
		Event: user.Event{ID: user.NewID(), Type: user.Deleted, UserID: id, At: user.Timestamp(s.options.Now()),
			Actor: command.Actor, Cause: command.Cause, Changes: []byte("[]")}}
}

// removable finds whom a deletion names at present.
func (s *Service) removable(ctx context.Context, ref user.Ref) (*user.User, error) {
	found, err := s.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	return found, sameTag(found, ref)
}

// whyNotRemoved is the error to end a deletion with that missed the user; with none, it may well
// remove the one it returns, who was made again, or changed to match, just now.
func (s *Service) whyNotRemoved(ctx context.Context, command user.Command) (*user.User, error) {
	found, err := s.removable(ctx, command.User)
	if err == nil && !command.IfMatch.Holds(found.Version) {
		err = errPrecondition
	}
	if err != nil || command.Claim == nil {
		return found, err
	}
	replay, err := s.store.Replay(ctx, command.Claim)
	if err == nil && replay != nil { // this very request removed it: refuse will tell
		err = errBusy
	}
	return found, err
}

// sameTag refuses a deletion that names the user by an id and by another user's tag: it
// could not be undone.
func sameTag(found *user.User, ref user.Ref) error {
	if ref.Tag == "" || ref.Tag == found.Tag {
		return nil
	}
	return user.Problems{{Field: "tag", Code: "validation_mismatch", Message: "is not the tag of the user with this id"}}.Err()
}
