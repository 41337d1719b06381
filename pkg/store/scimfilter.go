package store

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// condition is a SCIM filter in SQL. An exact one finds just what the filter matches. Any other may find
// more, by an index if there is one; [scim.Matches] then decides about each row.
type condition struct {
	sql   string
	exact bool
	point bool // finds one row at most, by a unique index
}

var anything = condition{sql: "true"}

// sqlFilter compiles filters; it collects their values as the arguments of one statement.
type sqlFilter struct{ args []any }

func (b *sqlFilter) arg(value any, sqlType string) string {
	b.args = append(b.args, value)
	return placeholder(len(b.args)) + "::" + sqlType
}

// compile writes a filter as a condition; compare writes the comparisons of one resource type. A nil filter
// finds all.
func (b *sqlFilter) compile(f scim.Filter, compare func(scim.Compare) condition) condition {
	switch f := f.(type) {
	case nil:
		return condition{sql: "true", exact: true}
	case scim.And:
		return b.join(f, " AND ", compare)
	case scim.Or:
		return b.join(f, " OR ", compare)
	case scim.Not:
		before := len(b.args)
		if inner := b.compile(f.Filter, compare); inner.exact {
			return condition{sql: "(" + inner.sql + ") IS NOT TRUE", exact: true}
		}
		b.args = b.args[:before] // a statement has no argument that it does not use
	case scim.Constant:
		return condition{sql: strconv.FormatBool(bool(f)), exact: true}
	case scim.ValuePath:
		return b.valuePath(f, compare)
	case scim.Compare:
		return compare(f)
	}
	return anything
}

func (b *sqlFilter) join(filters []scim.Filter, operator string, compare func(scim.Compare) condition) condition {
	joined := condition{exact: true}
	parts := make([]string, len(filters))
	for i, f := range filters {
		part := b.compile(f, compare)
		parts[i], joined.exact = part.sql, joined.exact && part.exact
		joined.point = joined.point || part.point
	}
	joined.sql = "(" + strings.Join(parts, operator) + ")"
	joined.point = joined.point && operator == " AND "
	return joined
}

// valuePath finds rows with the values that a filter in brackets asks for. Whether one element has them
// all is for [scim.Matches] to decide.
func (b *sqlFilter) valuePath(f scim.ValuePath, compare func(scim.Compare) condition) condition {
	if c, ok := f.Filter.(scim.Compare); ok { // the same without the brackets
		return compare(c)
	}
	if f.Path.Attribute.Name == "members" {
		return inMembers(b.compile(f.Filter, b.member))
	}
	joined := condition{sql: "true"}
	parts, _ := f.Filter.(scim.And)
	if parts == nil {
		parts = scim.And{f.Filter}
	}
	for _, part := range parts {
		if c, ok := part.(scim.Compare); ok && c.Op != scim.NotEqual {
			joined.sql += " AND " + compare(c).sql
		}
	}
	joined.sql = "(" + joined.sql + ")"
	return joined
}

// users writes a comparison of an attribute of users.
func (b *sqlFilter) users(c scim.Compare) condition {
	text, _ := c.Value.(string)
	role := scim.UserExtension.ID + ":role"
	switch path := c.Path.String(); path {
	case "id":
		return unique(c, b.text(c, "u.id::text", b.uuidEquals(c, "u.id")))
	case "userName":
		return unique(c, b.text(folded(c, user.FoldAddress), "u.user_name_key", ""))
	case "externalId":
		return unique(c, b.text(c, "u.external_id", ""))
	case scim.UserExtension.ID + ":tag":
		return b.shown(c, "tag", b.text(folded(c, user.FoldTag), "u.tag", ""))
	case role:
		return b.shown(c, "role", b.text(folded(c, user.Fold), "u.role", ""))
	case "meta.resourceType":
		return b.text(c, "'"+scim.Users.Name+"'", "")
	case "meta.created":
		return b.time(c, "u.created_at")
	case "meta.lastModified":
		return b.time(c, "u.updated_at")
	case "active":
		return b.active(c)
	case "displayName":
		return b.displayName(c, text)
	case "emails", "emails.value":
		return b.email(c, text)
	case "groups", "groups.value":
		if c.Op == scim.Equal {
			return condition{sql: "u.id IN (SELECT m.user_id FROM group_members AS m WHERE " + b.uuidEquals(c, "m.group_id") + ")", exact: true}
		}
		return anything
	default:
		if name, ok := strings.CutPrefix(path, "name."); ok {
			return b.nameOf(c, name, text)
		}
		return b.kept(c)
	}
}

func unique(c scim.Compare, found condition) condition {
	found.point = c.Op == scim.Equal
	return found
}

// shown restricts a comparison with a field to users who show it: a provider may have removed it.
func (b *sqlFilter) shown(c scim.Compare, name string, found condition) condition {
	hidden := "json_typeof(u.scim->" + b.arg(scim.UserExtension.ID, "text") + "->'" + name + "') = 'null'"
	return unlessHidden(c, hidden, found)
}

func unlessHidden(c scim.Compare, hidden string, found condition) condition {
	if c.Op == scim.NotEqual {
		return condition{sql: "(" + found.sql + " OR " + hidden + ")", exact: found.exact}
	}
	return condition{sql: "(" + found.sql + " AND (" + hidden + ") IS NOT TRUE)", exact: found.exact}
}

func (b *sqlFilter) active(c scim.Compare) condition {
	found := condition{sql: "true", exact: true}
	if wanted, ok := c.Value.(bool); ok {
		status := user.Suspended
		if wanted == (c.Op == scim.Equal) {
			status = user.Active
		}
		found.sql = "u.status = " + b.arg(string(status), "text")
	}
	return unlessHidden(c, "json_typeof(u.scim->'active') = 'null'", found)
}

// folded returns the comparison with its value in comparison form.
func folded(c scim.Compare, fold func(string) string) scim.Compare {
	if text, ok := c.Value.(string); ok {
		c.Value = fold(text)
	}
	return c
}

// text compares a column that is in comparison form. Equals, if not empty, is the condition for eq.
func (b *sqlFilter) text(c scim.Compare, column, equals string) condition {
	if c.Op == scim.Present {
		return condition{sql: column + " IS NOT NULL", exact: true}
	}
	text, _ := c.Value.(string)
	if strings.ContainsRune(text, 0) { // which the database cannot hold
		return condition{sql: strconv.FormatBool(c.Op == scim.NotEqual), exact: true}
	}
	like := func(before, after string) string {
		return column + " LIKE " + b.arg(before+escapeLike(text)+after, "text")
	}
	switch c.Op {
	case scim.Equal:
		if equals != "" {
			return condition{sql: equals, exact: true}
		}
		return condition{sql: column + " = " + b.arg(text, "text"), exact: true}
	case scim.NotEqual:
		return condition{sql: column + " IS DISTINCT FROM " + b.arg(text, "text"), exact: true}
	case scim.StartsWith:
		return condition{sql: like("", "%"), exact: true}
	case scim.EndsWith:
		return condition{sql: like("%", ""), exact: true}
	case scim.Contains:
		return condition{sql: like("%", "%"), exact: true}
	default:
		return condition{sql: column + orderOperators[c.Op] + b.arg(text, `text COLLATE "C"`), exact: true}
	}
}

var orderOperators = map[scim.Operator]string{scim.Equal: " = ", scim.NotEqual: " <> ", scim.Greater: " > ",
	scim.GreaterOrEqual: " >= ", scim.Less: " < ", scim.LessOrEqual: " <= "}

func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}

// uuidEquals returns the condition that a column has the id. A malformed id matches nothing.
func (b *sqlFilter) uuidEquals(c scim.Compare, column string) string {
	text, _ := c.Value.(string)
	id, ok := user.ParseID(text)
	if !ok || c.Op != scim.Equal || text != id.String() { // ids are compared exactly
		return "false"
	}
	return column + " = " + b.arg(id, "uuid")
}

func (b *sqlFilter) time(c scim.Compare, column string) condition {
	at, ok := c.Value.(time.Time)
	operator, ordered := orderOperators[c.Op]
	switch {
	case c.Op == scim.Present:
		return condition{sql: "true", exact: true}
	case !ok || !ordered || at.Year() < 1 || at.Year() > 9999:
		return anything
	}
	return condition{sql: column + operator + b.arg(at, "timestamptz"), exact: true}
}

// displayName finds by the name's search form, which ignores more than the comparison does.
func (b *sqlFilter) displayName(c scim.Compare, text string) condition {
	trimmed := strings.TrimSpace(text)
	form := user.SearchForm(trimmed)
	if utf8.RuneCountInString(text) > 200 || form == "" || strings.ContainsRune(form, 0) {
		return anything
	}
	switch c.Op {
	case scim.Equal:
		return condition{sql: "u.name_key = " + b.arg(form, "text")}
	case scim.StartsWith:
		return condition{sql: "u.name_key LIKE " + b.arg(escapeLike(form)+"%", "text")}
	case scim.Contains, scim.EndsWith:
		return condition{sql: b.inName(form)}
	}
	return anything
}

// inName finds names that contain a text, by the trigrams of the search text if it has any.
func (b *sqlFilter) inName(form string) string {
	column := "u.name_key"
	if utf8.RuneCountInString(form) >= 3 {
		column = "u.search"
	}
	return column + " LIKE " + b.arg("%"+escapeLike(form)+"%", "text")
}

// email finds the product's address by its index, and other addresses by their facet.
func (b *sqlFilter) email(c scim.Compare, text string) condition {
	switch c.Op {
	case scim.Equal:
		if strings.ContainsRune(text, 0) { // which the database cannot hold
			return condition{sql: "false", exact: true}
		}
		return condition{sql: "(u.email_key = " + b.arg(user.FoldAddress(text), "text") + " OR " + b.facet(user.SCIMFacet("emails.value", text)) + ")"}
	case scim.Present:
		return condition{sql: "(u.email_key IS NOT NULL OR (u.scim->'emails') IS NOT NULL)"}
	}
	return anything
}

// nameOf finds a part of the name: as sent, by its facet; otherwise within the name that it is derived from.
func (b *sqlFilter) nameOf(c scim.Compare, part, text string) condition {
	form := user.SearchForm(strings.TrimSpace(text))
	if c.Op != scim.Equal || form == "" || strings.ContainsRune(form, 0) {
		return anything
	}
	if facet := user.SCIMFacet("name."+part, text); facet != "" {
		return condition{sql: "(" + b.facet(facet) + " OR " + b.inName(form) + ")"}
	}
	return b.kept(c)
}

func (b *sqlFilter) facet(facet string) string {
	return "u.facets @> " + b.arg([]string{facet}, "text[]")
}

// kept finds users with an attribute that is kept as sent.
func (b *sqlFilter) kept(c scim.Compare) condition {
	name := c.Path.Attribute.Name
	if c.Op == scim.NotEqual || !c.Path.Kept() || name == "name" || name == "emails" { // which other fields may stand for
		return anything
	}
	value := "u.scim"
	if c.Path.Extension != nil {
		value += "->" + b.arg(c.Path.Extension.ID, "text")
	}
	return condition{sql: "(" + value + "->" + b.arg(name, "text") + ") IS NOT NULL"}
}

// groups writes a comparison of an attribute of groups. Whatever it can write is exact.
func (b *sqlFilter) groups(c scim.Compare) condition {
	switch c.Path.String() {
	case "id":
		return b.text(c, "g.id::text", b.uuidEquals(c, "g.id"))
	case "displayName":
		return b.text(folded(c, user.Fold), "g.name_key", "")
	case "externalId":
		return b.text(c, "g.external_id", "")
	case "schemas":
		return b.text(c, "'"+scim.GroupSchema.ID+"'", "")
	case "meta.resourceType":
		return b.text(c, "'"+scim.Groups.Name+"'", "")
	case "meta.version":
		return b.text(c, `'W/"' || g.version || '"'`, "")
	case "meta.created":
		return b.time(c, "g.created_at")
	case "meta.lastModified":
		return b.time(c, "g.updated_at")
	case "members", "members.value", "members.type":
		if c.Op == scim.Present {
			return condition{sql: "EXISTS (SELECT FROM group_members AS m WHERE m.group_id = g.id)", exact: true}
		}
		return inMembers(b.member(c))
	}
	return anything
}

// member writes a comparison of one member of a group.
func (b *sqlFilter) member(c scim.Compare) condition {
	switch c.Path.String() {
	case "members.value":
		return b.text(c, "m.user_id::text", b.uuidEquals(c, "m.user_id"))
	case "members.type":
		return b.text(folded(c, user.Fold), "'user'", "")
	}
	return anything
}

// inMembers finds groups by what holds for one of their members.
func inMembers(member condition) condition {
	if !member.exact {
		return anything
	}
	return condition{sql: "g.id IN (SELECT m.group_id FROM group_members AS m WHERE " + member.sql + ")", exact: true}
}
