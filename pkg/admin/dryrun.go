package admin

import (
	"context"
	"slices"

	"aiadmin/pkg/gather"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// Export calls yield with every user that a query selects, in its order, all of one state of the database, and
// returns that state's cursor in the change feed.
func (s *Service) Export(ctx context.Context, q user.Query, yield func(*user.User) error) (cursor string, err error) {
	place, err := s.store.Export(ctx, q, yield)
	return EncodeCursor(place), err
}

// dryRun judges commands as if those before them had been carried out, and changes nothing: all happens in a draft
// of the database.
type dryRun struct {
	service *Service
	draft   *store.Draft // from the first call on
}

// DryRun returns a stand-in for [Service.ApplyAll] that changes nothing, and knows what earlier calls of
// it would have changed. After an error it cannot go on. Claims do not count. The caller calls end.
func (s *Service) DryRun() (applyAll func(context.Context, []user.Command) ([]user.Result, error), end func()) {
	d := &dryRun{service: s}
	return d.applyAll, d.end
}

func (d *dryRun) end() {
	if d.draft != nil {
		d.draft.Close()
	}
}

func (d *dryRun) applyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	commands = slices.Clone(commands)
	for i := range commands {
		commands[i].Claim = nil
	}
	results := make([]user.Result, len(commands))
	return results, d.carryOut(ctx, commands, results)
}

// carryOut judges commands together or, where one stands in the others' way, in smaller groups, as a real run does.
func (d *dryRun) carryOut(ctx context.Context, commands []user.Command, results []user.Result) error {
	err := gather.Guarded(func() error { return d.try(ctx, newBatch(d.service, commands), results) })
	switch {
	case err == nil || !store.RolledBack(err):
		return err
	case len(commands) == 1:
		results[0] = user.Result{Err: err}
		return nil
	}
	half := len(commands) / 2
	if err := d.carryOut(ctx, commands[:half], results[:half]); err != nil {
		return err
	}
	return d.carryOut(ctx, commands[half:], results[half:])
}

func (d *dryRun) try(ctx context.Context, b *batch, results []user.Result) (err error) {
	if d.draft == nil {
		if d.draft, err = d.service.store.Draft(ctx); err != nil {
			return err
		}
	}
	if b.tx, b.known, err = d.draft.Begin(ctx, b.wanted()); err != nil {
		return err
	}
	defer b.tx.Rollback()
	b.state = newState(b.known)
	if _, err := b.judgeAll(ctx, results); err != nil {
		return err
	}
	return b.tx.Commit(ctx, b.pending.writes(), nil)
}
