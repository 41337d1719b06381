package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

func (r keyRow) listed() user.ListedKey {
	return user.ListedKey{UserID: r.UserID, LastUsedAt: utc(r.LastUsedAt), Key: user.Key{ID: r.ID, Name: r.Name, Hint: r.Hint, Models: r.Models,
		Status: user.KeyStatus(r.Status), CreatedAt: r.CreatedAt.UTC(), CreatedBy: r.CreatedBy, ExpiresAt: utc(r.ExpiresAt), PreviousValidUntil: utc(r.PreviousValidUntil)}}
}

// shownKeyColumns returns the columns of a key except its hashes.
func (s *Store) shownKeyColumns() []string {
	return columnsOf(fieldsOf[keyRow](s.db, "hash", "previous_hash"))
}

// UserKeys returns all keys of a user, newest first. An unknown user has none.
func (s *Store) UserKeys(ctx context.Context, id uuid.UUID) ([]user.ListedKey, error) {
	return s.listKeys(ctx, user.KeyQuery{UserID: id, Limit: user.MaxLimit})
}

// FindKeys returns a page of keys across users.
func (s *Store) FindKeys(ctx context.Context, q user.KeyQuery) (user.KeyPage, error) {
	q.Limit++ // one more tells whether there is a next page
	keys, err := s.listKeys(ctx, q)
	if err != nil {
		return user.KeyPage{}, err
	}
	page := user.KeyPage{Keys: keys}
	if page.More = len(keys) == q.Limit; page.More {
		page.Keys = keys[:q.Limit-1]
	}
	page.Total, err = s.countKeys(ctx, q)
	return page, err
}

// countKeys counts what the filters find; nil above the bound of exact counting.
func (s *Store) countKeys(ctx context.Context, q user.KeyQuery) (*int64, error) {
	q.After = nil
	found := s.keysFound(q).ColumnExpr("1").Limit(user.MaxExact + 1)
	total, err := s.db.NewSelect().TableExpr("(?) AS found", found).Count(ctx)
	if err != nil || total > user.MaxExact {
		return nil, Translate(err)
	}
	count := int64(total)
	return &count, nil
}

func (s *Store) listKeys(ctx context.Context, q user.KeyQuery) ([]user.ListedKey, error) {
	var rows []keyRow
	err := s.keysFound(q).Column(s.shownKeyColumns()...).OrderExpr("k.created_at DESC, k.id DESC").Limit(int64(q.Limit)).Scan(ctx, &rows)
	if err != nil {
		return nil, Translate(err)
	}
	return rowsOf(rows, keyRow.listed), nil
}

// KeyOwner returns the key whose current or previous secret has a hash. It fails with [user.NotFound] if
// there is none.
func (s *Store) KeyOwner(ctx context.Context, hash access.Hash) (user.ListedKey, error) {
	var rows []keyRow
	err := s.db.NewSelect().Model((*keyRow)(nil)).Column(s.shownKeyColumns()...).
		Where("k.hash = ?0 OR k.previous_hash = ?0", hash[:]).Scan(ctx, &rows)
	if err != nil {
		return user.ListedKey{}, Translate(err)
	}
	if len(rows) == 0 {
		return user.ListedKey{}, user.Errorf(user.NotFound, "no key has this secret")
	}
	return rows[0].listed(), nil
}

// keysFound selects the keys that the filters of q find, behind its place.
func (s *Store) keysFound(q user.KeyQuery) *bun.SelectQuery {
	found := s.db.NewSelect().Model((*keyRow)(nil))
	if q.UserID != uuid.Nil {
		found = found.Where("k.user_id = ?", q.UserID)
	}
	if q.Hint != "" {
		found = found.Where("k.hint = ?", q.Hint)
	}
	if q.Status != "" {
		found = found.Where("k.status = ?", string(q.Status))
	}
	if !q.ExpiresBefore.IsZero() {
		found = found.Where("k.expires_at < ?", q.ExpiresBefore)
	}
	if !q.LastUsedBefore.IsZero() {
		found = found.Where("(k.last_used_at < ? OR k.last_used_at IS NULL)", q.LastUsedBefore)
	}
	if q.After != nil {
		found = found.Where("(k.created_at, k.id) < (?, ?)", q.After.CreatedAt, q.After.ID)
	}
	return found
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}
