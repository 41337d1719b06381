package outbox

import (
	"context"
	"database/sql"
	"maps"
	"time"
)

// deleteSent removes events that the sink has accepted.
const deleteSent = `DELETE FROM outbox WHERE ctid = ANY (ARRAY(
	SELECT o.ctid FROM unnest($1::smallint[], $2::bigint[]) AS s(partition, seq)
	CROSS JOIN LATERAL (SELECT ctid FROM outbox WHERE partition = s.partition AND seq = s.seq OFFSET 0) AS o))`

// ruling is what became of an event that the sink refused.
type ruling struct {
	lane     *lane
	refusals int
	retryAt  time.Time
	fault    string
	park     bool
}

const recordRefusals = `UPDATE outbox AS o SET attempts = r.attempts, retry_at = r.retry_at, fault = r.fault,
		parked_at = CASE WHEN r.park THEN now() END
	FROM unnest($1::smallint[], $2::bigint[], $3::int[], $4::timestamptz[], $5::text[], $6::boolean[])
		AS r(partition, seq, attempts, retry_at, fault, park)
	WHERE o.partition = r.partition AND o.seq = r.seq`

// settlement is what the database is still to be told.
type settlement struct {
	sent    map[int64]int16  // partitions by seq
	rulings map[int64]ruling // the last by seq: an update with two for one row would take either
}

// record brings a settlement into the outbox. Doing so twice does no harm.
func (s *settlement) record(ctx context.Context, db *sql.DB) error {
	if len(s.sent) > 0 {
		partitions, seqs := make([]int16, 0, len(s.sent)), make([]int64, 0, len(s.sent))
		for seq, partition := range s.sent {
			partitions, seqs = append(partitions, partition), append(seqs, seq)
		}
		if _, err := db.ExecContext(ctx, deleteSent, planned, partitions, seqs); err != nil {
			return err
		}
	}
	if len(s.rulings) == 0 {
		return nil
	}
	var partitions []int16
	var seqs []int64
	var refusals []int32
	var retries []time.Time
	var faults []string
	var parks []bool
	for seq, r := range s.rulings {
		partitions, seqs, refusals = append(partitions, r.lane.partition), append(seqs, seq), append(refusals, int32(r.refusals)) //nolint:gosec // at most MaxAttempts
		retries, faults, parks = append(retries, r.retryAt), append(faults, r.fault), append(parks, r.park)
	}
	_, err := db.ExecContext(ctx, recordRefusals, planned, partitions, seqs, refusals, retries, faults, parks)
	return err
}

func newSettlement() settlement { return settlement{map[int64]int16{}, map[int64]ruling{}} }

// merge takes back what could not be recorded. What was ruled since then counts.
func (s *settlement) merge(earlier settlement) {
	maps.Copy(s.sent, earlier.sent)
	maps.Copy(earlier.rulings, s.rulings)
	s.rulings = earlier.rulings
}

// about says whether something of a partition is to be recorded.
func (s *settlement) about(p int16) bool {
	for _, partition := range s.sent {
		if partition == p {
			return true
		}
	}
	for _, r := range s.rulings {
		if r.lane.partition == p {
			return true
		}
	}
	return false
}
