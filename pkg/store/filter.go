package store

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// searchText is what the trigrams of the index users_search_forms are of.
const searchText = "u.search"

// filter writes the filter's conditions.
func (b *listing) filter(f user.Filter) {
	b.points(f)
	b.times(f)
	b.choice("u.role", f.Roles)
	b.choice("u.status", f.Statuses)
	b.facets(f)
	b.search(f.Search)
	if few(f) { // which nothing needs to bound
		b.along, b.rest = append(b.along, b.exactly()...), nil
	}
}

// few says whether a filter names the users that it can find.
func few(f user.Filter) bool {
	return len(f.IDs)+len(f.Tags)+len(f.Emails)+len(f.ExternalIDs) > 0
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
	switch {
	case f.Provider == "":
	case b.byTime() && !few(f) && len(f.Roles)+len(f.Statuses) == 0: // which have indexes of their own
		b.provider = f.Provider
	default:
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
	literal := strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
	switch runes := utf8.RuneCountInString(text); {
	case runes == 0:
	case strings.Contains(text, "\n"): // which no field has in it: only searchText does, where two fields meet
		b.rest = append(b.rest, "false")
	case runes >= 3:
		b.substring(text, literal)
	default:
		prefix := b.arg(literal+"%") + "::text"
		b.rest = append(b.rest, "(u.tag LIKE "+prefix+" OR u.name_key LIKE "+prefix+" OR u.email_key LIKE "+prefix+")")
	}
}

func (b *listing) substring(text, literal string) {
	if seams, only := user.Seams(text); only {
		b.rest = append(b.rest, "u.facets @> "+b.arg(seams)+"::text[]")
		if len(seams) > 1 { // one alone is the text
			b.whole = text
		}
		return
	}
	pattern := sparse(literal)
	b.rest = append(b.rest, searchText+" LIKE "+b.arg("%"+pattern+"%")+"::text")
	if pattern != literal {
		b.whole = text
	}
}

// holders are the condition that users hold a credential for the provider, where its own index is not read.
func (b *listing) holders() []string {
	if b.provider == "" {
		return nil
	}
	return []string{"u.facets @> " + b.arg([]string{user.ProviderFacet(b.provider)}) + "::text[]"}
}

// alongHolders makes the conditions and the order ones of the index on the provider's holders.
func (b *listing) alongHolders() {
	if b.provider == "" {
		return
	}
	b.source = fromHolders
	for i, condition := range b.along {
		b.along[i] = strings.ReplaceAll(condition, fromUsers.sort["createdAt"], fromHolders.sort["createdAt"])
	}
	b.along = append(b.along, "c.provider = "+b.arg(b.provider)+"::text")
}

// exactly are the conditions in rest, and one that makes sure of the text that they look for: from
// that, the planner would expect fewer users than there are.
func (b *listing) exactly() []string {
	if b.whole == "" {
		return b.rest
	}
	whole := b.arg(b.whole) + "::text) > 0"
	return append(slices.Clip(b.rest), "(strpos(u.tag, "+whole+" OR strpos(u.name_key, "+whole+" OR strpos(u.email_key, "+whole+")")
}

var longRun = regexp.MustCompile(`[a-z0-9]{6,}`)

// sparse is a LIKE pattern for which an index reads fewer lists of trigrams, each of which takes
// milliseconds when it is long: of those in a run of letters, it keeps those that do not overlap.
// They find hardly more than all of them do.
func sparse(literal string) string {
	return longRun.ReplaceAllStringFunc(literal, func(run string) string {
		var kept []string
		for i := 0; i+6 <= len(run); i += 3 {
			kept = append(kept, run[i:i+3])
		}
		return strings.Join(append(kept, run[len(run)-3:]), "%")
	})
}
