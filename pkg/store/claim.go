package store

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

func number(n int) string { return strconv.Itoa(n) }

func number64(n uint64) string { return strconv.FormatUint(n, 10) }

// Replay is the recorded answer to a claim.
type Replay struct {
	Digest []byte
	Event  *user.Event // nil: the request changed nothing
}

const selectClaims = `SELECT c.key, c.digest, c.event_id, e.type, e.user_id, e.version, e.at, e.actor, e.cause, e.data
	FROM claims c LEFT JOIN events e ON e.id = c.event_id WHERE c.key `

// Replay returns the answer recorded under a claim, nil when the claim is free.
func (s *Store) Replay(ctx context.Context, claim *user.Claim) (*Replay, error) {
	return s.replay(ctx, s.pool, claim)
}

func (s *Store) replay(ctx context.Context, on querier, claim *user.Claim) (*Replay, error) {
	key := claim.Key()
	rows, err := on.QueryContext(ctx, selectClaims+"= $1", prepared(key[:])...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return nil, translate(rows.Err())
	}
	_, found, err := scanReplay(rows)
	return found, translate(err)
}

// scanner is a row of either driver.
type scanner interface{ Scan(to ...any) error }

func scanReplay(row scanner) (string, *Replay, error) {
	var (
		key         []byte
		replay      Replay
		eventID     *uuid.UUID
		kind, actor sql.NullString
		cause, data sql.NullString
		userID      *uuid.UUID
		version     sql.NullInt64
		at          sql.NullTime
	)
	if err := row.Scan(&key, &replay.Digest, &eventID, &kind, &userID, &version, &at, &actor, &cause, &data); err != nil {
		return "", nil, err
	}
	if eventID != nil && userID != nil {
		replay.Event = &user.Event{ID: *eventID, Type: user.EventType(kind.String), UserID: *userID, Version: version.Int64,
			At: at.Time.UTC(), Actor: actor.String, Cause: cause.String, Data: []byte(data.String)}
	}
	return string(key), &replay, nil
}

// Locked runs f in a transaction that holds the user's row lock, on a Locked view of the
// store. The user is as it was when the lock was got.
func (s *Store) Locked(ctx context.Context, ref user.Ref, f func(*Locked) error) error {
	leave, err := s.crowds.enter(ctx, ref.ID, s.patience)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.change.enter(ctx); err != nil {
		return translate(err)
	}
	defer s.change.leave()
	tx, err := s.begin(ctx)
	if err != nil {
		return translate(err)
	}
	defer func() { _ = tx.Rollback() }()
	u, err := s.get(ctx, tx, ref, " FOR UPDATE")
	if err != nil {
		return err
	}
	if err := f(&Locked{User: u, store: s, tx: tx}); err != nil {
		return err
	}
	return translate(tx.Commit())
}

// Locked is the store inside a transaction that holds a user's row lock.
type Locked struct {
	User  *user.User
	store *Store
	tx    *transaction
}

// Update writes the locked user.
func (l *Locked) Update(ctx context.Context, w Write) (Outcome, error) {
	return l.store.mutate(ctx, l.tx, updateUser, w.shape(), w.args(), w.Claim)
}

// Replay returns the answer recorded under a claim, nil when the claim is free.
func (l *Locked) Replay(ctx context.Context, claim *user.Claim) (*Replay, error) {
	return l.store.replay(ctx, l.tx, claim)
}

// Seals returns the sealed values of the locked user by provider.
func (l *Locked) Seals(ctx context.Context) (map[string]string, error) {
	return seals(ctx, l.tx, l.User.ID)
}

// Seals returns the sealed values of a user by provider.
func (s *Store) Seals(ctx context.Context, id uuid.UUID) (map[string]string, error) {
	return seals(ctx, s.pool, id)
}

func seals(ctx context.Context, on querier, id uuid.UUID) (map[string]string, error) {
	rows, err := on.QueryContext(ctx, selectAllSeals, prepared(id)...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	values := map[string]string{}
	for rows.Next() {
		var provider, sealed string
		if err := rows.Scan(&provider, &sealed); err != nil {
			return nil, translate(err)
		}
		values[provider] = sealed
	}
	return values, translate(rows.Err())
}

// RemoveExpiredClaims deletes at most limit claims that are past their time and returns
// how many it deleted.
func (s *Store) RemoveExpiredClaims(ctx context.Context, now time.Time, limit int) (int64, error) {
	result, err := s.db.ExecContext(ctx, `DELETE FROM claims WHERE key IN
		(SELECT key FROM claims WHERE expires_at < ? LIMIT ? FOR UPDATE SKIP LOCKED)`, now, limit)
	if err != nil {
		return 0, translate(err)
	}
	return result.RowsAffected()
}
