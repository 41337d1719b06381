package user

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// parameters declare, by name, how the parameters of a query string are read into a Q. A name that ends
// with a dot declares all that begin with it.
type parameters[Q any] map[string]parameter[Q]

type parameter[Q any] struct {
	repeated bool // up to maxValues times
	read     func(q *Q, problems *Problems, name, value string)
}

// once declares a parameter that can be given once.
func once[Q any](read func(q *Q, problems *Problems, name, value string)) parameter[Q] {
	return parameter[Q]{false, read}
}

// elsewhere declares a parameter that is read when all others are known.
func elsewhere[Q any]() parameter[Q] { return once(func(*Q, *Problems, string, string) {}) }

// timeAt, limitAt, idAt and oneOf declare parameters that are read into a field.
func timeAt[Q any](field func(*Q) *time.Time) parameter[Q] {
	return once(func(q *Q, problems *Problems, name, v string) { *field(q) = problems.time(name, v) })
}

func limitAt[Q any](field func(*Q) *int) parameter[Q] {
	return once(func(q *Q, problems *Problems, name, v string) { *field(q) = problems.integer(name, v, MaxLimit) })
}

func idAt[Q any](field func(*Q) *uuid.UUID) parameter[Q] {
	return once(func(q *Q, problems *Problems, name, v string) {
		var ok bool
		if *field(q), ok = ParseID(v); !ok {
			problems.Add(name, "validation_is_uuid", "must be a valid UUID")
		}
	})
}

func oneOf[Q any](set func(q *Q, value string), allowed ...string) parameter[Q] {
	return once(func(q *Q, problems *Problems, name, v string) {
		if set(q, v); !slices.Contains(allowed, v) {
			problems.Add(name, codeFormat, "must be one of %s", strings.Join(allowed, ", "))
		}
	})
}

// read reads a query string; of is what its parameters belong to, for messages. Problems come in a stable order.
func (p parameters[Q]) read(q *Q, values url.Values, of string) (problems Problems) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given := values[name]
		parameter, ok := p[name]
		if dot := strings.IndexByte(name, '.'); !ok && dot > 0 {
			parameter, ok = p[name[:dot+1]]
		}
		switch {
		case !validText(&problems, name, given...):
		case !ok:
			problems.Add(name, codeParam, "is not a parameter of %s", of)
		case len(given) > 1 && !parameter.repeated:
			problems.Add(name, codeRepeated, "can be given once")
		case len(given) > maxValues:
			problems.Add(name, codeSize, "can be given at most %d times", maxValues)
		default:
			for _, v := range given {
				parameter.read(q, &problems, name, v)
			}
		}
	}
	return problems
}

// parse reads a query string over what holds without it; everything wrong with it is one [Invalid] error.
func (p parameters[Q]) parse(usual Q, values url.Values, of string) (Q, error) {
	problems := p.read(&usual, values, of)
	return usual, problems.Err()
}

// validText refuses a parameter that the database cannot hold.
func validText(problems *Problems, name string, values ...string) bool {
	for _, v := range append([]string{name}, values...) {
		if !utf8.ValidString(v) {
			problems.Add(name, codeFormat, "must be valid UTF-8")
			return false
		}
		if strings.ContainsRune(v, 0) {
			checkNUL(problems, name, v)
			return false
		}
	}
	return true
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
		later := t.Add(time.Microsecond - time.Duration(rest))
		if later.Year() > 9999 { // later than anything stored
			later = t.Truncate(time.Microsecond)
		}
		t = later
	}
	return t
}

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

// PageQuery asks for a page of a list that has no filters.
type PageQuery struct {
	Cursor string // empty for the first page
	Limit  int
}

var (
	pageParameters = parameters[PageQuery]{
		"limit": limitAt(func(q *PageQuery) *int { return &q.Limit }),
		"cursor": once(func(q *PageQuery, problems *Problems, name, v string) {
			if q.Cursor = v; v == "" {
				problems.Add(name, codeCursor, "must not be empty: leave it out for the first page")
			}
		}),
	}
	feedParameters = parameters[PageQuery]{
		"limit": pageParameters["limit"],
		"after": once(func(q *PageQuery, _ *Problems, _, v string) { q.Cursor = v }), // an empty one is the beginning
	}
)

// ParsePageQuery reads the parameters cursor and limit; its error is [Invalid] with every problem.
func ParsePageQuery(values url.Values) (PageQuery, error) {
	return pageParameters.parse(PageQuery{Limit: DefaultLimit}, values, "this list")
}

// ParseFeedQuery reads the parameters of the change feed, after and limit, like [ParsePageQuery].
func ParseFeedQuery(values url.Values) (PageQuery, error) {
	return feedParameters.parse(PageQuery{Limit: DefaultLimit}, values, "the change feed")
}
