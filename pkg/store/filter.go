package store

import (
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// searchText is the expression that the trigram index users_search is on; the line breaks
// keep a substring from running over from one field into the next.
const searchText = `(u.tag || E'\n' || u.name_key || E'\n' || coalesce(u.email_key, ''))`

// filter writes the filter's conditions.
func (b *listing) filter(f user.Filter) {
	b.points(f)
	b.times(f)
	b.choice("u.role", f.Roles)
	b.choice("u.status", f.Statuses)
	b.facets(f)
	b.search(f.Search)
	if len(f.IDs)+len(f.Tags)+len(f.Emails)+len(f.ExternalIDs) > 0 { // few users, which nothing needs to bound
		b.along, b.rest = append(b.along, b.rest...), nil
	}
}

// points are conditions that each value of finds one user at most.
func (b *listing) points(f user.Filter) {
	b.rest = append(b.rest, anyOf(b, "u.id", "uuid", idTexts(f.IDs))...)
	b.rest = append(b.rest, anyOf(b, "u.tag", "text", f.Tags)...)
	b.rest = append(b.rest, anyOf(b, "u.email_key", "text", f.Emails)...)
	b.rest = append(b.rest, anyOf(b, "u.external_id", "text", f.ExternalIDs)...)
}

func idTexts(ids []uuid.UUID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = id.String()
	}
	return all
}

func anyOf(b *listing, column, sqlType string, values []string) []string {
	switch len(values) {
	case 0:
		return nil
	case 1:
		return []string{column + " = " + b.arg(values[0]) + "::" + sqlType}
	default:
		return []string{column + " = ANY (" + b.arg(values) + "::" + sqlType + "[])"}
	}
}

// byTime says whether an index on the time of creation gives the order.
func (b *listing) byTime() bool { return len(b.sort) > 0 && b.sort[0].Field == "createdAt" }

func (b *listing) times(f user.Filter) {
	to := &b.rest
	if b.byTime() {
		to = &b.along
	}
	if !f.CreatedFrom.IsZero() {
		*to = append(*to, "u.created_at >= "+b.arg(f.CreatedFrom)+"::timestamptz")
	}
	if !f.CreatedTo.IsZero() {
		*to = append(*to, "u.created_at < "+b.arg(f.CreatedTo)+"::timestamptz")
	}
}

// choice is a condition on one of the columns that begin an index on the time of creation:
// with one value of each, that index is in order.
func (b *listing) choice(column string, values []string) {
	to := &b.rest
	if b.byTime() && len(values) == 1 {
		to = &b.along
	}
	*to = append(*to, anyOf(b, column, "text", values)...)
}

func (b *listing) facets(f user.Filter) {
	var facets []string
	if f.Provider != "" {
		facets = append(facets, user.ProviderFacet(f.Provider))
	}
	for _, condition := range f.Metadata {
		facets = append(facets, user.MetadataFacet(condition.Path, condition.Value))
	}
	if len(facets) > 0 {
		b.rest = append(b.rest, "u.facets @> "+b.arg(facets)+"::text[]")
	}
	if f.Model != "" {
		b.rest = append(b.rest, "(u.facets && "+b.arg(user.ModelFacets(f.Model))+"::text[] OR u.facets && "+
			b.arg(user.GlobFacets(f.Model))+"::text[] AND "+b.matchesGlob(f.Model)+")")
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
	if strings.Contains(text, "\n") { // which no field has in it: only searchText does, where two fields meet
		b.rest = append(b.rest, "false")
		return
	}
	literal := strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
	if utf8.RuneCountInString(text) >= 3 {
		if seams, only := user.Seams(text); only {
			b.rest = append(b.rest, "u.facets @> "+b.arg(seams)+"::text[]")
		}
		b.rest = append(b.rest, searchText+" LIKE "+b.arg("%"+literal+"%")+"::text")
		return
	}
	prefix := b.arg(literal+"%") + "::text"
	b.rest = append(b.rest, "(u.tag LIKE "+prefix+" OR u.name_key LIKE "+prefix+" OR u.email_key LIKE "+prefix+")")
}
