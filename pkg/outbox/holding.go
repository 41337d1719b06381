package outbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/store"
)

// holding is one connection and the locks it holds.
type holding struct {
	keeper  *keeper
	conn    *pgx.Conn
	tenure  *tenure
	session int // PostgreSQL's process id for it
	owned   perPartition[bool]
	leaving perPartition[bool]
}

// begin listens for notices and says that this process is there.
func (h *holding) begin(ctx context.Context) error {
	_, _ = h.conn.PgConn().Exec(ctx, keepAlive).ReadAll() // refused where the system has no such thing
	if _, err := h.conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	return h.conn.QueryRow(ctx, fmt.Sprintf("SELECT pg_backend_pid(), pg_advisory_lock_shared(%d, %d)", lockClass, memberKey)).
		Scan(&h.session, nil)
}

// close ends the tenure before its connection, so that nothing is sent without a lock.
func (h *holding) close() {
	h.tenure.end()
	h.keeper.others.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	_ = h.keeper.tell(ctx, change{what: lost, tenure: h.tenure})
	_ = h.conn.QueryRow(ctx, "SELECT pg_advisory_unlock_all(), pg_notify($1, $2)", channel, moved).Scan(nil, nil)
	_ = h.conn.Close(ctx)
}

// count proves that the session is alive, the same, and on a server that writes, and counts the processes.
var countMembers = fmt.Sprintf(`SELECT pg_backend_pid(), current_setting('transaction_read_only')::bool, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND classid = %d AND objid = %d AND objsubid = 2)`, lockClass, memberKey)

// beat checks that the locks are held, and brings their number to this process's share.
func (h *holding) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	asked := time.Now()
	var session, members int
	var readOnly bool
	if err := h.conn.QueryRow(ctx, countMembers).Scan(&session, &readOnly, &members); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	if session != h.session || members == 0 {
		return errPooled
	}
	h.tenure.proved.Store(sinceStart(asked))
	h.keeper.others.Store(members > 1)
	if err := h.unlock(ctx); err != nil {
		return err
	}
	return h.balance(ctx, (store.Partitions+members-1)/members)
}

// unlock frees what the relay has drained, and tells who may be waiting for it.
func (h *holding) unlock(ctx context.Context) error {
	drained := h.keeper.takeDrained()
	for _, p := range drained {
		if !h.leaving[p] { // of an earlier tenure
			continue
		}
		if _, err := h.conn.Exec(ctx, "SELECT pg_advisory_unlock($1::int, $2::int)", lockClass, p); err != nil {
			return err
		}
		h.owned[p], h.leaving[p] = false, false
	}
	if len(drained) == 0 {
		return nil
	}
	_, err := h.conn.Exec(ctx, "SELECT pg_notify($1, $2)", channel, moved)
	return err
}

// balance locks free partitions up to this process's share, and gives up what is above it.
func (h *holding) balance(ctx context.Context, share int) error {
	kept := 0
	for p := range h.owned {
		if h.owned[p] && !h.leaving[p] {
			kept++
		}
	}
	first := rand.IntN(store.Partitions) // processes that start together try different ones first
	for i := range store.Partitions {
		p := int16((first + i) % store.Partitions)
		switch {
		case kept > share && h.owned[p] && !h.leaving[p]:
			h.leaving[p] = true
			kept--
			if err := h.keeper.tell(ctx, change{leave, p, h.tenure}); err != nil {
				return err
			}
		case kept < share && !h.owned[p]:
			got, err := h.tryLock(ctx, p)
			if err != nil {
				return err
			}
			if got {
				kept++
			}
		}
	}
	return nil
}

func (h *holding) tryLock(ctx context.Context, p int16) (got bool, err error) {
	err = h.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1::int, $2::int)", lockClass, p).Scan(&got)
	if err != nil || !got {
		return false, err
	}
	h.owned[p] = true
	return true, h.keeper.tell(ctx, change{gained, p, h.tenure})
}

// listen waits for a notice, at most until the next beat is due.
func (h *holding) listen(ctx context.Context) error {
	next := started.Add(time.Duration(h.tenure.proved.Load()) + beatEvery)
	for ctx.Err() == nil {
		waiting, cancel := context.WithDeadline(ctx, next)
		h.keeper.setPoke(cancel)
		notice, err := h.conn.WaitForNotification(waiting)
		over := waiting.Err() != nil
		h.keeper.setPoke(nil)
		cancel()
		switch {
		case err != nil && over:
			return ctx.Err()
		case err != nil:
			return err
		case notice.Payload == moved:
			return nil // to balance
		case notice.Payload != h.keeper.name:
			h.keeper.notice()
		}
	}
	return ctx.Err()
}

func (k *keeper) setPoke(cancel context.CancelFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.poke = cancel
	if cancel != nil && len(k.drained) > 0 {
		cancel()
	}
}
