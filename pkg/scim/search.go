package scim

import (
	"strings"

	"aiadmin/pkg/user"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Query asks for one page of the resources of a type that a filter finds (RFC 7644, section 3.4.2).
type Query struct {
	Filter     Filter // nil finds all
	SortBy     string // see [AttributePath.String]; the order of creation for any that is not sorted by
	Descending bool
	Start      int64  // of the first result wanted, from 1; ignored with After
	After      *Place // nil begins at Start
	Limit      int    // 0 counts alone
}

// Place is the place after one result. Its zero value is before the first.
type Place struct {
	Key  *string   `json:"k"` // the value sorted by
	ID   uuid.UUID `json:"i"`
	Seen int64     `json:"s"` // results up to the place
}

// Page is what a [Query] finds.
type Page[T any] struct {
	Found []T
	First int64 // the index of the first one, from 1
	Total int64 // of the whole filter; of a large one, as it was a moment ago
	Next  *Place
}

// Search is the body of a POST to /.search (RFC 7644, section 3.4.3, and RFC 9865, section 2).
// What was not given is empty or nil; null is not given.
type Search struct {
	Attributes, ExcludedAttributes []string
	Filter, SortBy, SortOrder      string
	StartIndex, Count              *int64
	Cursor                         *string // an empty one asks for the first page
}

// ErrEmptyFilter refuses a filter that is given and says nothing: a client that lost its value must not
// get every user.
var ErrEmptyFilter = Errorf(InvalidFilter, "filter is empty: leave it out to list all")

// ReadSearch reads the body of a search of at most 1 MiB. Unknown members are ignored; a member
// of another type is [InvalidValue].
func ReadSearch(body []byte) (Search, error) {
	var s Search
	value, err := Users.parse(body)
	if err != nil {
		return s, err
	}
	if !lists(member(value, "schemas"), SearchRequestURN) {
		return s, Errorf(InvalidSyntax, "schemas must be [%q]", SearchRequestURN)
	}
	for name, v := range user.Members(value) {
		if v.Kind() == 'n' {
			continue
		}
		ok := true
		switch strings.ToLower(name) {
		case "attributes":
			s.Attributes, ok = texts(v)
		case "excludedattributes":
			s.ExcludedAttributes, ok = texts(v)
		case "filter":
			s.Filter, ok = user.Unquote(v), v.Kind() == '"'
		case "sortby":
			s.SortBy, ok = user.Unquote(v), v.Kind() == '"'
		case "sortorder":
			s.SortOrder, ok = user.Unquote(v), v.Kind() == '"'
		case "startindex":
			s.StartIndex, ok = integer(v)
		case "count":
			s.Count, ok = integer(v)
		case "cursor":
			cursor := user.Unquote(v)
			s.Cursor, ok = &cursor, v.Kind() == '"'
		}
		if ok && v.Kind() == '"' && strings.EqualFold(name, "filter") && strings.TrimSpace(s.Filter) == "" {
			return s, ErrEmptyFilter
		}
		if !ok {
			return s, Errorf(typeOfPaging(value, name), "%s has a value of the wrong type", quote(name))
		}
	}
	return s, nil
}

// typeOfPaging returns the type of an error in a member: RFC 9865, section 2.1, has its own where the
// search is by cursor.
func typeOfPaging(search jsontext.Value, name string) Type {
	if cursor := member(search, "cursor"); cursor != nil && cursor.Kind() != 'n' {
		switch strings.ToLower(name) {
		case "count":
			return InvalidCount
		case "cursor":
			return InvalidCursor
		}
	}
	return InvalidValue
}

func texts(v jsontext.Value) ([]string, bool) {
	var all []string
	for element := range elements(v) {
		if element.Kind() != '"' {
			return nil, false
		}
		all = append(all, user.Unquote(element))
	}
	return all, true
}

func integer(v jsontext.Value) (*int64, bool) {
	n, ok := parseInteger(string(v))
	return &n, ok && v.Kind() == '0'
}
