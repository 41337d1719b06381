package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/store"
)

// The statements of a lease are raw: Bun cannot express advisory locks and notifications, and they
// run on a connection outside the pool.

const (
	channel   = "ai_admin_outbox"
	moved     = "moved"    // the notification that partitions have become free
	lockClass = 0x61696f62 // of the two-part advisory locks; the second part is the partition
	memberKey = store.Partitions

	beatEvery   = time.Second
	beatTimeout = 3 * time.Second
	trust       = 5 * time.Second // since the last proof
)

// keepAlive makes PostgreSQL give up a silent client, and with it the locks, after more
// than trust. On a Unix socket the settings have no effect and need none.
const keepAlive = `SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000`

// lease is this process's ownership of partitions: one connection and the advisory locks
// that its session holds.
type lease struct {
	relay   *Relay
	conn    *pgx.Conn
	session int           // PostgreSQL's process id for it
	proved  atomic.Int64  // when the locks were last known to be held, as a [sinceStart]
	changed chan struct{} // signaled when a partition has come or is to be given up

	mu    sync.Mutex
	parts perPartition[ownership]
	poke  context.CancelFunc // ends the wait for notifications
}

// perPartition holds a value for each partition of the outbox.
type perPartition[T any] [store.Partitions]T

type ownership int

const (
	free    ownership = iota // another process's, or nobody's
	owned                    // locked: its events are sent
	leaving                  // locked: nothing more of it is sent
	drained                  // locked: nothing of it is under way, so it can be unlocked
)

var started = time.Now()

// sinceStart returns t on the monotonic clock, which clock changes do not affect.
func sinceStart(t time.Time) int64 { return int64(t.Sub(started)) }

var (
	errReadOnly = errors.New("the database server is read-only: it may have been the primary until a failover")
	errPooled   = errors.New("the database connection goes through a pooler that shares sessions: give ai-admin a direct connection or session pooling")
)

// acquire connects, subscribes to notifications, registers this process and locks its
// share of the partitions.
func (r *Relay) acquire(ctx context.Context) (*lease, error) {
	ctx, cancel := context.WithTimeout(ctx, trust)
	defer cancel()
	conn, err := r.store.Connect(ctx)
	if err != nil {
		return nil, err
	}
	l := &lease{relay: r, conn: conn, changed: make(chan struct{}, 1)}
	if err = l.begin(ctx); err == nil {
		err = l.beat(ctx)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lease) begin(ctx context.Context) error {
	_, _ = l.conn.PgConn().Exec(ctx, keepAlive).ReadAll() // fails on systems without these settings
	if _, err := l.conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	return l.conn.QueryRow(ctx, fmt.Sprintf("SELECT pg_backend_pid(), pg_advisory_lock_shared(%d, %d)", lockClass, memberKey)).
		Scan(&l.session, nil)
}

// keep proves that the locks are held, each second, until ctx ends or they are lost.
func (l *lease) keep(ctx context.Context) error {
	for {
		if err := l.listen(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		if err := l.beat(ctx); err != nil {
			return err
		}
	}
}

// close unlocks all partitions. By then the caller has stopped sending.
func (l *lease) close() {
	l.relay.shared.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	_ = l.conn.QueryRow(ctx, "SELECT pg_advisory_unlock_all(), pg_notify($1, $2)", channel, moved).Scan(nil, nil)
	_ = l.conn.Close(ctx)
}

// countMembers counts the processes that send.
var countMembers = fmt.Sprintf(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND classid = %d AND objid = %d AND objsubid = 2`, lockClass, memberKey)

// prove shows that the session is alive, still the same, and on a server that takes writes.
var prove = "SELECT pg_backend_pid(), current_setting('transaction_read_only')::bool, (" + countMembers + ")"

// Sending reports whether any process sends the events of a database at present.
func Sending(ctx context.Context, s *store.Store) (bool, error) {
	var members int
	err := s.DB().DB.QueryRowContext(ctx, countMembers).Scan(&members)
	return members > 0, store.Translate(err)
}

// beat checks that the locks are held, and brings their number to this process's share.
func (l *lease) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	asked := time.Now()
	var session, members int
	var readOnly bool
	if err := l.conn.QueryRow(ctx, prove).Scan(&session, &readOnly, &members); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	if session != l.session || members == 0 {
		return errPooled
	}
	l.proved.Store(sinceStart(asked))
	l.relay.shared.Store(members > 1)
	if err := l.unlock(ctx); err != nil {
		return err
	}
	return l.balance(ctx, (store.Partitions+members-1)/members)
}

// unlock frees the drained partitions and notifies the processes that may be waiting for them.
func (l *lease) unlock(ctx context.Context) error {
	leave := l.all(drained)
	for _, p := range leave {
		if _, err := l.conn.Exec(ctx, "SELECT pg_advisory_unlock($1::int, $2::int)", lockClass, p); err != nil {
			return err
		}
		l.setState(p, free)
	}
	if len(leave) == 0 {
		return nil
	}
	_, err := l.conn.Exec(ctx, "SELECT pg_notify($1, $2)", channel, moved)
	return err
}

// balance locks free partitions up to this process's share, and gives up what is above it.
func (l *lease) balance(ctx context.Context, share int) error {
	kept := len(l.owned())
	for _, n := range rand.Perm(store.Partitions) { //nolint:gosec // processes that start together try different ones first
		p := int16(n) //nolint:gosec // at most 16
		switch state := l.state(p); {
		case kept > share && state == owned:
			l.setState(p, leaving)
			kept--
		case kept < share && state == free:
			var locked bool
			if err := l.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1::int, $2::int)", lockClass, p).Scan(&locked); err != nil {
				return err
			}
			if locked {
				l.setState(p, owned)
				kept++
			}
		}
	}
	return nil
}

// listen waits for a notification that concerns the partitions, at most until the next
// beat is due.
func (l *lease) listen(ctx context.Context) error {
	next := started.Add(time.Duration(l.proved.Load()) + beatEvery)
	for ctx.Err() == nil {
		waiting, cancel := context.WithDeadline(ctx, next)
		l.setPoke(cancel)
		notification, err := l.conn.WaitForNotification(waiting)
		over := waiting.Err() != nil
		l.setPoke(nil)
		cancel()
		switch {
		case err != nil && over:
			return nil
		case err != nil:
			return err
		case notification.Payload == moved:
			return nil
		case notification.Payload != l.relay.name:
			signal(l.relay.wake)
			l.relay.options.Notice()
		}
	}
	return nil
}

// setPoke notes how to end the wait for notifications. If a partition is drained already,
// the wait ends at once.
func (l *lease) setPoke(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.poke = cancel
	for _, state := range l.parts {
		if state == drained && cancel != nil {
			cancel()
		}
	}
}

// release marks a leaving partition as drained: nothing of it is under way any more.
func (l *lease) release(p int16) {
	l.setState(p, drained)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.poke != nil {
		l.poke()
	}
}

// sends reports whether an event of a partition may be sent now. A process that was suspended for a
// while may have lost its locks.
func (l *lease) sends(p int16) bool {
	return l.state(p) == owned && sinceStart(time.Now())-l.proved.Load() < int64(trust)
}

func (l *lease) owned() []int16 { return l.all(owned) }

// all lists the partitions in a state.
func (l *lease) all(state ownership) (parts []int16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.parts {
		if l.parts[p] == state {
			parts = append(parts, int16(p)) //nolint:gosec // at most 16
		}
	}
	return parts
}

func (l *lease) state(p int16) ownership {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts[p]
}

func (l *lease) setState(p int16, state ownership) {
	l.mu.Lock()
	l.parts[p] = state
	l.mu.Unlock()
	if state == owned || state == leaving {
		signal(l.changed)
	}
	l.relay.metrics.owned.Set(float64(len(l.owned())))
}
