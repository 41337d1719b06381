package outbox

import "github.com/google/uuid"

// choose picks the rows to read whole, at most quota from each partition, and moves the
// cursors behind what has been decided on, unless they were put back since the list was
// asked for from there. limit is how many rows there could have been.
func (r *relay) choose(list []found, cursors, from *perPartition[cursor], quota, limit int) []found {
	var seen, taken perPartition[int]
	var full perPartition[bool]
	after := *from
	users := map[uuid.UUID]*picked{}
	var chosen []found
	for _, f := range list {
		p := f.partition
		seen[p]++
		if full[p] {
			continue
		}
		switch u := users[f.user]; {
		case !r.wants(f, cursors == &r.scans.fresh):
		case u != nil && u.rows == laneRows:
			chosen[u.last].more = true
		case taken[p] == quota:
			full[p] = true
			continue
		default:
			if u == nil {
				u = &picked{}
				users[f.user] = u
			}
			u.rows, u.last = u.rows+1, len(chosen)
			taken[p]++
			chosen = append(chosen, f)
		}
		after[p].after = f.seq
	}
	for p := range cursors {
		if from[p].active && cursors[p].after >= from[p].after {
			cursors[p] = cursor{after[p].after, full[p] || seen[p] == limit}
		}
	}
	return chosen
}

// picked is how many rows of a user have been chosen, and the last one's place.
type picked struct{ rows, last int }

// wants says whether a row is neither known nor held up.
func (r *relay) wants(f found, fresh bool) bool {
	if _, sent := r.open.sent[f.seq]; sent {
		return false
	}
	if l := r.lanes[f.user]; l != nil {
		if f.seq <= l.tail {
			return false
		}
		if l.state == waiting || l.state == parked || len(l.queue) >= laneRows {
			l.more = true
			return false
		}
		return true
	}
	if f.parked {
		r.scans.blocked[f.user] = isParked
	}
	why := r.scans.blocked[f.user]
	return why == 0 || why == outOfOrder && !fresh
}
