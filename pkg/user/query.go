package user

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"net/url"
	"slices"
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
	maxOffset    = 10_000 // page × limit; past that a cursor is the way
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
	q := Query{Sort: defaultSort(), Limit: DefaultLimit, Count: CountEstimated}
	problems := listParameters.read(&q, values, "this listing")
	q.Filter.sort()
	q.position(&problems, values)
	return q, problems.Err()
}

func defaultSort() []SortKey { return []SortKey{{"createdAt", true}} }

var listParameters = parameters[Query]{
	"id": {true, func(q *Query, problems *Problems, name, v string) {
		if id, ok := ParseID(v); ok {
			q.IDs = with(q.IDs, id)
		} else {
			problems.Add(name, "validation_is_uuid", "must be a valid UUID")
		}
	}},
	"tag":        textValues(func(f *Filter) *[]string { return &f.Tags }, FoldTag),
	"email":      addresses(func(f *Filter) *[]string { return &f.Emails }),
	"userName":   addresses(func(f *Filter) *[]string { return &f.UserNames }),
	"externalId": textValues(func(f *Filter) *[]string { return &f.ExternalIDs }, func(v string) string { return v }),
	"group":      textValues(func(f *Filter) *[]string { return &f.Groups }, Fold),
	"role": {true, func(q *Query, problems *Problems, name, v string) {
		problems.check(name, Role(v), roleRules...)
		q.Roles = with(q.Roles, v)
	}},
	"status": {true, func(q *Query, problems *Problems, name, v string) {
		problems.check(name, Status(v), statusRules...)
		q.Statuses = with(q.Statuses, v)
	}},
	"without": {true, func(q *Query, problems *Problems, name, v string) {
		if !slices.Contains(Absences, v) {
			problems.Add(name, codeFormat, "must be one of %s", strings.Join(Absences, ", "))
		}
		q.Without = with(q.Without, v)
	}},
	"model": once(func(q *Query, problems *Problems, name, v string) {
		problems.check(name, v, modelRules...)
		q.Model = v
	}),
	"provider": once(func(q *Query, problems *Problems, name, v string) {
		if !IsProvider(v) {
			problems.Add(name, codeFormat, "must be 1 to 63 of a-z 0-9 - _")
		}
		q.Provider = v
	}),
	"q": once(func(q *Query, problems *Problems, name, v string) {
		if n := utf8.RuneCountInString(v); n < 1 || n > 200 {
			problems.Add(name, codeRange, "must be 1 to 200 characters")
			return
		}
		if q.Search = SearchForm(v); q.Search == "" {
			problems.Add(name, codeRange, "must contain a character other than diacritics, which searches ignore")
		}
	}),
	"metadata.":     {true, (*Query).metadata},
	"createdFrom":   timeAt(func(q *Query) *time.Time { return &q.CreatedFrom }),
	"createdTo":     timeAt(func(q *Query) *time.Time { return &q.CreatedTo }),
	"expiresBefore": timeAt(func(q *Query) *time.Time { return &q.ExpiresBefore }),
	"sort":          once((*Query).sort),
	"limit":         limitAt(func(q *Query) *int { return &q.Limit }),
	"page":          once(func(q *Query, problems *Problems, name, v string) { q.Page = problems.integer(name, v, maxOffset) }),
	"cursor":        elsewhere[Query](),
	"count": oneOf(func(q *Query, v string) { q.Count = CountMode(v) },
		string(CountExact), string(CountEstimated), string(CountNone)),
}

// textValues declares a parameter whose values are compared by a form. A value that is longer than any user's is
// refused before its form is computed: some conversions take time that grows with the square of the length.
func textValues(of func(*Filter) *[]string, form func(string) string) parameter[Query] {
	return parameter[Query]{true, func(q *Query, problems *Problems, name, v string) {
		if utf8.RuneCountInString(v) > maxValue {
			problems.addOnce(name, codeRange, "must be at most %d characters", maxValue)
			return
		}
		list := of(&q.Filter)
		*list = with(*list, form(v))
	}}
}

// addresses declares a parameter whose values are e-mail addresses, or names that may be addresses. A plus
// sign that is not encoded arrives as a space, which would find nobody.
func addresses(of func(*Filter) *[]string) parameter[Query] {
	plain := textValues(of, FoldAddress)
	return parameter[Query]{true, func(q *Query, problems *Problems, name, v string) {
		if strings.Contains(v, " ") && (name == "email" || strings.Contains(v, "@")) {
			problems.addOnce(name, codeFormat, "contains a space: write + as %%2B in a query string")
			return
		}
		plain.read(q, problems, name, v)
	}}
}

// with returns the values and one more, each once: an index is read for every one of them.
func with[T comparable](values []T, v T) []T {
	if slices.Contains(values, v) {
		return values
	}
	return append(values, v)
}

func (q *Query) metadata(problems *Problems, name, v string) {
	path := splitPath(strings.TrimPrefix(name, "metadata."))
	switch {
	case slices.Contains(path, "") || len(path) > maxMetadataDepth:
		problems.addOnce(name, codeFormat, `must be metadata. and at most %d names with dots between them (a dot in a name is written \.)`, maxMetadataDepth)
	case len(q.Metadata) == maxValues:
		problems.addOnce(name, codeSize, "at most %d metadata conditions can be given", maxValues)
	default:
		q.Metadata = append(q.Metadata, MetadataEqual{path, v})
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

func (q *Query) sort(problems *Problems, name, v string) {
	q.Sort = nil
	for field := range strings.SplitSeq(v, ",") {
		field, descending := strings.CutPrefix(field, "-")
		if !slices.Contains([]string{"createdAt", "tag", "name", "email"}, field) {
			problems.Add(name, codeFormat, "must be a comma list of createdAt, tag, name, email, each with - before it to descend")
			return
		}
		if slices.ContainsFunc(q.Sort, func(k SortKey) bool { return k.Field == field }) {
			problems.Add(name, codeRepeated, "names %s twice", field)
			return
		}
		q.Sort = append(q.Sort, SortKey{field, descending})
	}
}

// position settles where the page begins, which depends on all other parameters.
func (q *Query) position(problems *Problems, values url.Values) {
	if q.Page*q.Limit > maxOffset && !problems.has("page") {
		problems.Add("page", codeRange, "page × limit must be at most %d%s", maxOffset, cursorAdvice("page"))
	}
	if values.Has("cursor") && values.Has("page") && !problems.has("cursor") {
		problems.Add("cursor", codeCursor, "cannot be used together with page")
	}
	q.After = readCursor(problems, values, q.fingerprint, q.fits)
}
