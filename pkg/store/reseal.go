package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// SealedValue is one stored secret.
type SealedValue struct {
	UserID   uuid.UUID
	Provider string
	Sealed   string
}

const (
	selectForeign = `SELECT user_id, provider, sealed FROM credentials
		WHERE (user_id, provider) > ($1, $2) AND NOT starts_with(sealed, $3) ORDER BY user_id, provider LIMIT $4`
	countForeign = "SELECT count(*) FROM credentials WHERE NOT starts_with(sealed, $1)"
	// Who waited for one would hold the others, which may be up to two hundred users.
	lockUsers = "SELECT id, credentials::text FROM users WHERE id = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED"
	// Who waits for one user alone holds nobody meanwhile, and gets a turn among those that queue for it.
	lockUser = "SELECT id, credentials::text FROM users WHERE id = ANY ($1::uuid[]) FOR UPDATE"
	thereAre = "SELECT id FROM users WHERE id = ANY ($1::uuid[])"
	// A value that was written anew since it was read is left alone.
	reseal = `UPDATE credentials c SET sealed = f.new FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS f(user_id, provider, old, new)
		WHERE c.user_id = f.user_id AND c.provider = f.provider AND c.sealed = f.old RETURNING c.user_id, c.provider, c.sealed`
	showKeys = `UPDATE users u SET credentials = f.credentials::json FROM unnest($1::uuid[], $2::text[]) AS f(id, credentials) WHERE u.id = f.id`
)

// CountForeign counts the sealed values that do not begin with a prefix: a key's id and a colon.
func (s *Store) CountForeign(ctx context.Context, prefix string) (int64, error) {
	counts, err := queryValues[int64](ctx, s.pool, countForeign, prepared(prefix))
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// Foreign returns at most limit sealed values behind a place that do not begin with a
// prefix, in the order of user and provider.
func (s *Store) Foreign(ctx context.Context, after SealedValue, prefix string, limit int) ([]SealedValue, error) {
	rows, err := s.pool.QueryContext(ctx, selectForeign, prepared(after.UserID, after.Provider, prefix, limit)...)
	if err != nil {
		return nil, translate(err)
	}
	return scanSealed(rows)
}

func scanSealed(rows *sql.Rows) ([]SealedValue, error) {
	defer func() { _ = rows.Close() }()
	var values []SealedValue
	for rows.Next() {
		var v SealedValue
		if err := rows.Scan(&v.UserID, &v.Provider, &v.Sealed); err != nil {
			return nil, translate(err)
		}
		values = append(values, v)
	}
	return values, translate(rows.Err())
}

// Renewal is a sealed value and another of the same secret, which is to take its place.
type Renewal struct {
	SealedValue
	Fresh string
}

// Reseal replaces sealed values, and the key ids that users show with them, in one transaction. It returns
// how many it replaced, and those of users whom others hold at the moment: it waits for a user alone as
// long as a change does, and for one of several not at all. A secret that was written anew meanwhile is
// not touched. Renewals are in the order of users.
func (s *Store) Reseal(ctx context.Context, renewals []Renewal, keyID string) (replaced int, held []Renewal, err error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return 0, nil, translate(err)
	}
	defer func() { _ = tx.Rollback() }()
	shown, err := lockCredentials(ctx, tx, renewals)
	if fault, ok := errors.AsType[databaseError](err); ok && fault.of.Code == lockTimeout {
		return 0, renewals, nil
	}
	if err != nil {
		return 0, nil, err
	}
	ours, others := split(renewals, shown)
	if held, err = ofUsers(ctx, tx, others); err != nil {
		return 0, nil, err
	}
	values, err := replaceSealed(ctx, tx, ours)
	if err != nil {
		return 0, nil, err
	}
	for _, v := range values {
		for i, c := range shown[v.UserID] {
			if c.Provider == v.Provider {
				shown[v.UserID][i].KeyID = keyID
			}
		}
	}
	if err := storeShown(ctx, tx, shown); err != nil {
		return 0, nil, err
	}
	return len(values), held, translate(tx.Commit())
}

// lockCredentials locks the users first, as every change does.
func lockCredentials(ctx context.Context, tx *transaction, renewals []Renewal) (map[uuid.UUID][]user.Credential, error) {
	lock := lockUsers
	if len(renewals) > 0 && renewals[0].UserID == renewals[len(renewals)-1].UserID { // they are in the order of users
		lock = lockUser
	}
	rows, err := tx.QueryContext(ctx, lock, prepared(userIDs(renewals))...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	shown := map[uuid.UUID][]user.Credential{}
	for rows.Next() {
		var id uuid.UUID
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, translate(err)
		}
		var credentials []user.Credential
		if err := json.Unmarshal([]byte(text), &credentials); err != nil {
			return nil, err
		}
		shown[id] = credentials
	}
	return shown, translate(rows.Err())
}

func userIDs(renewals []Renewal) []uuid.UUID {
	ids := make([]uuid.UUID, len(renewals))
	for i, r := range renewals {
		ids[i] = r.UserID
	}
	return ids
}

func split[V any](renewals []Renewal, by map[uuid.UUID]V) (in, out []Renewal) {
	for _, r := range renewals {
		if _, ok := by[r.UserID]; ok {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	return in, out
}

// ofUsers are the renewals whose users there are: the others' were deleted.
func ofUsers(ctx context.Context, tx *transaction, renewals []Renewal) ([]Renewal, error) {
	if len(renewals) == 0 {
		return nil, nil
	}
	ids, err := queryValues[uuid.UUID](ctx, tx, thereAre, prepared(userIDs(renewals)))
	if err != nil {
		return nil, err
	}
	there := map[uuid.UUID]bool{}
	for _, id := range ids {
		there[id] = true
	}
	in, _ := split(renewals, there)
	return in, nil
}

func replaceSealed(ctx context.Context, tx *transaction, renewals []Renewal) ([]SealedValue, error) {
	rows, err := tx.QueryContext(ctx, reseal, prepared(userIDs(renewals),
		column(renewals, func(r Renewal) string { return r.Provider }), column(renewals, func(r Renewal) string { return r.Sealed }),
		column(renewals, func(r Renewal) string { return r.Fresh }))...)
	if err != nil {
		return nil, translate(err)
	}
	return scanSealed(rows)
}

func storeShown(ctx context.Context, tx *transaction, shown map[uuid.UUID][]user.Credential) error {
	ids, texts := make([]uuid.UUID, 0, len(shown)), make([]string, 0, len(shown))
	for id, credentials := range shown {
		ids, texts = append(ids, id), append(texts, string(user.AppendCredentials(nil, credentials)))
	}
	_, err := tx.ExecContext(ctx, showKeys, prepared(ids, texts)...)
	return translate(err)
}
