package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

// Forms are what values are compared and searched by. They are computed here, so that no database
// locale decides which two are the same. Users that an older revision or plain SQL has written are in
// unformed_users until [Store.Form] computed theirs.

// FormConflict is a user whose value another user has as well, now that values are compared by new
// forms. It keeps the value, under a key of its own, until somebody changes one of the two.
type FormConflict struct {
	UserID uuid.UUID
	Field  string // email or userName
}

// formBatch is how many users get their forms in one transaction: few enough that nobody waits long.
const formBatch = 500

// Form computes the forms of all users that lack them, in bounded transactions, and returns of how many.
// Any number of processes may call it at once, and end it at any moment. Progress, which may be nil,
// is called after each transaction.
func (s *Store) Form(ctx context.Context, progress func(done int)) (int, error) {
	done := 0
	for {
		n, err := s.formSome(ctx)
		if Conflict(err) { // another change took a value meanwhile
			continue
		}
		if err != nil || n == 0 {
			return done, translate(err)
		}
		if done += n; progress != nil {
			progress(done)
		}
	}
}

func (s *Store) formSome(ctx context.Context) (n int, err error) {
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var ids []uuid.UUID
		err := tx.NewSelect().Model((*unformedRow)(nil)).Column("user_id").Order("user_id").Limit(formBatch).For("UPDATE SKIP LOCKED").Scan(ctx, &ids)
		if n = len(ids); err != nil || n == 0 {
			return err
		}
		var rows []userRow
		err = tx.NewSelect().Model(&rows).Column(columnsOf[userRow](s.db, derivedColumns...)...).
			Where("u.id IN (?)", bun.In(ids)).Order("u.id").For("UPDATE").Scan(ctx)
		if err != nil {
			return err
		}
		if err := form(ctx, tx, rows); err != nil {
			return err
		}
		if len(rows) > 0 {
			_, err = tx.NewUpdate().Model(&rows).Column("name_key", "email_key", "user_name_key", "search", "facets").Bulk().Exec(ctx)
		}
		if err == nil {
			_, err = tx.NewDelete().Model((*unformedRow)(nil)).Where("user_id IN (?)", bun.In(ids)).Exec(ctx)
		}
		return err
	})
	return n, err
}

// form computes the forms of rows. A key that another user has gets the user's id after it.
func form(ctx context.Context, tx bun.Tx, rows []userRow) error {
	var emails, names []string
	for i := range rows {
		u, err := rows[i].user()
		if err != nil {
			return err
		}
		u.SetForms()
		rows[i] = rowOf(u)
		emails, names = append(emails, u.EmailKey), append(names, u.UserNameKey)
	}
	emailHolders, err := holdersOf(ctx, tx, "email_key", emails)
	if err != nil {
		return err
	}
	nameHolders, err := holdersOf(ctx, tx, "user_name_key", names)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		if r.EmailKey != nil {
			own := ownKey(emailHolders, *r.EmailKey, r.ID)
			r.EmailKey = &own
		}
		r.UserNameKey = ownKey(nameHolders, r.UserNameKey, r.ID)
	}
	return nil
}

func holdersOf(ctx context.Context, tx bun.Tx, column string, keys []string) (map[string]uuid.UUID, error) {
	var rows []userRow
	err := tx.NewSelect().Model(&rows).Column("id").ColumnExpr("coalesce(email_key, '') AS email_key, coalesce(user_name_key, '') AS user_name_key").
		Where("u.? IN (?)", bun.Ident(column), bun.In(keys)).Scan(ctx)
	holders := make(map[string]uuid.UUID, len(rows))
	for _, r := range rows {
		if column == "email_key" {
			holders[orEmpty(r.EmailKey)] = r.ID
		} else {
			holders[r.UserNameKey] = r.ID
		}
	}
	return holders, err
}

// ownKey returns the key, with the id after it if another user has it, and makes it this user's.
func ownKey(holders map[string]uuid.UUID, key string, id uuid.UUID) string {
	if holder, taken := holders[key]; taken && holder != id {
		key += "#" + id.String()
	}
	holders[key] = id
	return key
}

// FormConflicts returns the users whose values others have as well.
func (s *Store) FormConflicts(ctx context.Context) ([]FormConflict, error) {
	rows, err := s.pool.Query(ctx, s.db.NewSelect().Model((*userRow)(nil)).Column("id").
		ColumnExpr("CASE WHEN right(email_key, 37) = '#' || id::text THEN 'email' ELSE 'userName' END").
		Where("right(email_key, 37) = '#' || id::text OR right(user_name_key, 37) = '#' || id::text").OrderExpr("id").String())
	if err != nil {
		return nil, translate(err)
	}
	conflicts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (FormConflict, error) {
		var c FormConflict
		err := row.Scan((*[16]byte)(&c.UserID), &c.Field)
		return c, err
	})
	return conflicts, translate(err)
}
