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

// dryRun judges commands as if those before them had been carried out, and changes nothing: all happens in
// one transaction that is never committed. The users that it touches are locked until its end.
type dryRun struct {
	service *Service
	tx      *store.Tx
}

// DryRun returns a stand-in for [Service.ApplyAll] that changes nothing, and knows what earlier calls of
// it would have changed. After an error it cannot go on. Claims do not count. The caller calls end.
func (s *Service) DryRun() (applyAll func(context.Context, []user.Command) ([]user.Result, error), end func()) {
	d := &dryRun{service: s}
	return d.applyAll, d.end
}

func (d *dryRun) end() {
	if d.tx != nil {
		d.tx.Rollback()
	}
}

func (d *dryRun) applyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	commands = slices.Clone(commands)
	for i := range commands {
		commands[i].Claim = nil // a lock for each, until the end, would be too many
	}
	results := make([]user.Result, len(commands))
	err := gather.Guarded(func() error { return d.try(ctx, newBatch(d.service, commands), results) })
	if store.Conflict(err) {
		return nil, user.Errorf(user.Unavailable, "others have changed the same users meanwhile: run it again").Wrap(store.Loggable(err))
	}
	return results, err
}

func (d *dryRun) try(ctx context.Context, b *batch, results []user.Result) (err error) {
	if d.tx == nil {
		d.tx, b.known, err = d.service.store.Begin(ctx, store.Wait, b.wanted())
	} else {
		b.known, err = d.tx.Learn(ctx, store.Wait, b.wanted())
	}
	if err != nil {
		return err
	}
	b.tx, b.state = d.tx, newState(b.known)
	if _, err := b.judgeAll(ctx, results); err != nil {
		return err
	}
	return d.tx.Write(ctx, b.pending.writes())
}
