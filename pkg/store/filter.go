package store

import (
	"strings"
	"unicode/utf8"

	"aiadmin/pkg/user"
)

// searchText is the expression that the trigram index users_search is on; the line breaks
// keep a substring from running over from one field into the next.
const searchText = `(u.tag || E'\n' || u.name_key || E'\n' || coalesce(u.email_key, ''))`

// filtered begins a statement about the users that a filter finds.
func (s *Store) filtered(f user.Filter) *listing {
	b := &listing{q: s.db.NewSelect().TableExpr("users AS u")}
	b.anyOf("u.tag", "text", f.Tags)
	b.anyOf("u.email_key", "text", f.Emails)
	b.anyOf("u.external_id", "text", f.ExternalIDs)
	b.anyOf("u.role", "text", f.Roles)
	b.anyOf("u.status", "text", f.Statuses)
	if len(f.IDs) > 0 {
		ids := make([]string, len(f.IDs))
		for i, id := range f.IDs {
			ids[i] = id.String()
		}
		b.anyOf("u.id", "uuid", ids)
	}
	b.facets(f)
	b.search(f.Search)
	if !f.CreatedFrom.IsZero() {
		b.restrict("u.created_at >= " + b.arg(f.CreatedFrom) + "::timestamptz")
	}
	if !f.CreatedTo.IsZero() {
		b.restrict("u.created_at < " + b.arg(f.CreatedTo) + "::timestamptz")
	}
	return b
}

func (b *listing) restrict(condition string) {
	b.filtered = true
	b.where(condition)
}

func (b *listing) anyOf(column, sqlType string, values []string) {
	switch len(values) {
	case 0:
	case 1: // equality lets an index on this column and the sort's give the order as well
		b.restrict(column + " = " + b.arg(values[0]) + "::" + sqlType)
	default:
		b.restrict(column + " = ANY (" + b.arg(values) + "::" + sqlType + "[])")
	}
}

func (b *listing) facets(f user.Filter) {
	var all []string
	if f.Provider != "" {
		all = append(all, user.ProviderFacet(f.Provider))
	}
	for _, condition := range f.Metadata {
		all = append(all, user.MetadataFacet(condition.Path, condition.Value))
	}
	if len(all) > 0 {
		b.restrict("u.facets @> " + b.arg(all) + "::text[]")
	}
	if f.Model != "" {
		b.restrict("(u.facets && " + b.arg(user.ModelFacets(f.Model)) + "::text[] OR u.facets @> " +
			b.arg([]string{user.ComplexGlobFacet}) + "::text[] AND " + b.matchesGlob(f.Model) + ")")
	}
}

// matchesGlob compares with each of a user's globs, as user.LikePattern writes them.
func (b *listing) matchesGlob(model string) string {
	return `EXISTS (SELECT FROM unnest(u.models) AS glob WHERE ` + b.arg(model) + `::text LIKE
		translate(replace(replace(replace(glob, '\', '\\'), '%', '\%'), '_', '\_'), '*?', '%_'))`
}

// search finds a substring; shorter than a trigram, it finds a prefix, since no index
// finds such substrings.
func (b *listing) search(text string) {
	if text == "" {
		return
	}
	literal := strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
	if utf8.RuneCountInString(text) >= 3 {
		b.restrict(searchText + " LIKE " + b.arg("%"+literal+"%") + "::text")
		return
	}
	prefix := b.arg(literal+"%") + "::text"
	b.restrict("(u.tag LIKE " + prefix + " OR u.name_key LIKE " + prefix + " OR u.email_key LIKE " + prefix + ")")
}
