package store

import (
	"bytes"
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/user"
)

// GroupKnown is what a transaction has learned for a change of a group.
type GroupKnown struct {
	Group *user.Group // locked until the end of the transaction; nil when there is none
	// NameTaken and ExternalIDTaken say that another group has the change's name or externalId.
	NameTaken, ExternalIDTaken bool
	Users                      map[uuid.UUID]bool // of the ids to add, those that are users
	// Members has, of the ids that the change names, those that are in the group; in a replacement,
	// all that are.
	Members map[uuid.UUID]bool
}

// GroupWrites is the outcome of a change of a group.
type GroupWrites struct {
	Before, After  *user.Group // nil before a creation, after a deletion
	Added, Removed []uuid.UUID
}

// grouping holds the composed statements about groups.
type grouping struct {
	columns                           []*schema.Field
	lock, get, holders, users         string
	membersAmong, members             string
	insert, update, drop, add, remove string
	page, membersPage                 string
	sizes, membersOf                  string
}

func composeGrouping(db *bun.DB) grouping {
	var st grouping
	st.columns = fieldsOf[groupRow](db)
	groups := func() *bun.SelectQuery {
		return db.NewSelect().Model((*groupRow)(nil)).Column(columnsOf(st.columns)...)
	}
	members := func() *bun.SelectQuery { return db.NewSelect().Model((*memberRow)(nil)) }
	st.get = groups().Where("g.id = $1").String()
	st.lock = groups().Where("g.id = $1").For("UPDATE").String()
	st.holders = db.NewSelect().Model((*groupRow)(nil)).ColumnExpr("g.id, g.name_key = $1").
		Where("g.name_key = $1 OR g.external_id = $2 AND g.external_id IS NOT NULL").String()
	st.users = db.NewSelect().Model((*userRow)(nil)).Column("id").Where("u.id = ANY ($1::uuid[])").String()
	st.membersAmong = members().Column("user_id").Where("m.group_id = $1 AND m.user_id = ANY ($2::uuid[])").String()
	st.members = members().Column("user_id").Where("m.group_id = $1").String()
	st.insert = insertGiven[groupRow](db, st.columns, 1).String()
	st.update = updateGiven[groupRow](db, st.columns, st.columns[1:]).Where("g.id = given.id").String()
	st.drop = db.NewDelete().Model((*groupRow)(nil)).Where("id = $1").String()
	st.add = db.NewInsert().Model((*memberRow)(nil)).Column("group_id", "user_id").
		TableExpr("(SELECT $1::uuid AS group_id, unnest($2::uuid[]) AS user_id) AS given").On("CONFLICT DO NOTHING").String()
	st.remove = db.NewDelete().Model((*memberRow)(nil)).Where("group_id = $1 AND user_id = ANY ($2::uuid[])").String()
	st.page = groups().Where("(g.name_key, g.id) > ($1, $2)").OrderExpr("g.name_key, g.id LIMIT $3").String()
	st.membersPage = members().ColumnExpr("m.user_id, u.name").Join("JOIN users AS u ON u.id = m.user_id").
		Where("m.group_id = $1 AND m.user_id > $2").OrderExpr("m.user_id LIMIT $3").String()
	st.sizes = members().ColumnExpr("m.group_id, count(*)").Where("m.group_id = ANY ($1::uuid[])").Group("group_id").String()
	st.membersOf = members().ColumnExpr("m.group_id, m.user_id, u.name").Join("JOIN users AS u ON u.id = m.user_id").
		Where("m.group_id = ANY ($1::uuid[])").OrderExpr("m.group_id, m.user_id").String()
	return st
}

func rowOfGroup(g *user.Group) groupRow {
	return groupRow{ID: g.ID, DisplayName: g.DisplayName, NameKey: g.NameKey(), ExternalID: g.ExternalID, Version: g.Version,
		CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt}
}

func (r groupRow) group() *user.Group {
	return &user.Group{ID: r.ID, DisplayName: r.DisplayName, ExternalID: r.ExternalID, Version: r.Version,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC()}
}

// BeginGroup starts a transaction, locks the group that a command is about, and reads what the
// command depends on. The caller always ends it with Rollback, even after CommitGroup.
func (s *Store) BeginGroup(ctx context.Context, command *user.GroupCommand) (*Tx, *GroupKnown, error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	known := &GroupKnown{Users: map[uuid.UUID]bool{}, Members: map[uuid.UUID]bool{}}
	tx.next.exec("BEGIN")
	tx.next.exec("SET LOCAL plan_cache_mode = force_generic_plan")
	tx.askGroup(command, known)
	if err := tx.next.run(ctx, tx.conn); err != nil {
		tx.Rollback()
		return nil, nil, Translate(err)
	}
	return tx, known, nil
}

func (tx *Tx) askGroup(command *user.GroupCommand, known *GroupKnown) {
	st, patch := &tx.store.statements().grouping, &command.Patch
	tx.next.query(st.lock, []any{command.ID}, func(rows pgx.Rows) error {
		var row groupRow
		err := scanRow(rows, st.columns, &row)
		known.Group = row.group()
		return err
	})
	if command.Action == user.DeleteGroup {
		return
	}
	if patch.DisplayName.Set || patch.ExternalID.Value != nil {
		name := ""
		if patch.DisplayName.Set {
			name = (&user.Group{DisplayName: patch.DisplayName.Value}).NameKey()
		}
		tx.next.query(st.holders, []any{name, patch.ExternalID.Value}, func(rows pgx.Rows) error {
			var id uuid.UUID
			var byName bool
			err := rows.Scan((*[16]byte)(&id), &byName)
			if id != command.ID {
				known.NameTaken, known.ExternalIDTaken = known.NameTaken || byName, known.ExternalIDTaken || !byName
			}
			return err
		})
	}
	if len(patch.Added) > 0 {
		tx.next.query(st.users, []any{patch.Added}, collectID(known.Users))
	}
	switch named := slices.Concat(patch.Added, patch.Removed); {
	case patch.ReplaceAll:
		tx.next.query(st.members, []any{command.ID}, collectID(known.Members))
	case len(named) > 0:
		tx.next.query(st.membersAmong, []any{command.ID, named}, collectID(known.Members))
	}
}

func collectID(into map[uuid.UUID]bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var id uuid.UUID
		err := rows.Scan((*[16]byte)(&id))
		into[id] = true
		return err
	}
}

// CommitGroup writes the outcome and ends the transaction, as [Tx.Commit] does.
func (tx *Tx) CommitGroup(ctx context.Context, w *GroupWrites, records []Record) error {
	st := &tx.store.statements().grouping
	switch {
	case w.After == nil:
		tx.next.exec(st.drop, w.Before.ID) // with its members
	case w.Before == nil:
		tx.next.exec(st.insert, arrays(st.columns, []groupRow{rowOfGroup(w.After)})...)
	default:
		tx.next.exec(st.update, arrays(st.columns, []groupRow{rowOfGroup(w.After)})...)
	}
	tx.changeMembers(st.remove, w.After, w.Removed)
	tx.changeMembers(st.add, w.After, w.Added)
	tx.record(records)
	tx.next.exec("COMMIT")
	return Translate(tx.next.run(ctx, tx.conn))
}

// changeMembers adds or removes members in the order of their ids, so that two transactions with the same
// users do not deadlock.
func (tx *Tx) changeMembers(statement string, group *user.Group, ids []uuid.UUID) {
	if len(ids) > 0 {
		ids = slices.SortedFunc(slices.Values(ids), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
		tx.next.exec(statement, group.ID, ids)
	}
}

// ErrNoGroup is the error of a change whose group does not exist.
var ErrNoGroup error = user.Errorf(user.NotFound, "no such group")

// GroupTaken returns the error for a name or externalId that another group has; nil if neither is
// taken.
func (k *GroupKnown) GroupTaken() error {
	switch {
	case k.NameTaken:
		return duplicates["groups_name"]
	case k.ExternalIDTaken:
		return duplicates["groups_external_id"]
	}
	return nil
}

// Group returns one group.
func (s *Store) Group(ctx context.Context, id uuid.UUID) (*user.Group, error) {
	rows, err := collect[groupRow](ctx, s.pool, s.statements().grouping.get, s.statements().grouping.columns, id)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, ErrNoGroup
	}
	return rows[0].group(), nil
}

// GroupsAfter returns up to limit groups in the order of their names, after a place.
func (s *Store) GroupsAfter(ctx context.Context, nameKey string, id uuid.UUID, limit int) ([]*user.Group, error) {
	rows, err := collect[groupRow](ctx, s.pool, s.statements().grouping.page, s.statements().grouping.columns, nameKey, id, limit)
	return rowsOf(rows, groupRow.group), err
}

// Members returns up to limit members of a group in the order of their ids, after an id.
func (s *Store) Members(ctx context.Context, group, after uuid.UUID, limit int) ([]user.GroupMember, error) {
	rows, err := s.pool.Query(ctx, s.statements().grouping.membersPage, prepared(group, after, limit)...)
	if err != nil {
		return nil, Translate(err)
	}
	members, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m user.GroupMember, err error) {
		return m, row.Scan((*[16]byte)(&m.ID), &m.Name)
	})
	return members, Translate(err)
}

// MembersOf returns the members of groups, by group and in the order of their ids. It stops before the
// group that would exceed most members in total, but always includes the first.
func (s *Store) MembersOf(ctx context.Context, groups []uuid.UUID, most int64) (map[uuid.UUID][]user.GroupMember, error) {
	st := &s.statements().grouping
	sizes := map[uuid.UUID]int64{}
	rows, err := s.pool.Query(ctx, st.sizes, prepared(groups)...)
	if err != nil {
		return nil, Translate(err)
	}
	var id, member uuid.UUID
	var size int64
	if _, err = pgx.ForEachRow(rows, []any{(*[16]byte)(&id), &size}, func() error { sizes[id] = size; return nil }); err != nil {
		return nil, Translate(err)
	}
	members := make(map[uuid.UUID][]user.GroupMember, len(groups))
	for i, group := range groups {
		if most -= sizes[group]; most < 0 && i > 0 {
			groups = groups[:i]
			break
		}
		members[group] = make([]user.GroupMember, 0, sizes[group])
	}
	if rows, err = s.pool.Query(ctx, st.membersOf, prepared(groups)...); err != nil {
		return nil, Translate(err)
	}
	var name string
	_, err = pgx.ForEachRow(rows, []any{(*[16]byte)(&id), (*[16]byte)(&member), &name}, func() error {
		members[id] = append(members[id], user.GroupMember{ID: member, Name: name})
		return nil
	})
	return members, Translate(err)
}
