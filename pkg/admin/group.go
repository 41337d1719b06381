package admin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// ApplyGroup carries out a change of a group like a batch of one: learn, judge, write. It locks the group's
// row, so that changes of one group come one after another. Its cost depends on the members that the
// command names, not on the group's size, except for a replacement.
func (s *Service) ApplyGroup(ctx context.Context, command user.GroupCommand) (user.GroupOutcome, error) {
	for begun := time.Now(); ; {
		outcome, err := s.attemptGroup(ctx, &command)
		if !store.Conflict(err) {
			return outcome, err
		}
		if time.Since(begun) > s.patience || ctx.Err() != nil {
			return outcome, errContended.Wrap(store.Loggable(err))
		}
		time.Sleep(rand.N(10 * time.Millisecond)) //nolint:gosec // no secret
	}
}

func (s *Service) attemptGroup(ctx context.Context, command *user.GroupCommand) (outcome user.GroupOutcome, err error) {
	err = gather.Guarded(func() error {
		tx, known, err := s.store.BeginGroup(ctx, command)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		added, removed, err := judgeGroup(command, known)
		if err != nil {
			return err
		}
		outcome = command.Apply(known.Group, added, removed, user.Timestamp(s.options.Now()))
		if len(outcome.Events) == 0 {
			return nil
		}
		records := make([]store.Record, len(outcome.Events))
		for i := range outcome.Events {
			records[i].Event = &outcome.Events[i]
		}
		return tx.CommitGroup(ctx, &store.GroupWrites{Before: known.Group, After: outcome.Group, Added: added, Removed: removed}, records)
	})
	if err == nil && len(outcome.Events) > 0 {
		s.options.Changed()
	}
	return outcome, err
}

// judgeGroup refuses a command, or returns the users who become members and who cease to be.
func judgeGroup(command *user.GroupCommand, known *store.GroupKnown) (added, removed []uuid.UUID, err error) {
	version := int64(0)
	if known.Group != nil {
		version = known.Group.Version
	}
	switch {
	case command.Action != user.CreateGroup && known.Group == nil:
		return nil, nil, store.ErrNoGroup
	case !command.Allow(version):
		return nil, nil, errGroupPrecondition
	}
	if err := known.GroupTaken(); err != nil {
		return nil, nil, err
	}
	wanted := map[uuid.UUID]bool{}
	for i, id := range command.Patch.Added {
		if !known.Users[id] {
			return nil, nil, user.Problems{{Field: fmt.Sprintf("members[%d]", i), Code: "validation_member",
				Message: fmt.Sprintf("%s is the id of no user", id)}}.Err()
		}
		if wanted[id] = true; !known.Members[id] {
			added = append(added, id)
		}
	}
	for _, id := range command.Patch.Removed {
		if known.Members[id] {
			removed = append(removed, id)
		}
	}
	for id := range known.Members {
		if command.Patch.ReplaceAll && !wanted[id] {
			removed = append(removed, id)
		}
	}
	return added, removed, nil
}

var errGroupPrecondition = user.Errorf(user.PreconditionFailed, "the group's version is not the expected one: read it again")

// Group returns one group.
func (s *Service) Group(ctx context.Context, id uuid.UUID) (*user.Group, error) {
	return s.store.Group(ctx, id)
}

// Groups returns a page of groups in the order of their names, and the cursor of the next one, empty on
// the last. An empty cursor begins.
func (s *Service) Groups(ctx context.Context, cursor string, limit int) ([]*user.Group, string, error) {
	listing := user.Fingerprint("groups", nil)
	after, err := decodeGroupPlace(cursor, listing)
	if err != nil {
		return nil, "", err
	}
	groups, err := s.store.GroupsAfter(ctx, after.Name, after.ID, limit+1)
	if err != nil || len(groups) <= limit {
		return groups, "", err
	}
	last := groups[limit-1]
	return groups[:limit], user.EncodeCursor(groupPlace{last.ID, last.NameKey()}, listing), nil
}

// Members returns a page of a group's members in the order of their ids, and the next one's cursor.
func (s *Service) Members(ctx context.Context, group uuid.UUID, cursor string, limit int) ([]user.GroupMember, string, error) {
	listing := user.Fingerprint("members of", group)
	after, err := decodeGroupPlace(cursor, listing)
	if err != nil {
		return nil, "", err
	}
	members, err := s.store.Members(ctx, group, after.ID, limit+1)
	if err == nil && len(members) == 0 {
		_, err = s.store.Group(ctx, group)
	}
	if err != nil || len(members) <= limit {
		return members, "", err
	}
	return members[:limit], user.EncodeCursor(groupPlace{ID: members[limit-1].ID}, listing), nil
}

// groupPlace is the place of a group, or of a member of one.
type groupPlace struct {
	ID   uuid.UUID `json:"i"`
	Name string    `json:"n,omitzero"` // of a group, in its comparison form
}

// decodeGroupPlace reads a cursor; an empty one is the beginning.
func decodeGroupPlace(cursor string, listing []byte) (groupPlace, error) {
	if cursor == "" {
		return groupPlace{}, nil
	}
	return user.DecodeCursor(cursor, listing, func(p groupPlace) bool { return !strings.ContainsRune(p.Name, 0) })
}
