package outbox

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/store"
)

// keeper owns partitions for this process, by advisory locks of one connection.
type keeper struct {
	connect func(context.Context) (*pgx.Conn, error)
	log     *slog.Logger
	name    string // of this process, so that it does not wake itself by its own notices
	notice  func() // called when another process tells of new events
	changes chan change
	others  atomic.Bool // another process is there, and wants to be told of commits

	mu      sync.Mutex
	drained []int16            // given up by the relay, to be unlocked
	poke    context.CancelFunc // ends the wait for notices
}

// change tells the relay what happened to the ownership.
type change struct {
	what      changeKind
	partition int16 // not for lost
	tenure    *tenure
}

type changeKind int

const (
	gained changeKind = iota
	leave             // send nothing more of it, and call release when nothing is under way
	lost              // all partitions
)

// tenure is the time for which the locks of one connection are held for certain. Sends run
// under its context.
type tenure struct {
	ctx    context.Context //nolint:containedctx // it is the tenure's own, and ends with it
	end    context.CancelFunc
	proved atomic.Int64 // when the locks were last known to be held, as a [sinceStart]
}

var started = time.Now()

// sinceStart is a time that no change of the clock moves.
func sinceStart(t time.Time) int64 { return int64(t.Sub(started)) }

func newTenure() *tenure {
	t := &tenure{}
	t.ctx, t.end = context.WithCancel(context.Background())
	t.proved.Store(sinceStart(time.Now()))
	return t
}

// holds says whether the tenure may still be relied on: a process that was stopped for a
// while must not go on as if nothing had happened.
func (t *tenure) holds(now time.Time) bool {
	return t.ctx.Err() == nil && sinceStart(now)-t.proved.Load() < int64(trust)
}

const (
	channel   = "ai_admin_outbox"
	moved     = "moved"    // the notice that partitions have become free
	lockClass = 0x61696f62 // of the two-part advisory locks; the second part is the partition
	memberKey = store.Partitions

	beatEvery   = time.Second
	beatTimeout = 3 * time.Second
	trust       = 5 * time.Second // since the last proof
)

// keepAlive makes PostgreSQL give up a silent client, and with it the locks, after more
// than trust. On a Unix socket the settings have no effect and need none.
const keepAlive = `SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000`

// run keeps partitions until ctx ends.
func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := k.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("sending is paused: the outbox's locks are not held", "error", store.Loggable(err))
		select {
		case <-ctx.Done():
		case <-time.After(beatEvery/4 + rand.N(beatEvery/2)):
		}
	}
}

var errReadOnly = errors.New("the database server only reads: it may have been the primary until a failover")

var errPooled = errors.New("the database connection goes through a pooler that shares sessions: give ai-admin a direct connection or session pooling")

// serve is the life of one connection.
func (k *keeper) serve(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, trust)
	defer cancel()
	conn, err := k.connect(opening)
	if err != nil {
		return err
	}
	h := &holding{keeper: k, conn: conn, tenure: newTenure()}
	defer h.close()
	if err := h.begin(opening); err != nil {
		return err
	}
	for {
		if err := h.beat(ctx); err != nil {
			return err
		}
		if err := h.listen(ctx); err != nil {
			return err
		}
	}
}

// release gives up a partition that the relay has drained.
func (k *keeper) release(partition int16) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drained = append(k.drained, partition)
	if k.poke != nil {
		k.poke()
	}
}

func (k *keeper) takeDrained() []int16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	drained := k.drained
	k.drained = nil
	return drained
}

// tell hands a change to the relay, unless that has ended.
func (k *keeper) tell(ctx context.Context, c change) error {
	select {
	case k.changes <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// notify tells other processes of new events.
func notify(ctx context.Context, db *sql.DB, message string) error {
	_, err := db.ExecContext(ctx, "SELECT pg_notify($1, $2)", planned, channel, message)
	return err
}
