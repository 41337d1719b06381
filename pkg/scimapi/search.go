package scimapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// The sizes of pages, and how long a cursor is good.
const (
	defaultPage    = 100
	maxPage        = 1000
	cursorLifetime = time.Hour
)

// query decodes the query string, with names in lower case. A plus is a space; a semicolon is a character like any
// other.
func (x *exchange) query() (url.Values, error) {
	values, err := url.ParseQuery(strings.ReplaceAll(x.r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, scim.Errorf(scim.InvalidValue, "the query string is not well encoded")
	}
	query := url.Values{}
	for name, each := range values {
		name = strings.ToLower(name)
		query[name] = append(query[name], each...)
	}
	return query, nil
}

// readSearch reads what a GET asks for.
func readSearch(query url.Values) (s scim.Search, err error) {
	s = scim.Search{Attributes: query["attributes"], ExcludedAttributes: query["excludedattributes"], Filter: query.Get("filter"),
		SortBy: query.Get("sortby"), SortOrder: query.Get("sortorder")}
	if query.Has("filter") && strings.TrimSpace(s.Filter) == "" {
		return s, scim.ErrEmptyFilter
	}
	if query.Has("cursor") {
		cursor := query.Get("cursor")
		s.Cursor = &cursor
	}
	for name, into := range map[string]**int64{"startindex": &s.StartIndex, "count": &s.Count} {
		text := strings.TrimSpace(query.Get(name))
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			if name == "count" && s.Cursor != nil {
				return s, errCount
			}
			return s, scim.Errorf(scim.InvalidValue, "%s must be an integer", name)
		}
		*into = &n
	}
	return s, nil
}

var (
	errCount         = scim.Errorf(scim.InvalidCount, "count must be an integer from 0 on")
	errCursor        = scim.Errorf(scim.InvalidCursor, "the cursor is not one of this list: begin again with an empty one, and the same parameters each time")
	errExpiredCursor = scim.Errorf(scim.ExpiredCursor, "the cursor has expired: begin again with an empty one")
)

// paging is which page of a list a request asks for.
type paging struct {
	start  int64
	after  *scim.Place // nil for an index
	count  int
	cursor bool
	of     string // identifies the list that a cursor is of
}

// paging reads the place and size of the page.
func (x *exchange) paging(s scim.Search) (p paging, err error) {
	p = paging{start: 1, count: defaultPage, cursor: s.Cursor != nil, of: fingerprint(x.r.URL.Path, s)}
	if s.Count != nil {
		if p.cursor && *s.Count < 0 {
			return p, errCount
		}
		p.count = int(min(max(*s.Count, 0), maxPage))
	}
	switch {
	case !p.cursor:
		if s.StartIndex != nil {
			p.start = max(1, *s.StartIndex)
		}
	case *s.Cursor == "":
		p.after = &scim.Place{}
	default:
		p.after, err = x.openCursor(*s.Cursor, p.of)
	}
	return p, err
}

func fingerprint(path string, s scim.Search) string {
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/.search")
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", path, s.Filter, s.SortBy, s.SortOrder))
	return hex.EncodeToString(sum[:12])
}

// cursor is what a client carries from page to page, sealed: it shows and grants nothing.
type cursor struct {
	Place scim.Place `json:"p"`
	Of    string     `json:"o"`
	Until int64      `json:"u"` // seconds since 1970
}

func (x *exchange) sealCursor(place *scim.Place, of string) (string, error) {
	text, err := json.Marshal(cursor{*place, of, time.Now().Add(cursorLifetime).Unix()})
	if err != nil {
		return "", err
	}
	return x.options.Admin.SealCursor(string(text))
}

func (x *exchange) openCursor(sealed, of string) (*scim.Place, error) {
	text, ok := x.options.Admin.OpenCursor(sealed)
	var c cursor
	if !ok || json.Unmarshal([]byte(text), &c) != nil || c.Of != of {
		return nil, errCursor
	}
	if time.Now().Unix() > c.Until {
		return nil, errExpiredCursor
	}
	return &c.Place, nil
}

// resources is how a type is searched and shown.
type resources struct {
	of *scim.ResourceType
	// find returns a page of resources as they are shown. Done must be called once they are written.
	find func(x *exchange, ctx context.Context, q scim.Query, p scim.Projection) (page scim.Page[scim.Object], done func(), err error)
}

var (
	userType  = resources{scim.Users, findUsers}
	groupType = resources{scim.Groups, findGroups}
)

func findUsers(x *exchange, ctx context.Context, q scim.Query, p scim.Projection) (scim.Page[scim.Object], func(), error) {
	found, err := x.options.Admin.SearchUsers(ctx, q)
	page := scim.Page[scim.Object]{First: found.First, Total: found.Total, Next: found.Next}
	for _, u := range found.Found {
		page.Found = append(page.Found, p.Apply(scim.Profile{User: u}.Resource(x.base)))
	}
	return page, func() {}, err
}

func findGroups(x *exchange, ctx context.Context, q scim.Query, p scim.Projection) (page scim.Page[scim.Object], done func(), err error) {
	found, err := x.options.Admin.SearchGroups(ctx, q)
	if err != nil {
		return page, nil, err
	}
	shown, done, err := x.withMembers(ctx, found.Found, p)
	if err != nil {
		return page, nil, err
	}
	if len(shown) < len(found.Found) { // too many members for one page: a shorter one
		done()
		q.Limit = len(shown)
		return findGroups(x, ctx, q, p)
	}
	page = scim.Page[scim.Object]{First: found.First, Total: found.Total, Next: found.Next}
	for _, g := range shown {
		page.Found = append(page.Found, p.Apply(g.Resource(x.base)))
	}
	return page, done, nil
}

// list answers a GET of the types' endpoint, and search a POST to its /.search.
func list(types ...resources) func(*exchange) error {
	return func(x *exchange) error {
		query, err := x.query()
		if err != nil {
			return err
		}
		s, err := readSearch(query)
		if err != nil {
			return err
		}
		return x.find(s, types)
	}
}

func search(types ...resources) func(*exchange) error {
	return func(x *exchange) error {
		body, done, err := x.body(scim.Users)
		if err != nil {
			return err
		}
		defer done()
		s, err := scim.ReadSearch(body)
		if err != nil {
			return err
		}
		return x.find(s, types)
	}
}

// find answers a search over types, one after another (RFC 7644, sections 3.4.2 and 3.4.3).
func (x *exchange) find(s scim.Search, types []resources) error {
	paging, err := x.paging(s)
	if err != nil {
		return err
	}
	queries, err := queriesOf(s, types)
	if err != nil {
		return err
	}
	whole := scim.Page[scim.Object]{First: paging.start}
	if paging.after != nil {
		whole.First = paging.after.Seen + 1
	}
	ended := false // before it was full: what follows is for the next page, and counted alone
	for _, q := range queries {
		if q.Limit = paging.count - len(whole.Found); ended {
			q.Limit = 0
		}
		q.Start = max(1, whole.First-whole.Total)
		if len(types) == 1 {
			q.After = paging.after
		}
		page, done, err := q.find(x, x.r.Context(), q.Query, q.projection)
		if err != nil {
			return err
		}
		defer done()
		whole.Found, whole.Next = append(whole.Found, page.Found...), page.Next
		ended = ended || page.Next != nil
		whole.Total += page.Total
	}
	if paging.cursor && paging.count == 0 && whole.Total > paging.after.Seen { // the place is where it was
		whole.Next = paging.after
	}
	return x.answerList(whole, paging, len(types) > 1)
}

// typeQuery is a search of one type.
type typeQuery struct {
	resources
	scim.Query
	projection scim.Projection
}

// queriesOf reads the filter, order and projection for each type.
func queriesOf(s scim.Search, types []resources) (queries []typeQuery, err error) {
	all := make([]*scim.ResourceType, len(types))
	for i, t := range types {
		all[i] = t.of
	}
	for _, t := range types {
		q := typeQuery{resources: t}
		if q.projection, err = t.of.ParseProjection(s.Attributes, s.ExcludedAttributes); err != nil {
			return nil, err
		}
		if s.Filter != "" {
			if q.Filter, err = t.of.ParseFilter(s.Filter, all...); err != nil {
				return nil, err
			}
		}
		if path, ok := t.of.ParseAttribute(s.SortBy); ok && s.SortBy != "" {
			q.SortBy = path.String()
		}
		q.Descending = strings.EqualFold(s.SortOrder, "descending")
		queries = append(queries, q)
	}
	return queries, nil
}

// answerList writes a ListResponse, with a place for the next page in the manner that the client asked for.
func (x *exchange) answerList(page scim.Page[scim.Object], paging paging, mixed bool) error {
	answer := scim.Object{"schemas": scim.List{scim.ListResponseURN}, "totalResults": page.Total, "itemsPerPage": int64(len(page.Found))}
	last := page.First - 1 + int64(len(page.Found))
	next := page.Next
	if mixed { // of several types, the place is an index
		next = nil
		if len(page.Found) > 0 && last < page.Total {
			next = &scim.Place{Seen: last}
		}
	}
	switch {
	case !paging.cursor:
		answer["startIndex"] = page.First
	case next != nil:
		sealed, err := x.sealCursor(next, paging.of)
		if err != nil {
			return err
		}
		answer["nextCursor"] = sealed
	}
	found := make(scim.List, len(page.Found))
	for i, each := range page.Found {
		found[i] = each
	}
	answer["Resources"] = found
	write(x.w, http.StatusOK, answer.Append(nil))
	return nil
}

// notFound is the answer for a name that discovery does not know.
func (x *exchange) notFound(kind string) error {
	return user.Errorf(user.NotFound, "no such %s: the list is at %s/%ss", kind, x.base, kind)
}
