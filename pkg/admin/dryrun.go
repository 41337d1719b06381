package admin

import (
	"context"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// Export calls yield with every user that a query selects, in its order, all of one state of the database, and
// returns that state's cursor in the change feed.
func (s *Service) Export(ctx context.Context, q user.Query, yield func(*user.User) error) (cursor string, err error) {
	place, err := s.store.Export(ctx, q, yield)
	return EncodeCursor(place), err
}

// DryRun judges commands as if those before them had been carried out, and changes nothing: all happens in
// one transaction that is never committed. The users that it touches are locked until its end.
type DryRun struct {
	service *Service
	tx      *store.Tx
}

// DryRun begins a dry run. The caller ends it.
func (s *Service) DryRun() *DryRun { return &DryRun{service: s} }

// End undoes everything.
func (d *DryRun) End() {
	if d.tx != nil {
		d.tx.Rollback()
	}
}

// ApplyAll judges commands, like [Service.ApplyAll]. After an error, the dry run cannot go on.
func (d *DryRun) ApplyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	b := newBatch(d.service, commands)
	var err error
	if d.tx == nil {
		d.tx, b.known, err = d.service.store.Begin(ctx, store.Wait, b.wanted())
	} else {
		b.known, err = d.tx.Learn(ctx, store.Wait, b.wanted())
	}
	if err != nil {
		return nil, dryRunError(err)
	}
	b.tx, b.state = d.tx, newState(b.known)
	results := make([]user.Result, len(commands))
	if _, err := b.judgeAll(ctx, results); err != nil {
		return nil, dryRunError(err)
	}
	if err := d.tx.Write(ctx, b.pending.writes()); err != nil {
		return nil, dryRunError(err)
	}
	return results, nil
}

// dryRunError says what to do when others have changed the same meanwhile.
func dryRunError(err error) error {
	if store.Conflict(err) {
		return user.Errorf(user.Unavailable, "others have changed the same users meanwhile: run it again").Because(store.Loggable(err))
	}
	return err
}
