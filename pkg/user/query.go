package user

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Bounds of a listing.
const (
	DefaultLimit = 50
	MaxLimit     = 500
	MaxOffset    = 10_000 // page × limit; past that a cursor is the way
	MaxExact     = 10_000 // totals up to here are counted, past it estimated
	maxValues    = 100    // of one repeated parameter
	maxValue     = 255    // characters of a value that one user has, which the longest of them may have
)

// Filter selects the users of a listing. Empty members do not restrict it. Those that are given must all
// hold; of a member with several values, any one suffices, but all of Metadata and Without must hold. Values
// are in the form that they are compared by, each once and in order. A member that is added here is part of
// every cursor and total by itself, see [Filter.Key].
type Filter struct {
	IDs           []uuid.UUID
	Tags          []string // see [FoldTag]
	Emails        []string // see [FoldAddress]
	UserNames     []string // see [FoldAddress]
	ExternalIDs   []string
	Roles         []string
	Statuses      []string
	Groups        []string // ids, or names by [Fold]
	Model         string
	Provider      string
	Metadata      []MetadataEqual
	Without       []string  // names of [Absences]
	Search        string    // see [SearchForm]
	CreatedFrom   time.Time // inclusive
	CreatedTo     time.Time // exclusive
	ExpiresBefore time.Time
}

// MetadataEqual asks for a value at a path of metadata.
type MetadataEqual struct {
	Path  []string
	Value string // as the query has it: a string, or a number or a boolean as JSON writes it
}

func (m MetadataEqual) compare(other MetadataEqual) int {
	return cmp.Or(slices.Compare(m.Path, other.Path), strings.Compare(m.Value, other.Value))
}

// Absences are what a user may be without, as the parameter without names it.
var Absences = []string{"email", "externalId", "userName", "models", "credentials", "keys", "expiresAt",
	"limits.requestsPerMinute", "limits.tokensPerMinute", "limits.monthlyBudgetUSD"}

// Key identifies a filter: it is the same for the same values in whatever order a query had them. It is a
// digest of every exported field, so that none can be forgotten.
func (f *Filter) Key() [16]byte {
	encoded, err := json.Marshal(f, json.Deterministic(true))
	if err != nil {
		panic(err) // valid text, numbers and times always encode
	}
	sum := sha256.Sum256(encoded)
	return [16]byte(sum[:])
}

// sort puts the values into the order that [Filter.Key] relies on.
func (f *Filter) sort() {
	slices.SortFunc(f.IDs, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, values := range [][]string{f.Tags, f.Emails, f.UserNames, f.ExternalIDs, f.Roles, f.Statuses, f.Groups, f.Without} {
		slices.Sort(values)
	}
	slices.SortFunc(f.Metadata, MetadataEqual.compare)
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
	for _, name := range slices.Sorted(maps.Keys(values)) { // problems come in a stable order
		p.parameter(name, values[name])
	}
	p.query.Filter.sort()
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
			p.problems.Add(name, codeFormat, "must be valid UTF-8")
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
	parameter, ok := parameters[name]
	switch {
	case !ok:
		p.problems.Add(name, codeParam, "is not a parameter of this listing")
	case len(values) > 1 && !parameter.repeated:
		p.problems.Add(name, codeRepeated, "can be given once")
	case len(values) > maxValues:
		p.problems.Add(name, codeSize, "can be given at most %d times", maxValues)
	default:
		for _, v := range values {
			parameter.parse(p, name, v)
		}
	}
}

// parameter declares how one parameter of a listing is read.
type parameter struct {
	repeated bool // up to maxValues times
	parse    func(p *queryParser, name, value string)
}

// parameters are all but metadata.*, by name.
var parameters = map[string]parameter{
	"id": {true, func(p *queryParser, name, v string) {
		if id, ok := ParseID(v); ok {
			p.query.IDs = with(p.query.IDs, id)
		} else {
			p.problems.Add(name, "validation_is_uuid", "must be a valid UUID")
		}
	}},
	"tag":        textValues(func(f *Filter) *[]string { return &f.Tags }, FoldTag),
	"email":      addresses(func(f *Filter) *[]string { return &f.Emails }),
	"userName":   addresses(func(f *Filter) *[]string { return &f.UserNames }),
	"externalId": textValues(func(f *Filter) *[]string { return &f.ExternalIDs }, func(v string) string { return v }),
	"group":      textValues(func(f *Filter) *[]string { return &f.Groups }, Fold),
	"role": {true, func(p *queryParser, name, v string) {
		p.problems.check(name, Role(v), roleRules...)
		p.query.Roles = with(p.query.Roles, v)
	}},
	"status": {true, func(p *queryParser, name, v string) {
		p.problems.check(name, Status(v), statusRules...)
		p.query.Statuses = with(p.query.Statuses, v)
	}},
	"without": {true, func(p *queryParser, name, v string) {
		if !slices.Contains(Absences, v) {
			p.problems.Add(name, codeFormat, "must be one of %s", strings.Join(Absences, ", "))
		}
		p.query.Without = with(p.query.Without, v)
	}},
	"model": {false, func(p *queryParser, name, v string) {
		p.problems.check(name, v, modelRules...)
		p.query.Model = v
	}},
	"provider": {false, func(p *queryParser, name, v string) {
		if !IsProvider(v) {
			p.problems.Add(name, codeFormat, "must be 1 to 63 of a-z 0-9 - _")
		}
		p.query.Provider = v
	}},
	"q": {false, func(p *queryParser, name, v string) {
		if n := utf8.RuneCountInString(v); n < 1 || n > 200 {
			p.problems.Add(name, codeRange, "must be 1 to 200 characters")
			return
		}
		if p.query.Search = SearchForm(v); p.query.Search == "" {
			p.problems.Add(name, codeRange, "must contain a character other than diacritics, which searches ignore")
		}
	}},
	"createdFrom":   {false, func(p *queryParser, name, v string) { p.query.CreatedFrom = p.problems.time(name, v) }},
	"createdTo":     {false, func(p *queryParser, name, v string) { p.query.CreatedTo = p.problems.time(name, v) }},
	"expiresBefore": {false, func(p *queryParser, name, v string) { p.query.ExpiresBefore = p.problems.time(name, v) }},
	"sort":          {false, (*queryParser).sort},
	"limit":         {false, func(p *queryParser, _, v string) { p.query.Limit = ParseLimit(&p.problems, v) }},
	"page":          {false, func(p *queryParser, name, v string) { p.query.Page = p.problems.integer(name, v, MaxOffset) }},
	"cursor":        {false, func(*queryParser, string, string) {}}, // read last, when filters and sort are known
	"count": {false, func(p *queryParser, name, v string) {
		p.query.Count = CountMode(v)
		if !slices.Contains([]CountMode{CountExact, CountEstimated, CountNone}, p.query.Count) {
			p.problems.Add(name, codeFormat, "must be exact, estimated or none")
		}
	}},
}

// textValues declares a parameter whose values are compared by a form. A value that is longer than any user's is
// refused before its form is computed: some conversions take time that grows with the square of the length.
func textValues(of func(*Filter) *[]string, form func(string) string) parameter {
	return parameter{true, func(p *queryParser, name, v string) {
		if utf8.RuneCountInString(v) > maxValue {
			p.problems.AddOnce(name, codeRange, "must be at most %d characters", maxValue)
			return
		}
		list := of(&p.query.Filter)
		*list = with(*list, form(v))
	}}
}

// addresses declares a parameter whose values are e-mail addresses, or names that may be addresses. A plus
// sign that is not encoded arrives as a space, which would find nobody.
func addresses(of func(*Filter) *[]string) parameter {
	plain := textValues(of, FoldAddress)
	return parameter{true, func(p *queryParser, name, v string) {
		if strings.Contains(v, " ") && (name == "email" || strings.Contains(v, "@")) {
			p.problems.AddOnce(name, codeFormat, "contains a space: write + as %%2B in a query string")
			return
		}
		plain.parse(p, name, v)
	}}
}

// with returns the values and one more, each once: an index is read for every one of them.
func with[T comparable](values []T, v T) []T {
	if slices.Contains(values, v) {
		return values
	}
	return append(values, v)
}

func (p *queryParser) metadata(name, dotted string, values []string) {
	path := splitPath(dotted)
	if slices.Contains(path, "") || len(path) > maxMetadataDepth {
		p.problems.Add(name, codeFormat, `must be metadata. and at most %d names with dots between them (a dot in a name is written \.)`, maxMetadataDepth)
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

// splitPath splits a dotted path of metadata. A backslash makes a dot or a backslash part of a name.
func splitPath(dotted string) []string {
	path := []string{}
	var name strings.Builder
	for i := 0; i < len(dotted); i++ {
		switch c := dotted[i]; {
		case c == '\\' && i+1 < len(dotted) && (dotted[i+1] == '.' || dotted[i+1] == '\\'):
			i++
			name.WriteByte(dotted[i])
		case c == '.':
			path = append(path, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	return append(path, name.String())
}

// time reads an RFC 3339 time; one that PostgreSQL could not hold is a problem too.
func (p *Problems) time(name, v string) time.Time {
	t, err := ParseTime(v)
	if err != nil {
		p.Add(name, codeFormat, "must be an RFC 3339 time such as 2026-01-31T00:00:00Z (a + must be sent as %%2B)")
		return time.Time{}
	}
	// Stored times are whole microseconds: a bound between two of them is the later one.
	if rest := t.Nanosecond() % 1000; rest > 0 || t.IsZero() { // a zero time would be no bound
		t = t.Add(time.Microsecond - time.Duration(rest))
	}
	return t
}

// ParseLimit reads the limit of any list.
func ParseLimit(problems *Problems, v string) int { return problems.integer("limit", v, MaxLimit) }

func (p *Problems) integer(name, v string, most int) int {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most || v[0] == '+' {
		p.Add(name, codeRange, "must be an integer from 1 to %d%s", most, cursorAdvice(name))
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
