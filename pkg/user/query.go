package user

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Bounds of a listing.
const (
	DefaultLimit = 50
	MaxLimit     = 500
	MaxOffset    = 10_000 // page × limit; past that a cursor is the way
	MaxExact     = 10_000 // totals up to here are counted, past it estimated
	maxValues    = 100    // of one repeated parameter
)

// Filter says which users a listing is about. Empty members do not restrict it; those
// that are given must all hold, and of a member with several values any.
type Filter struct {
	IDs         []uuid.UUID
	Tags        []string // lower-cased
	Emails      []string // folded, see [Fold]
	Roles       []string
	Statuses    []string
	ExternalIDs []string
	Model       string
	Provider    string
	Metadata    []MetadataEqual
	Search      string    // folded
	CreatedFrom time.Time // inclusive
	CreatedTo   time.Time // exclusive
}

// MetadataEqual asks for a string at a path of metadata.
type MetadataEqual struct {
	Path  []string
	Value string
}

// CountMode says how a listing's total is found.
type CountMode string

// The count modes.
const (
	CountExact     CountMode = "exact"
	CountEstimated CountMode = "estimated"
	CountNone      CountMode = "none"
)

// SortKey orders a listing by one field.
type SortKey struct {
	Field      string // createdAt, tag, name or email
	Descending bool
}

// Query is one page of a listing.
type Query struct {
	Filter
	Sort  []SortKey // at least one; ties break by id, in the last key's direction
	Limit int
	Page  int     // 1-based; 0 where a cursor or nothing says where to begin
	After *Cursor // nil for the first page
	Count CountMode
}

// Offset is how many users come before the page.
func (q *Query) Offset() int { return max(0, q.Page-1) * q.Limit }

// ParseQuery reads a listing's parameters; everything wrong with them is one [Invalid] error.
func ParseQuery(values url.Values) (Query, error) {
	p := queryParser{query: Query{Sort: defaultSort(), Limit: DefaultLimit, Count: CountEstimated}}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // problems come in a stable order
	for _, name := range names {
		p.parameter(name, values[name])
	}
	p.position(values)
	return p.query, p.problems.Err()
}

func defaultSort() []SortKey { return []SortKey{{"createdAt", true}} }

type queryParser struct {
	query    Query
	problems Problems
}

func (p *queryParser) parameter(name string, values []string) {
	for _, v := range append([]string{name}, values...) {
		if !utf8.ValidString(v) {
			p.problems.Add(strings.ToValidUTF8(name, "\uFFFD"), codeFormat, "must be valid UTF-8")
			return
		}
		if strings.ContainsRune(v, 0) {
			checkNUL(&p.problems, name, v)
			return
		}
	}
	if path, ok := strings.CutPrefix(name, "metadata."); ok {
		p.metadata(name, path, values)
		return
	}
	if parse, ok := anyOf[name]; ok {
		if len(values) > maxValues {
			p.problems.Add(name, codeSize, "can be given at most %d times", maxValues)
			return
		}
		for _, v := range values {
			parse(p, name, v)
		}
		return
	}
	parse, ok := single[name]
	switch {
	case !ok:
		p.problems.Add(name, codeParam, "is not a parameter of this listing")
	case len(values) > 1:
		p.problems.Add(name, codeRepeated, "can be given once")
	default:
		parse(p, name, values[0])
	}
}

type parameterParser func(p *queryParser, name, value string)

// anyOf are the parameters that may be repeated: any of their values will do.
var anyOf = map[string]parameterParser{
	"id": func(p *queryParser, name, v string) {
		if id, ok := ParseID(v); ok {
			p.query.IDs = including(p.query.IDs, id)
		} else {
			p.problems.Add(name, "validation_is_uuid", "must be a valid UUID")
		}
	},
	"tag":        func(p *queryParser, _, v string) { p.query.Tags = including(p.query.Tags, FoldTag(v)) },
	"email":      func(p *queryParser, _, v string) { p.query.Emails = including(p.query.Emails, Fold(v)) },
	"externalId": func(p *queryParser, _, v string) { p.query.ExternalIDs = including(p.query.ExternalIDs, v) },
	"role": func(p *queryParser, name, v string) {
		p.problems.check(name, Role(v), roleRules...)
		p.query.Roles = including(p.query.Roles, v)
	},
	"status": func(p *queryParser, name, v string) {
		p.problems.check(name, Status(v), statusRules...)
		p.query.Statuses = including(p.query.Statuses, v)
	},
}

// including are the values and one more, each once: an index is read for every one of them.
func including[T comparable](values []T, v T) []T {
	if slices.Contains(values, v) {
		return values
	}
	return append(values, v)
}

// single are the parameters that may be given once.
var single = map[string]parameterParser{
	"model": func(p *queryParser, name, v string) {
		p.problems.check(name, v, modelRules...)
		p.query.Model = v
	},
	"provider": func(p *queryParser, name, v string) {
		if !IsProvider(v) {
			p.problems.Add(name, codeFormat, "must be 1 to 63 of a-z 0-9 -")
		}
		p.query.Provider = v
	},
	"q": func(p *queryParser, name, v string) {
		if n := utf8.RuneCountInString(v); n < 1 || n > 200 {
			p.problems.Add(name, codeRange, "must be 1 to 200 characters")
		}
		p.query.Search = Fold(v)
	},
	"createdFrom": func(p *queryParser, name, v string) { p.query.CreatedFrom = p.time(name, v) },
	"createdTo":   func(p *queryParser, name, v string) { p.query.CreatedTo = p.time(name, v) },
	"sort":        (*queryParser).sort,
	"limit":       func(p *queryParser, name, v string) { p.query.Limit = p.integer(name, v, MaxLimit) },
	"page":        func(p *queryParser, name, v string) { p.query.Page = p.integer(name, v, MaxOffset) },
	"cursor":      func(*queryParser, string, string) {}, // read last, when filters and sort are known
	"count": func(p *queryParser, name, v string) {
		p.query.Count = CountMode(v)
		if !slices.Contains([]CountMode{CountExact, CountEstimated, CountNone}, p.query.Count) {
			p.problems.Add(name, codeFormat, "must be exact, estimated or none")
		}
	},
}

func (p *queryParser) metadata(name, dotted string, values []string) {
	path := strings.Split(dotted, ".")
	if slices.Contains(path, "") || len(path) > maxMetadataDepth {
		p.problems.Add(name, codeFormat, "must be metadata. and a dotted path of at most %d names", maxMetadataDepth)
		return
	}
	if len(values)+len(p.query.Metadata) > maxValues {
		p.problems.Add(name, codeSize, "at most %d metadata conditions can be given", maxValues)
		return
	}
	for _, v := range values {
		p.query.Metadata = append(p.query.Metadata, MetadataEqual{path, v})
	}
}

// time reads an RFC 3339 time; one that PostgreSQL could not hold is a problem too.
func (p *queryParser) time(name, v string) time.Time {
	t, err := ParseTime(v)
	if err != nil {
		p.problems.Add(name, codeFormat, "must be an RFC 3339 time such as 2026-01-31T00:00:00Z (a + must be sent as %%2B)")
		return time.Time{}
	}
	// Users' times are whole microseconds: a bound between two of them is the later one.
	if rest := t.Nanosecond() % 1000; rest > 0 || t.IsZero() { // a zero time would be no bound
		t = t.Add(time.Microsecond - time.Duration(rest))
	}
	return t
}

func (p *queryParser) integer(name, v string, most int) int {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most || v[0] == '+' {
		p.problems.Add(name, codeRange, "must be an integer from 1 to %d%s", most, cursorAdvice(name))
		return 1
	}
	return n
}

func cursorAdvice(name string) string {
	if name != "page" {
		return ""
	}
	return "; to go deeper, follow page.next with cursor"
}

func (p *queryParser) sort(name, v string) {
	p.query.Sort = nil
	for field := range strings.SplitSeq(v, ",") {
		field, descending := strings.CutPrefix(field, "-")
		if !slices.Contains([]string{"createdAt", "tag", "name", "email"}, field) {
			p.problems.Add(name, codeFormat, "must be a comma list of createdAt, tag, name, email, each with - before it to descend")
			return
		}
		if slices.ContainsFunc(p.query.Sort, func(k SortKey) bool { return k.Field == field }) {
			p.problems.Add(name, codeRepeated, "names %s twice", field)
			return
		}
		p.query.Sort = append(p.query.Sort, SortKey{field, descending})
	}
}

// position settles where the page begins, which depends on all other parameters.
func (p *queryParser) position(values url.Values) {
	if p.query.Page*p.query.Limit > MaxOffset && !p.problems.has("page") {
		p.problems.Add("page", codeRange, "page × limit must be at most %d%s", MaxOffset, cursorAdvice("page"))
	}
	if !values.Has("cursor") || p.problems.has("cursor") {
		return
	}
	if values.Has("page") {
		p.problems.Add("cursor", codeCursor, "cannot be used together with page")
		return
	}
	if len(p.problems) > 0 { // the filters it must agree with are not known
		return
	}
	after, err := decodeCursor(values.Get("cursor"), &p.query)
	if err != nil {
		p.problems.Add("cursor", codeCursor, "%s", err)
		return
	}
	p.query.After = after
}
