package outbox

// part is a partition of the outbox.
type part struct {
	owned, leaving bool
	flying         int // of this tenure and of earlier ones
	stale          int // of earlier tenures: what they send must land before others begin
}

func (p *part) usable() bool { return p.owned && !p.leaving && p.stale == 0 }

// change takes up a change of the ownership.
func (r *relay) change(c change) {
	r.epoch++
	switch c.what {
	case gained:
		r.tenure = c.tenure
		r.parts[c.partition].owned = true
		r.begin(c.partition)
	case leave:
		r.parts[c.partition].leaving = true
		r.scans.end(c.partition)
		r.drop(func(l *lane) bool { return l.partition == c.partition })
		r.release()
	case lost:
		r.tenure = nil
		r.drop(func(*lane) bool { return true })
		for p := range r.parts {
			r.parts[p].abandon()
			r.scans.end(int16(p))
		}
	}
	r.metrics.owned.Set(float64(r.owned()))
}

// begin reads a partition once nothing of an earlier tenure is under way in it.
func (r *relay) begin(p int16) {
	if r.parts[p].usable() {
		r.scans.begin(p)
	}
}

// release hands back partitions that are leaving and have nothing under way.
func (r *relay) release() {
	for p := range r.parts {
		part := &r.parts[p]
		if part.leaving && part.flying == 0 && !r.open.about(int16(p)) && !r.recording.about(int16(p)) {
			part.abandon()
			r.keeper.release(int16(p))
			r.metrics.owned.Set(float64(r.owned()))
		}
	}
}

func (p *part) abandon() { *p = part{flying: p.flying, stale: p.flying} }

func (r *relay) owned() (n int) {
	for p := range r.parts {
		if r.parts[p].owned {
			n++
		}
	}
	return n
}
