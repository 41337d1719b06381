package store

import (
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// listing composes the statements of one listing. Their text is Bun's; values are numbered parameters, so that
// listings with the same parameters have the same text, whose result columns pgx knows after the first call.
type listing struct {
	db   *bun.DB
	read *reading
	args []any
	keys []sortKey // the order, and where the page begins in it

	hasCursor bool
	// index holds the conditions that the index of the listing's order serves as well: it reads one page,
	// however many users they select. filter holds the others.
	index, filter []string
	whole         string // the text that users found by parts of it must contain; empty for none
}

func (s *Store) listing(q user.Query) *listing {
	l := &listing{db: s.db, read: &s.statements().reading, hasCursor: q.After != nil}
	l.where(q)
	l.keys = l.sortKeys(q)
	return l
}

// bind replaces each ? of an expression by the placeholder of a parameter.
func (l *listing) bind(expression string, args ...any) string {
	for _, value := range args {
		l.args = append(l.args, value)
		expression = strings.Replace(expression, "?", placeholder(len(l.args)), 1)
	}
	return expression
}

// arguments returns the arguments of a statement that is planned at each call, since its best plan
// depends on how common the values are.
func (l *listing) arguments() []any {
	return append([]any{pgx.QueryExecModeCacheDescribe}, l.args...)
}

// where composes the conditions of a filter. A filter that is missing here fails a test.
func (l *listing) where(q user.Query) {
	f := q.Filter
	l.unique(f)
	l.times(q)
	l.choice(q, "u.role", f.Roles)
	l.choice(q, "u.status", f.Statuses)
	for _, without := range f.Without {
		l.add(absences[without])
	}
	if len(f.Groups) > 0 {
		l.add(l.group(f.Groups))
	}
	l.facets(f)
	l.model(f.Model)
	l.search(f.Search)
}

func (l *listing) add(condition string) { l.filter = append(l.filter, condition) }

// unique adds the conditions on unique columns: each value matches at most one user.
func (l *listing) unique(f user.Filter) {
	ids := make([]string, len(f.IDs))
	for i, id := range f.IDs {
		ids[i] = id.String()
	}
	for index, values := range [uniqueIndexes][]string{KeyID: ids, KeyTag: f.Tags, KeyEmail: f.Emails, KeyUserName: f.UserNames, KeyExternalID: f.ExternalIDs} {
		sqlType := "text"
		if index == KeyID {
			sqlType = "uuid"
		}
		if len(values) > 0 {
			l.add(l.anyOf("u."+uniqueColumns[index], sqlType, values))
		}
	}
}

func (l *listing) anyOf(column, sqlType string, values []string) string {
	if len(values) == 1 {
		return l.bind(column+" = ?::"+sqlType, values[0])
	}
	return l.bind(column+" = ANY (?::"+sqlType+"[])", values)
}

func (l *listing) times(q user.Query) {
	to := &l.filter
	if byCreation(q) {
		to = &l.index
	}
	if !q.CreatedFrom.IsZero() {
		*to = append(*to, l.bind("u.created_at >= ?::timestamptz", q.CreatedFrom))
	}
	if !q.CreatedTo.IsZero() {
		*to = append(*to, l.bind("u.created_at < ?::timestamptz", q.CreatedTo))
	}
	if !q.ExpiresBefore.IsZero() {
		l.add(l.bind("u.expires_at < ?::timestamptz", q.ExpiresBefore))
	}
}

// byCreation reports whether users are sorted by creation time first, as in the indexes on role and
// status.
func byCreation(q user.Query) bool { return len(q.Sort) > 0 && q.Sort[0].Field == "createdAt" }

// choice adds a condition on role or status. With a single value, an index has the matching users in
// order of creation.
func (l *listing) choice(q user.Query, column string, values []string) {
	if len(values) == 0 {
		return
	}
	to := &l.filter
	if byCreation(q) && len(values) == 1 {
		to = &l.index
	}
	*to = append(*to, l.anyOf(column, "text", values))
}

// absences are the conditions of the parameter without. The lists are compared as the text that [rowOf] writes.
var absences = map[string]string{
	"email":                    "u.email_key IS NULL",
	"externalId":               "u.external_id IS NULL",
	"userName":                 "u.user_name IS NULL",
	"models":                   "u.models IS NULL",
	"credentials":              "u.credentials::text = '[]'",
	"keys":                     "u.keys::text = '[]'",
	"expiresAt":                "u.expires_at IS NULL",
	"limits.requestsPerMinute": "u.requests_per_minute IS NULL",
	"limits.tokensPerMinute":   "u.tokens_per_minute IS NULL",
	"limits.monthlyBudgetUSD":  "u.monthly_budget_cents IS NULL",
}

// group finds the members of any group that has one of the ids or names.
func (l *listing) group(idsOrNames []string) string {
	ids := []string{}
	for _, text := range idsOrNames {
		if id, err := uuid.Parse(text); err == nil {
			ids = append(ids, id.String())
		}
	}
	groups := l.db.NewSelect().Model((*groupRow)(nil)).Column("id").
		Where(l.bind("g.id = ANY (?::uuid[]) OR g.name_key = ANY (?::text[])", ids, idsOrNames))
	members := l.db.NewSelect().Model((*memberRow)(nil)).Column("user_id").Where("m.group_id IN (?)", groups)
	return "u.id IN (" + members.String() + ")"
}

func (l *listing) facets(f user.Filter) {
	var all []string
	if f.Provider != "" {
		all = append(all, user.ProviderFacet(f.Provider))
	}
	for _, condition := range f.Metadata {
		if facets := user.MetadataFacets(condition); len(facets) == 1 {
			all = append(all, facets...)
		} else {
			l.add(l.bind("u.facets && ?::text[]", facets))
		}
	}
	if len(all) > 0 {
		l.add(l.bind("u.facets @> ?::text[]", all))
	}
}

// model finds the users who may use a model: by a facet, or by a glob that has no facet. The glob is
// rewritten as a pattern of LIKE.
func (l *listing) model(model string) {
	if model == "" {
		return
	}
	l.add(l.bind(`(u.facets && ?::text[] OR u.facets && ?::text[] AND EXISTS (SELECT FROM unnest(u.models) AS glob
		WHERE ?::text LIKE Translate(replace(replace(replace(glob, '\', '\\'), '%', '\%'), '_', '\_'), '*?', '%_')))`,
		user.ModelFacets(model), user.GlobFacets(model), model))
}

// search finds a text in the search forms. A text of three characters or more matches as a substring, as does
// one of two in a script where two can be a word. A shorter text matches the beginning of a tag, name or
// e-mail address, since no index finds such short substrings.
func (l *listing) search(text string) {
	if text == "" {
		return
	}
	if strings.Contains(text, "\n") { // no field has one: the search text has it between two fields
		l.add("false")
		return
	}
	literal := escapeLike(text)
	parts, all := user.SearchFacets(text)
	switch {
	case all:
		l.add(l.bind("u.facets @> ?::text[]", parts))
		if len(parts) > 1 { // one alone is the text
			l.whole = text
		}
	case utf8.RuneCountInString(text) >= 3:
		l.add(l.bind("u.search LIKE ?::text", "%"+literal+"%"))
	default:
		prefix := literal + "%"
		l.add(l.bind("(u.tag LIKE ?::text OR u.name_key LIKE ?::text OR u.email_key LIKE ?::text OR u.facets @> ?::text[])",
			prefix, prefix, prefix, []string{user.PrefixFacet(text)}))
	}
}

// recheck returns the condition that confirms users found by parts of a text. It is not in filter, where
// it would make the planner expect too few users.
func (l *listing) recheck() []string {
	if l.whole == "" {
		return nil
	}
	return []string{l.bind("strpos(u.search, ?::text) > 0", l.whole)}
}
