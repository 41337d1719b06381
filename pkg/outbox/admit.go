package outbox

import (
	"container/heap"
	"context"
	"time"
)

// fetch reads rows whole, and lets them into their lanes.
func (r *relay) fetch(chosen []found) {
	if len(chosen) == 0 {
		return
	}
	partitions, seqs := make([]int16, len(chosen)), make([]int64, len(chosen))
	for i, f := range chosen {
		partitions[i], seqs[i] = f.partition, f.seq
	}
	var rows []row
	r.look(func(ctx context.Context) (err error) {
		rows, err = readRows(ctx, r.db, partitions, seqs)
		return err
	}, func() {
		for _, row := range rows {
			r.admit(row, time.Now())
		}
		for _, f := range chosen {
			if l := r.lanes[f.user]; l != nil && f.more {
				l.more = true
			}
		}
	}, func() { // the cursors are past these rows
		for _, f := range chosen {
			if r.parts[f.partition].usable() {
				r.scans.sweepFrom(f.partition, f.seq-1)
			}
		}
	})
}

// admit lets a row into its lane if its user's previous event is known to be sent, or is
// the last in the lane. Otherwise it stays in the outbox, for a later scan.
func (r *relay) admit(row row, now time.Time) {
	if _, sent := r.open.sent[row.seq]; sent || !r.parts[row.partition].usable() {
		return
	}
	user := row.event.UserID
	l := r.lanes[user]
	if l == nil {
		if !r.isSent(row.previous) {
			if r.scans.blocked[user] == 0 {
				r.scans.blocked[user] = outOfOrder
			}
			return
		}
		delete(r.scans.blocked, user)
		l = &lane{user: user, partition: row.partition}
		r.lanes[user] = l
		r.refill(l, row, now)
		return
	}
	switch {
	case row.seq <= l.tail:
	case l.state != ready && l.state != flying, len(l.queue) >= laneRows, row.previous != l.tail:
		l.more = true
	default:
		l.queue, l.tail = append(l.queue, row), row.seq
		r.held++
	}
}

func (r *relay) isSent(seq int64) bool {
	_, sent := r.open.sent[seq]
	return sent || seq == 0
}

// refill gives an empty lane its head.
func (r *relay) refill(l *lane, row row, now time.Time) {
	l.head, l.tail = row.seq, row.seq
	if row.retryAt.After(now) { // a process before this one was told to wait
		l.state, l.due = waiting, row.retryAt
		heap.Push(&r.waiting, l)
		return
	}
	l.queue = append(l.queue, row)
	r.held++
	r.enqueue(l)
}

// resume reads the heads of lanes whose wait is over.
func (r *relay) resume(lanes []*lane) {
	partitions, seqs := make([]int16, len(lanes)), make([]int64, len(lanes))
	for i, l := range lanes {
		partitions[i], seqs[i] = l.partition, l.head
	}
	heads := map[int64]row{}
	r.look(func(ctx context.Context) error {
		rows, err := readRows(ctx, r.db, partitions, seqs)
		for _, row := range rows {
			heads[row.seq] = row
		}
		return err
	}, func() {
		for _, l := range lanes {
			r.resumed(l, heads)
		}
	}, func() { r.wait(lanes) })
}

func (r *relay) resumed(l *lane, heads map[int64]row) {
	if l.state == gone {
		return
	}
	if head, found := heads[l.head]; found {
		head.retryAt = time.Time{} // its wait is over; only a waiting lane of this process gets here
		r.refill(l, head, time.Now())
		return
	}
	delete(r.lanes, l.user) // somebody removed the row
	r.scans.sweepFrom(l.partition, l.head-1)
}

// wait puts lanes back that could not be read.
func (r *relay) wait(lanes []*lane) {
	for _, l := range lanes {
		if l.state != gone {
			heap.Push(&r.waiting, l)
		}
	}
}
