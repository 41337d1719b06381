package scim

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Search is the body of a POST to /.search (RFC 7644, section 3.4.3, and RFC 9865, section 2).
// What was not given is empty or nil; null is not given.
type Search struct {
	Attributes, ExcludedAttributes []string
	Filter, SortBy, SortOrder      string
	StartIndex, Count              *int64
	Cursor                         *string // an empty one asks for the first page
}

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
	for name, v := range members(value) {
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
			s.Filter, ok = unquote(v), v.Kind() == '"'
		case "sortby":
			s.SortBy, ok = unquote(v), v.Kind() == '"'
		case "sortorder":
			s.SortOrder, ok = unquote(v), v.Kind() == '"'
		case "startindex":
			s.StartIndex, ok = integer(v)
		case "count":
			s.Count, ok = integer(v)
		case "cursor":
			cursor := unquote(v)
			s.Cursor, ok = &cursor, v.Kind() == '"'
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
		all = append(all, unquote(element))
	}
	return all, true
}

func integer(v jsontext.Value) (*int64, bool) {
	n, ok := parseInteger(string(v))
	return &n, ok && v.Kind() == '0'
}
