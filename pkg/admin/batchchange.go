package admin

import (
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// change is what one command of a batch makes of a user.
type change struct {
	before, after *user.User // nil before a creation, after a deletion
	event         *user.Event
	sealed        map[string]string // by provider
	dropped       []string
}

// decide computes a command's change; one without an event changes nothing.
func (b *batch) decide(command user.Command) (*change, error) {
	switch asked := command.Change.(type) {
	case user.Create:
		write, err := b.service.make(command, asked)
		return b.written(nil, write, err)
	case user.Update:
		before := b.world.find(command.User)
		if before == nil {
			return nil, store.ErrNotFound
		}
		write, err := b.service.revise(before, b.world.seals[before.ID], command, asked)
		return b.written(before, write, err)
	default:
		return b.removal(command)
	}
}

func (b *batch) written(before *user.User, write *store.Write, err error) (*change, error) {
	if err != nil || write == nil {
		return &change{before: before}, err
	}
	if err := b.world.conflict(before, write.User); err != nil {
		return nil, err
	}
	return &change{before, write.User, &write.Event, write.Sealed, write.Dropped}, nil
}

func (b *batch) removal(command user.Command) (*change, error) {
	before := b.world.find(command.User)
	if before == nil {
		return nil, store.ErrNotFound
	}
	if err := sameTag(before, command.User); err != nil {
		return nil, err
	}
	if !command.IfMatch.Holds(before.Version) {
		return nil, errPrecondition
	}
	event := user.Removed(before, command, user.Timestamp(b.service.options.Now()))
	return &change{before: before, event: &event}, nil
}
