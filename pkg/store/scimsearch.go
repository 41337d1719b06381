package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// userSorts and groupSorts are the attributes that a search may sort by, with their columns. By any other
// one, or none, the order is that of creation.
var (
	userSorts = map[string]string{"": "u.created_at", "id": "u.id", "userName": "u.user_name_key", "displayName": "u.name_key",
		"name.formatted": "u.name_key", "emails": "u.email_key", "emails.value": "u.email_key", "externalId": "u.external_id",
		"meta.created": "u.created_at", "meta.lastModified": "u.updated_at"}
	groupSorts = map[string]string{"": "g.created_at", "id": "g.id", "displayName": "g.name_key", "externalId": "g.external_id",
		"meta.created": "g.created_at", "meta.lastModified": "g.updated_at"}
)

const (
	searchTime  = 3 * time.Second // for one statement
	searchScans = 10_000          // rows that are decoded to judge a filter that SQL cannot
	searchBytes = 2 << 20         // of rows, from which on a page ends early: shown, they take ten times as much
	// Up to here a start index is found by counting rows; beyond it, by the place where the page
	// before ended.
	searchDeep    = 10_000
	placesKept    = 4096
	placeKeptFor  = time.Minute
	totalKeptFrom = 10_000 // a smaller count is repeated for each page
	totalKeptFor  = 10 * time.Second
)

var (
	errTooMany     = scim.Errorf(scim.TooMany, "the filter would look at too many resources: narrow it by userName, externalId, id, emails.value or displayName")
	errNotSearched = scim.Errorf(scim.TooMany, "groups are not searched by this: filter by displayName, externalId, id, members.value, members.type or meta")
)

// searches caches for a short time where pages ended and what was counted.
type searches struct {
	places *lru.Cache[string, remembered[scim.Place]]
	totals *lru.Cache[string, remembered[int64]]
}

type remembered[T any] struct {
	value T
	until time.Time
}

func newSearches() searches {
	return searches{newCache[string, remembered[scim.Place]](placesKept), newCache[string, remembered[int64]](totalsKept)}
}

func recall[T any](from *lru.Cache[string, remembered[T]], key string) (value T, ok bool) {
	found, ok := from.Get(key)
	return found.value, ok && time.Now().Before(found.until)
}

// searcher finds resources of one type.
type searcher[T any] struct {
	store   *Store
	table   string // with its alias
	columns string
	sorts   map[string]string
	compare func(*sqlFilter, scim.Compare) condition
	scan    func(pgx.Rows) (T, *string, error) // a row of columns and the sort value
	id      func(T) uuid.UUID
	show    func(T) scim.Object // nil: the filter must be exact
}

// SearchUsers finds users. A filter that looks at too many is [scim.TooMany].
func (s *Store) SearchUsers(ctx context.Context, q scim.Query) (scim.Page[*user.User], error) {
	return s.userSearcher().page(ctx, q)
}

func (s *Store) userSearcher() *searcher[*user.User] {
	decoder := s.statements().reading.decoder
	return &searcher[*user.User]{store: s, table: "users AS u", columns: s.statements().reading.shownColumns(), sorts: userSorts,
		compare: (*sqlFilter).users, id: func(u *user.User) uuid.UUID { return u.ID },
		show: func(u *user.User) scim.Object { return scim.Profile{User: u}.Resource("") },
		scan: func(rows pgx.Rows) (*user.User, *string, error) {
			row := rows.RawValues()
			var key string
			u, err := decoder.user(row)
			return u, optionalText(row[len(decoder)], &key), err
		}}
}

// SearchGroups finds groups, like [Store.SearchUsers].
func (s *Store) SearchGroups(ctx context.Context, q scim.Query) (scim.Page[*user.Group], error) {
	fields := s.statements().grouping.columns
	find := searcher[*user.Group]{store: s, table: "groups AS g", columns: strings.Join(qualified("g", columnsOf(fields)), ", "), sorts: groupSorts,
		compare: (*sqlFilter).groups, id: func(g *user.Group) uuid.UUID { return g.ID },
		scan: func(rows pgx.Rows) (*user.Group, *string, error) {
			var row groupRow
			var key *string
			if err := rows.Scan(append(targetsOf(&row, fields), &key)...); err != nil {
				return nil, nil, err
			}
			return row.group(), key, nil
		}}
	return find.page(ctx, q)
}

// query is a [scim.Query] in SQL.
type query struct {
	scim.Query
	sqlFilter
	where  condition
	column string // sorted by
	alias  string
	key    string // identifies filter and sort
}

func (f *searcher[T]) compile(q scim.Query) *query {
	c := &query{Query: q, column: cmp.Or(f.sorts[q.SortBy], f.sorts[""]), alias: f.table[len(f.table)-1:]}
	c.where = c.compile(q.Filter, func(compare scim.Compare) condition { return f.compare(&c.sqlFilter, compare) })
	c.key = fmt.Sprint(f.table, c.where.sql, c.args, c.column, q.Descending)
	return c
}

func (f *searcher[T]) page(ctx context.Context, q scim.Query) (scim.Page[T], error) {
	c := f.compile(q)
	if !c.where.exact {
		if f.show == nil {
			return scim.Page[T]{}, errNotSearched
		}
		return f.judged(ctx, c)
	}
	return f.exactly(ctx, c)
}

// exactly reads a page that SQL alone finds.
func (f *searcher[T]) exactly(ctx context.Context, c *query) (page scim.Page[T], err error) {
	page.First, page.Total = max(1, c.Start), -1
	offset := page.First - 1
	if place, ok := recall(f.store.searches.places, c.placeKey(page.First)); ok && c.After == nil && offset > searchDeep {
		c.After = &place
	}
	if c.After != nil {
		offset, page.First = 0, c.After.Seen+1
	}
	if c.Limit > 0 {
		keys, whole, err := f.readPage(ctx, *c, offset, &page)
		if err != nil {
			return page, err
		}
		if n := min(c.Limit, len(page.Found)); len(page.Found) > n || !whole {
			page.Found = page.Found[:n]
			page.Next = &scim.Place{Key: keys[n-1], ID: f.id(page.Found[n-1]), Seen: page.First - 1 + int64(n)}
			if page.Next.Seen >= searchDeep {
				f.store.searches.places.Add(c.placeKey(page.Next.Seen+1), remembered[scim.Place]{*page.Next, time.Now().Add(placeKeptFor)})
			}
		} else if len(page.Found) > 0 || page.First == 1 {
			page.Total = page.First - 1 + int64(len(page.Found))
		}
	}
	if page.Total < 0 {
		page.Total, err = f.count(ctx, c)
	}
	return page, err
}

// readPage reads a page and the row after it. By e-mail address, those that have one are read first, in the
// order of their index; only a page that they do not fill needs the others, whom no index has in order.
func (f *searcher[T]) readPage(ctx context.Context, c query, offset int64, page *scim.Page[T]) (keys []*string, whole bool, err error) {
	c.args = slices.Clip(c.args) // each statement adds arguments of its own
	if c.column == "u.email_key" && (!c.Descending || c.After != nil && c.After.Key != nil) {
		with := c
		with.where.sql = "(" + c.where.sql + ") AND u.email_key IS NOT NULL"
		page.Found, keys, whole, err = f.read(ctx, &with, f.text(&with, offset))
		if err != nil || !whole || len(page.Found) > c.Limit {
			return keys, whole, err
		}
	}
	page.Found, keys, whole, err = f.read(ctx, &c, f.text(&c, offset))
	return keys, whole, err
}

func (c *query) placeKey(start int64) string { return c.key + strconv.FormatInt(start, 10) }

// order is the ORDER BY clause. A missing value is last, and first in descending order.
func (c *query) order() string {
	direction := ""
	if c.Descending {
		direction = " DESC"
	}
	if c.column == c.alias+".id" {
		return " ORDER BY " + c.column + direction
	}
	return " ORDER BY " + c.column + direction + ", " + c.alias + ".id" + direction
}

// after is the condition that a row comes after the place.
func (c *query) after() string {
	if c.After == nil || c.After.ID == uuid.Nil {
		return "true"
	}
	id := c.arg(c.After.ID, "uuid")
	operator, sqlType := " > ", "text"
	if c.Descending {
		operator = " < "
	}
	switch {
	case strings.HasSuffix(c.column, "_at"):
		sqlType = "timestamptz"
	case strings.HasSuffix(c.column, ".id"):
		return c.column + operator + id
	}
	ties := c.alias + ".id" + operator + id
	if c.After.Key == nil { // missing ones are last, or first in descending order
		if c.Descending {
			return "(" + c.column + " IS NOT NULL OR " + ties + ")"
		}
		return "(" + c.column + " IS NULL AND " + ties + ")"
	}
	value := c.arg(*c.After.Key, sqlType)
	if c.Descending || !nullable[c.column] {
		return "(" + c.column + ", " + c.alias + ".id)" + operator + "(" + value + ", " + id + ")"
	}
	return "((" + c.column + ", " + c.alias + ".id)" + operator + "(" + value + ", " + id + ") OR " + c.column + " IS NULL)"
}

// nullable are the columns sorted by that may be missing.
var nullable = map[string]bool{"u.email_key": true, "u.external_id": true, "g.external_id": true}

// text composes the statement of a page and the row after it. An offset is skipped by ids alone.
func (f *searcher[T]) text(c *query, offset int64) string {
	columns, table := f.columns+", "+c.column+"::text", f.table
	where := c.where.sql
	if after := c.after(); after != "true" {
		where = "(" + where + ") AND " + after
	}
	if c.column == "u.user_name_key" { // its index leaves out users that have none yet
		where = "(" + where + ") AND u.user_name_key IS NOT NULL"
	}
	limit := " LIMIT " + strconv.Itoa(c.Limit+1)
	if offset == 0 {
		return "SELECT " + columns + " FROM " + table + " WHERE " + where + c.order() + limit
	}
	skipped := "SELECT " + c.alias + ".id AS found FROM " + table + " WHERE " + where + c.order() + limit + " OFFSET " + strconv.FormatInt(offset, 10)
	return "SELECT " + columns + " FROM (" + skipped + ") AS page JOIN " + table + " ON " + c.alias + ".id = page.found" + c.order()
}

// candidates composes the statement that reads rows which may meet the filter: one more than may be
// judged. The last column says whether a row comes after the place.
func (f *searcher[T]) candidates(c *query) string {
	found := "SELECT * FROM " + f.table + " WHERE " + c.where.sql + " LIMIT " + strconv.Itoa(searchScans+1)
	return "SELECT " + f.columns + ", " + c.column + "::text, coalesce(" + c.after() + ", false) FROM (" + found + ") AS " + c.alias + c.order()
}

// judged reads all rows that may meet a filter, unless they are too many, judges each, and keeps those of the page.
func (f *searcher[T]) judged(ctx context.Context, c *query) (page scim.Page[T], err error) {
	deadline := time.Now().Add(2 * searchTime)
	read, before, size := 0, max(0, c.Start-1), 0
	if c.After != nil {
		before = 0
	}
	text := f.candidates(c) // before its arguments are taken
	err = f.store.search(ctx, c.where.point, text, c.args, func(rows pgx.Rows) error {
		if read++; read > searchScans || time.Now().After(deadline) {
			return errTooMany
		}
		each, key, err := f.scan(rows)
		if err != nil || ctx.Err() != nil || !scim.Matches(c.Filter, f.show(each)) {
			return cmp.Or(err, ctx.Err())
		}
		page.Total++
		row := rows.RawValues()
		switch {
		case c.After != nil && row[len(row)-1][0] == 0:
			before++
		case c.After == nil && page.Total <= before:
		case len(page.Found) < c.Limit && size <= searchBytes:
			for _, value := range row {
				size += len(value)
			}
			page.Found = append(page.Found, each)
			page.Next = &scim.Place{Key: key, ID: f.id(each), Seen: page.Total}
		}
		return nil
	})
	if err != nil {
		return scim.Page[T]{}, Translate(err)
	}
	if page.First = before + 1; page.Next != nil && page.Next.Seen == page.Total {
		page.Next = nil
	}
	return page, nil
}

// count counts, or returns a recent count.
func (f *searcher[T]) count(ctx context.Context, c *query) (int64, error) {
	if total, ok := recall(f.store.searches.totals, c.key); ok {
		return total, nil
	}
	var total int64
	err := f.store.search(ctx, c.where.point, "SELECT count(*) FROM "+f.table+" WHERE "+c.where.sql, c.args, func(rows pgx.Rows) error { return rows.Scan(&total) })
	if err == nil && total > totalKeptFrom {
		f.store.searches.totals.Add(c.key, remembered[int64]{total, time.Now().Add(totalKeptFor)})
	}
	return total, err
}

// read reads a page, and reports whether it is whole: past [searchBytes] it ends early.
func (f *searcher[T]) read(ctx context.Context, c *query, text string) (found []T, keys []*string, whole bool, err error) {
	size := 0
	err = f.store.search(ctx, c.where.point, text, c.args, func(rows pgx.Rows) error {
		if size > searchBytes {
			return errPageFull
		}
		for _, value := range rows.RawValues() {
			size += len(value)
		}
		each, key, err := f.scan(rows)
		found, keys = append(found, each), append(keys, key)
		return err
	})
	if errors.Is(err, errPageFull) {
		return found, keys, false, nil
	}
	return found, keys, true, err
}

var errPageFull = errors.New("the page is full")

// search runs a statement of a search, planned for its values, since the best plan depends on how common
// they are. Unless its filter names a unique value, it may take no longer than searchTime.
func (s *Store) search(ctx context.Context, point bool, text string, args []any, row func(pgx.Rows) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return Translate(err)
	}
	tx := &Tx{store: s, conn: conn.Conn(), release: conn.Release}
	defer tx.Rollback()
	if !point {
		if _, err := conn.Exec(ctx, beginSearch, pgx.QueryExecModeSimpleProtocol); err != nil {
			return Translate(err)
		}
	}
	rows, err := conn.Query(ctx, text, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		return Translate(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); state(err) == statementTimeout && ctx.Err() == nil {
		return errTooMany
	} else if err != nil || point {
		return Translate(err)
	}
	_, err = conn.Exec(ctx, "COMMIT", pgx.QueryExecModeSimpleProtocol)
	return Translate(err)
}

var beginSearch = "BEGIN READ ONLY; SET LOCAL statement_timeout = " + strconv.FormatInt(searchTime.Milliseconds(), 10)
