package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// The feed is in the order of transaction ids, and those begin anew in another cluster: a log
// restored there from a dump may hold ids that the cluster has yet to reach. Its events would be
// hidden until then, and new ones would sort before cursors that clients hold. So this cluster's
// ids are shifted past all ids in the log.

// foreign is the highest transaction id in the log, if this cluster cannot have made it.
const foreign = `WITH log AS (
		SELECT greatest((SELECT xid FROM events ORDER BY xid DESC, seq DESC LIMIT 1), f.xid)::text::bigint AS top,
			pg_snapshot_xmax(pg_current_snapshot())::text::bigint + f.shift AS next, f.shift
		FROM feed_floor f)
	SELECT top, next, shift FROM log WHERE top >= next`

// shiftGap leaves space for cursors to lost events, those younger than the dump.
const shiftGap = 1 << 32

// MendFeed makes the change feed of a database that was restored from a dump into another cluster
// continue where it was, so that earlier cursors stay valid. It reports whether there was anything to
// repair, and may be called at any time by any number of processes.
func (s *Store) MendFeed(ctx context.Context) (mended bool, err error) {
	if restored, err := isForeign(ctx, s.db); err != nil || restored == nil {
		return false, Translate(err)
	}
	db := s.unhurried()
	defer func() { _ = db.Close() }()
	err = db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		restored, err := isForeign(ctx, tx)
		if err != nil || restored == nil { // another process was first
			return err
		}
		for _, statement := range restored.mend() {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		mended = true
		return nil
	})
	return mended && err == nil, Translate(err)
}

// restoredLog holds transaction ids as the log has them.
type restoredLog struct{ Top, Next, Shift int64 }

func isForeign(ctx context.Context, on bun.IDB) (*restoredLog, error) {
	var logs []restoredLog
	if err := on.NewRaw(foreign).Scan(ctx, &logs); err != nil || len(logs) == 0 {
		return nil, err
	}
	return &logs[0], nil
}

func (l restoredLog) mend() []string {
	shift := l.Top + shiftGap
	return []string{
		// Events that this cluster wrote before the repair, if any, are shifted too.
		fmt.Sprintf(`UPDATE events SET xid = (xid::text::bigint + %d)::text::xid8 WHERE xid < '%d'
			AND seq > (SELECT max(seq) FROM events WHERE xid >= '%d')`, shift-l.Shift, l.Next, l.Next),
		fmt.Sprintf("CREATE OR REPLACE FUNCTION feed_xid() RETURNS xid8 LANGUAGE sql AS 'SELECT (pg_current_xact_id()::text::bigint + %d)::text::xid8'", shift),
		fmt.Sprintf("UPDATE feed_floor SET shift = %d", shift),
	}
}
