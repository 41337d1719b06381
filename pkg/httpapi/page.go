package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"aiadmin/pkg/user"
)

// queryValues decodes the query string. A semicolon is a character like any other: Go's
// parser would drop the pair it stands in.
func queryValues(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, user.Problems{{Field: "query", Code: "validation_format", Message: "the query string is not well encoded"}}.Err()
	}
	return values, nil
}

// pageQuery reads the parameters of a list that has no filters.
func pageQuery(r *http.Request) (url.Values, user.PageQuery, error) {
	values, err := queryValues(r)
	if err != nil {
		return nil, user.PageQuery{}, err
	}
	query, err := user.ParsePageQuery(values)
	return values, query, err
}

// listed describes the page of a list that an answer has.
type listed struct {
	name  string // of the member that has the list
	limit int
	next  string // the next page's cursor, empty on the last
	total *int64 // nil where nothing is counted
	exact bool
}

// writePage answers a page of a list.
func writePage[E any](w http.ResponseWriter, r *http.Request, values url.Values, page listed, entries []E, encode func([]byte, *E) []byte) error {
	linkNext(w, r, values, page.next)
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	*buffer = appendPage(*buffer, page, entries, encode)
	return writeJSON(w, r, http.StatusOK, *buffer)
}

// appendPage appends a page of a list as the object that answers it.
func appendPage[E any](dst []byte, page listed, entries []E, encode func([]byte, *E) []byte) []byte {
	dst = append(append(append(dst, `{"`...), page.name...), `":[`...)
	dst = append(appendList(dst, entries, encode), `,"page":{"limit":`...)
	dst = strconv.AppendInt(dst, int64(page.limit), 10)
	dst = append(dst, `,"next":`...)
	if page.next == "" {
		dst = append(dst, "null"...)
	} else {
		dst = append(append(append(dst, '"'), page.next...), '"') // base64url needs no escape
	}
	dst = append(dst, `,"total":`...)
	if page.total == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, *page.total, 10)
	}
	dst = append(dst, `,"totalIsExact":`...)
	return append(strconv.AppendBool(dst, page.exact), "}}"...)
}

// appendList appends entries and the closing bracket of a list.
func appendList[E any](dst []byte, entries []E, encode func([]byte, *E) []byte) []byte {
	for i := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = encode(dst, &entries[i])
	}
	return append(dst, ']')
}

// linkNext names the next page, if there is one (RFC 8288). It keeps every parameter but the place.
func linkNext(w http.ResponseWriter, r *http.Request, values url.Values, cursor string) {
	if cursor == "" {
		return
	}
	values.Del("page")
	values.Set("cursor", cursor)
	w.Header().Set("Link", "<"+r.URL.EscapedPath()+"?"+values.Encode()+`>; rel="next"`)
}
