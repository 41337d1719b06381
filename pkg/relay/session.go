package relay

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
)

// session sends events for as long as one lease lasts. Its fields belong to the goroutine of run,
// except ready and the ledger, which the workers share.
type session struct {
	*Relay
	db      *sql.DB // one connection, used by this goroutine alone
	lease   *lease
	sending context.Context //nolint:containedctx // of the requests to the sink: ends with the lease
	end     context.CancelFunc
	ready   chan *delivery // has space for all users in memory

	users     map[uuid.UUID]*delivery // in memory: ready, being sent, or not settled yet
	following []*delivery             // users whose events in memory are sent: there may be more
	bounds    bounds
	wanted    bool      // there may be new events
	looked    time.Time // for new events
	retryAt   time.Time // when the next of this session's postponed events is due; zero for none
	notBefore time.Time // the database has a pause until then
}

const (
	maxUsers     = 1024                   // in memory
	pollEvery    = time.Second            // for new events nobody announced
	settleAfter  = 20 * time.Millisecond  // results wait that long, to be recorded together
	settleRows   = 512                    // or until there are that many
	maxRest      = 100 * time.Millisecond // the pause after a use of the database is as long as the use, but no longer than this
	dbTimeout    = 30 * time.Second
	dbRetry      = time.Second
	finishWithin = 10 * time.Second // for requests under way when the service stops
)

func newSession(r *Relay, db *sql.DB, l *lease) *session {
	s := &session{Relay: r, db: db, lease: l, ready: make(chan *delivery, 3*maxUsers), users: map[uuid.UUID]*delivery{}, wanted: true}
	s.sending, s.end = context.WithCancel(context.Background())
	r.ledger.keepSent()
	return s
}

// run sends events until stop or the lease ends, and returns when nothing is under way.
func (s *session) run(stop context.Context) {
	working, quit := context.WithCancel(s.sending)
	defer quit()
	defer context.AfterFunc(stop, quit)()
	var workers sync.WaitGroup
	for range maxFlying {
		workers.Go(func() { s.work(working) })
	}
	s.loop(working)
	overdue := time.AfterFunc(finishWithin, s.end)
	workers.Wait()
	overdue.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if s.sending.Err() == nil {
		s.settle(ctx, s.ledger.take())
	}
}

func (s *session) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			s.wanted = true
		case <-s.lease.changed:
			s.wanted = true
		case <-s.ledger.filled:
		case <-timer.C:
		}
		if wait := time.Until(s.next()); wait > 0 {
			timer.Reset(wait)
			continue
		}
		s.exchange(ctx)
		timer.Reset(time.Until(s.next()))
	}
}

// next returns when to use the database next.
func (s *session) next() time.Time {
	at := s.looked.Add(pollEvery)
	if !s.retryAt.IsZero() && s.retryAt.Before(at) {
		at = s.retryAt
	}
	if s.wanted || len(s.following) > 0 {
		at = s.notBefore
	}
	if !s.hasSpace() && len(s.following) == 0 { // only the end of deliveries makes space
		at = time.Now().Add(pollEvery)
	}
	if due := s.ledger.due(); !due.IsZero() && due.Before(at) {
		at = due
	}
	if at.Before(s.notBefore) {
		return s.notBefore
	}
	return at
}

// hasSpace reports whether enough users and bytes fit in memory to make reading worthwhile.
func (s *session) hasSpace() bool {
	return len(s.users) <= maxUsers/2 && s.ledger.held() <= maxHeld/2
}

// exchange records results, then reads the events to send next. The order matters: a row that is
// sent but not deleted yet must not be read again.
func (s *session) exchange(stop context.Context) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.sending, dbTimeout)
	defer cancel()
	ok := s.settle(ctx, s.ledger.take())
	s.handOver()
	if ok && stop.Err() == nil {
		ok = s.look(ctx)
	}
	s.notBefore = time.Now().Add(min(time.Since(began), maxRest)) // leaves the database to the requests
	if !ok {
		s.notBefore = time.Now().Add(dbRetry)
	}
}

// settle records a batch of results in the outbox.
func (s *session) settle(ctx context.Context, b batch) bool {
	if b.empty() {
		return true
	}
	if err := record(ctx, s.db, b, s.lease.owned()); err != nil {
		s.ledger.putBack(b)
		s.failed(err)
		return false
	}
	for _, p := range b.postponed {
		if at := time.Now().Add(p.wait); !p.park && (s.retryAt.IsZero() || at.Before(s.retryAt)) {
			s.retryAt = at
		}
	}
	for _, d := range b.ended {
		delete(s.users, d.user)
	}
	s.following = append(s.following, b.emptied...)
	if len(b.sent) > 0 {
		s.options.Sent()
	}
	return true
}

func (s *session) failed(err error) {
	if s.sending.Err() == nil {
		// The database's own text stays out of the log: it may quote what is in a row.
		s.log.Warn("the outbox cannot be read or written at present", "error", store.Loggable(err))
	}
}

// handOver ends the deliveries of partitions that are leaving, and releases those that
// have nothing under way.
func (s *session) handOver() {
	leave := s.lease.all(leaving)
	if len(leave) == 0 {
		return
	}
	for range len(s.ready) {
		select {
		case d := <-s.ready:
			s.queue(d)
		default:
		}
	}
	following := s.following[:0]
	for _, d := range s.following {
		if s.lease.state(d.partition) == owned {
			following = append(following, d)
		} else {
			delete(s.users, d.user)
		}
	}
	s.following = following
	var busy perPartition[bool]
	for _, d := range s.users {
		busy[d.partition] = true
	}
	for _, p := range leave {
		if !busy[p] {
			s.bounds.reset(p)
			s.lease.release(p)
		}
	}
}

// queue makes a delivery wait for a worker, or ends it if its partition is leaving.
func (s *session) queue(d *delivery) {
	if s.lease.state(d.partition) != owned {
		s.ledger.ended(d)
		return
	}
	s.ready <- d
}

// look reads the events to send next.
func (s *session) look(ctx context.Context) bool {
	q := query{parts: s.lease.owned(), following: s.following}
	if s.hasSpace() {
		s.wanted, s.looked, s.retryAt = false, time.Now(), time.Time{}
		s.bounds.refresh(s.looked)
		q.after, q.limit = s.bounds.after, (maxUsers-len(s.users))/max(1, len(q.parts))
	}
	if q.limit*len(q.parts) == 0 && len(q.following) == 0 {
		return true
	}
	for user := range s.users {
		q.busy = append(q.busy, user.String())
	}
	began := time.Now()
	found, err := s.readOutbox(ctx, q)
	if err != nil {
		s.wanted = true
		s.failed(err)
		return false
	}
	s.bounds.took(time.Since(began))
	s.take(found, q)
	return true
}

// take queues what was read.
func (s *session) take(found found, q query) {
	for _, d := range found.deliveries {
		s.users[d.user] = d
		s.ledger.hold(d.bytes())
		s.queue(d)
	}
	following := s.following[:0]
	for _, d := range s.following {
		switch {
		case s.users[d.user] != d: // there was more
		case found.cut: // perhaps it was not read
			following = append(following, d)
		default:
			delete(s.users, d.user)
		}
	}
	s.following = following
	s.wanted = s.wanted || found.full(q.limit) || found.cut
	s.bounds.seen(found, q.limit)
}

// bounds say where in each partition new events can be: behind a row below which no
// transaction can commit one any more.
type bounds struct {
	after   perPartition[int64]
	pending perPartition[int64] // the next bounds, once the transactions running then have ended
	xmax    int64               // no transaction up to here was running when pending was read; 0 for none pending
	fullAt  time.Time           // when everything is to be read from the start again
}

// Now and then all of the outbox is read, for rows that somebody changed by hand: each
// minute, or less often if that takes more than a hundredth of the time.
const (
	fullEvery = time.Minute
	fullShare = 100
)

func (b *bounds) refresh(now time.Time) {
	if !now.Before(b.fullAt) {
		*b = bounds{fullAt: now.Add(fullEvery)}
	}
}

// took postpones the next full read in proportion to what a read has cost.
func (b *bounds) took(cost time.Duration) {
	if at := time.Now().Add(fullShare * cost); at.After(b.fullAt) {
		b.fullAt = at
	}
}

func (b *bounds) reset(p int16) { b.after[p], b.pending[p] = 0, 0 }

// seen moves the bounds. The highest new head that was read becomes a bound once every transaction
// that was running then has ended, since one of them may still commit an event before it. Those
// events must have been read as well, which may take more than one look.
func (b *bounds) seen(f found, limit int) {
	if f.xmax == 0 || f.cut || limit == 0 {
		return
	}
	if b.xmax != 0 && f.xmin >= b.xmax {
		for p, to := range b.pending {
			if f.counts[p] >= limit {
				to = min(to, f.top[p])
			}
			b.after[p] = max(b.after[p], to)
		}
		b.xmax = 0
	}
	if b.xmax == 0 {
		b.pending, b.xmax = f.top, f.xmax
	}
}
