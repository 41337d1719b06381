package store

import (
	"slices"
	"strings"

	"aiadmin/pkg/user"
)

// source is what a listing reads users from, and which of its columns give the order.
type source struct {
	tables string
	sort   map[string]string
}

// The holders of a provider's credentials are read along an index of those. The planner does not
// know that the users' own columns would give the same order.
var (
	fromUsers   = source{"users AS u", map[string]string{"createdAt": "u.created_at", "tag": "u.tag", "name": "u.name_key", "email": "u.email_key", "id": "u.id"}}
	fromHolders = source{"credentials AS c JOIN users AS u ON u.id = c.user_id", map[string]string{"createdAt": "c.user_created_at", "tag": "u.tag", "name": "u.name_key", "email": "u.email_key", "id": "c.user_id"}}
	fromWalked  = source{sort: map[string]string{"createdAt": "u.user_created_at", "tag": "u.tag", "name": "u.name_key", "email": "u.email_key", "id": "u.user_id"}}
)

const holdersAlone = "credentials AS c"

func (b *listing) order() string {
	terms := make([]string, len(b.sort))
	for i, key := range b.sort {
		terms[i] = b.source.sort[key.Field]
		if key.Descending {
			terms[i] += " DESC"
		}
		if key.Field == "email" && b.part == whole {
			terms[i] += " NULLS LAST"
		}
	}
	return " ORDER BY " + strings.Join(terms, ", ")
}

// behind are the conditions that a user comes behind the cursor, none on the first page.
// The first key bounds the scan of an index; which users of those that tie on it are
// behind is spelt out key by key.
func (b *listing) behind() []string {
	if len(b.cursor) == 0 {
		return nil
	}
	first := b.sort[0]
	emailMayBeAbsent := b.part == whole && slices.ContainsFunc(b.sort, func(k user.SortKey) bool { return k.Field == "email" })
	if sameDirection(b.sort) && !emailMayBeAbsent { // a comparison of tuples would lose the absent ones
		return []string{b.tuple()}
	}
	conditions := []string{b.behindFrom(b.sort, b.cursor)}
	if first.Field != "email" {
		conditions = append(conditions, b.source.sort[first.Field]+comparison(first)+"= "+b.value(first, b.cursor[0]))
	}
	return conditions
}

// tuple compares all keys at once, which an index on them can start at.
func (b *listing) tuple() string {
	var left, right []string
	for i, key := range b.sort {
		left, right = append(left, b.source.sort[key.Field]), append(right, b.value(key, b.cursor[i]))
	}
	return "(" + strings.Join(left, ", ") + ") " + comparison(b.sort[0]) + " (" + strings.Join(right, ", ") + ")"
}

// behindFrom is the condition that a row sorts after values: it is behind in the first
// key, or equal in it and behind in the rest.
func (b *listing) behindFrom(keys []user.SortKey, values []*string) string {
	column := b.source.sort[keys[0].Field]
	if values[0] == nil { // the absent ones come last: none is behind, those absent too tie
		return "(" + column + " IS NULL AND " + b.behindFrom(keys[1:], values[1:]) + ")"
	}
	value := b.value(keys[0], values[0])
	first := column + " " + comparison(keys[0]) + " " + value
	if keys[0].Field == "email" {
		first = "(" + first + " OR " + column + " IS NULL)"
	}
	if len(keys) == 1 {
		return first
	}
	return "(" + first + " OR (" + column + " = " + value + " AND " + b.behindFrom(keys[1:], values[1:]) + "))"
}

var sortTypes = map[string]string{"createdAt": "::timestamptz", "tag": "::text", "name": "::text", "email": "::text", "id": "::uuid"}

func (b *listing) value(key user.SortKey, value *string) string {
	return b.arg(*value) + sortTypes[key.Field]
}

func comparison(key user.SortKey) string {
	if key.Descending {
		return "<"
	}
	return ">"
}

func sameDirection(keys []user.SortKey) bool {
	return !slices.ContainsFunc(keys, func(k user.SortKey) bool { return k.Descending != keys[0].Descending })
}
