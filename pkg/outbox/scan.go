package outbox

import (
	"context"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
)

// scans says how far the outbox has been read. Only cursors of usable partitions are active.
type scans struct {
	wanted  bool // rows may have come
	looked  time.Time
	fresh   perPartition[cursor]
	sweep   perPartition[cursor]
	sweepAt time.Time            // when to sweep all of it
	all     bool                 // that is under way
	swept   time.Duration        // what it has cost
	turn    bool                 // the last scan was fresh: now a sweep may come first
	blocked map[uuid.UUID]reason // users whose rows are left where they are, until the next sweep

	top    perPartition[int64]    // the highest row that fresh scans have seen
	marks  [2]perPartition[int64] // the top a while ago, at least and at most markEvery
	marked time.Time
}

// reason is why a user is blocked.
type reason int

const (
	isParked   reason = iota + 1 // its oldest event is: nobody need look at the others
	outOfOrder                   // a fresh scan came upon an event before the one before it
)

// cursor is a place in a partition; an active one has rows to read behind it.
type cursor struct {
	after  int64
	active bool
}

const (
	pollEvery = time.Second
	// A commit may become visible after one with a higher number: fresh scans look back, so
	// that the sweep need not find such rows a second later.
	markEvery  = 500 * time.Millisecond
	pageRows   = 256 // of a partition in one scan, at most
	spareRows  = 8   // read beyond the room, for those that are known already
	sweepShare = 20  // a sweep is followed by a pause that many times as long
)

// begin reads a partition from the start.
func (s *scans) begin(p int16) {
	s.end(p)
	s.fresh[p].active = true
	s.wanted = true
}

// end reads a partition no more.
func (s *scans) end(p int16) {
	s.fresh[p], s.sweep[p] = cursor{}, cursor{}
	s.top[p], s.marks[0][p], s.marks[1][p] = 0, 0, 0
}

// sweepFrom makes a sweep look at what is behind a row.
func (s *scans) sweepFrom(p int16, after int64) {
	if s.sweep[p].active {
		after = min(after, s.sweep[p].after)
	}
	s.sweep[p] = cursor{after, true}
}

func (s *scans) sweeping() bool { return anyActive(&s.sweep) }

// mark notes how far fresh scans have come.
func (s *scans) mark(now time.Time) {
	if now.Sub(s.marked) >= markEvery {
		s.marked = now
		s.marks[0], s.marks[1] = s.marks[1], s.top
	}
}

// scan reads fresh rows or goes on with a sweep, whichever is next.
func (r *relay) scan(now time.Time) {
	s := &r.scans
	s.mark(now)
	r.startSweep(now)
	if now.Sub(s.looked) >= pollEvery { // the sweep may be far off
		s.wanted = true
	}
	switch sweep := s.sweeping(); {
	case s.wanted && !(sweep && s.turn):
		s.turn, s.wanted, s.looked = true, false, now
		for p := range s.fresh {
			if !s.fresh[p].active {
				s.fresh[p] = cursor{s.marks[0][p], r.parts[p].usable()}
			}
		}
		r.read(&s.fresh)
	case sweep:
		s.turn = false
		r.read(&s.sweep)
	}
}

// startSweep begins a sweep over everything when it is time.
func (r *relay) startSweep(now time.Time) {
	s := &r.scans
	if now.Before(s.sweepAt) || s.all && s.sweeping() {
		return
	}
	clear(s.blocked)
	s.all, s.swept, s.sweepAt, s.looked = true, 0, now.Add(pollEvery), now
	for p := range s.sweep {
		s.sweep[p] = cursor{0, r.parts[p].usable()}
	}
}

// read finds rows behind the cursors, and reads those that lanes have room for.
func (r *relay) read(cursors *perPartition[cursor]) {
	var partitions []int16
	var after []int64
	from := *cursors
	for p := range int16(store.Partitions) {
		if cursors[p].active {
			partitions, after = append(partitions, p), append(after, cursors[p].after)
		}
	}
	if len(partitions) == 0 {
		return
	}
	quota := max(1, (windowRows-r.held)/len(partitions)) // a fair part of the room
	limit := min(pageRows, quota+spareRows)
	began := time.Now()
	var list []found
	r.look(func(ctx context.Context) (err error) {
		list, err = findUnsent(ctx, r.db, partitions, after, limit)
		return err
	}, func() {
		chosen := r.choose(list, cursors, &from, quota, limit)
		r.looked(cursors, time.Since(began))
		r.fetch(chosen)
	}, func() {})
}

// looked plans the next look after one.
func (r *relay) looked(cursors *perPartition[cursor], took time.Duration) {
	s := &r.scans
	if cursors == &s.fresh {
		s.wanted = s.wanted || anyActive(cursors)
		for p := range s.top {
			s.top[p] = max(s.top[p], s.fresh[p].after)
		}
		return
	}
	s.swept += took
	if s.all && !s.sweeping() {
		s.all, s.sweepAt = false, time.Now().Add(max(pollEvery, sweepShare*s.swept))
	}
}

func anyActive(cursors *perPartition[cursor]) bool {
	for p := range cursors {
		if cursors[p].active {
			return true
		}
	}
	return false
}
