package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/user"
)

// trail is the one parameter of the list that the API does not have: the cursors of the pages before.
const trail = "trail"

// maxTrail bounds how many pages one can go back; beyond it the way back leads to the first page.
const maxTrail = 8

type usersPage struct {
	page
	Query    url.Values // as the API's parameters
	Problems user.Problems
	Chips    []chip
	Columns  []column
	Found    user.Page
	Total    int64
	// Hidden are the parameters that the search keeps.
	Hidden                             []parameter
	Next, Previous, First, CSV, NDJSON string
	Filters                            []filterChoice
}

type parameter struct{ Name, Value string }

// chip is a filter in force; Without is the list without it.
type chip struct{ Label, Without string }

type column struct {
	Label, Sort string // of the link that sorts by it; empty where it cannot
	State       string // aria-sort, empty when not sorted by it
}

// filterChoice is a filter that the form offers.
type filterChoice struct {
	Name, Label, Type string
	Options           []parameter
	Hint              string
}

func (c *Console) serveUsers(w http.ResponseWriter, r *http.Request, s *session) error {
	values := listValues(r.URL.Query())
	back := slices.DeleteFunc(strings.Split(r.URL.Query().Get(trail), "."), func(s string) bool { return s == "" })
	p := usersPage{page: c.page(r, s, "users.title", "users"), Query: values, Filters: filterChoices()}
	query, err := user.ParseQuery(values)
	status := http.StatusOK
	if err == nil {
		p.Found, err = c.options.Admin.List(r.Context(), query)
	}
	if public := c.options.Public(err); err != nil && public.Kind == user.Invalid {
		p.Problems, status = public.Problems, http.StatusBadRequest
	} else if err != nil {
		return err
	}
	if p.Found.Total != nil {
		p.Total = *p.Found.Total
	}
	p.Chips, p.Columns = chips(values), columns(values, query)
	p.links(values, back, query)
	if search := values.Get("q"); search != "" {
		p.Title = text("users.searched", search)
	}
	return c.render(w, r, status, "users", p)
}

// listValues returns the parameters that the API has. Forms also send empty ones, which it drops.
func listValues(values url.Values) url.Values {
	kept := url.Values{}
	name, value := strings.TrimSpace(values.Get("filter")), strings.TrimSpace(values.Get("value"))
	for key, all := range values {
		for _, v := range all {
			if strings.TrimSpace(v) != "" && !slices.Contains([]string{trail, "filter", "value", "done"}, key) {
				kept.Add(key, v)
			}
		}
	}
	if name != "" && value != "" { // one that the form adds
		if path, metadata := strings.CutPrefix(name, "metadata"); metadata && path == "" {
			member, is, _ := strings.Cut(value, "=")
			name, value = "metadata."+strings.TrimSpace(member), strings.TrimSpace(is)
		}
		kept.Add(name, value)
	}
	return kept
}

// placing are the parameters that say which part of the list is shown, and how.
var placing = []string{"cursor", "page", "limit", "sort", "count"}

// filterOf returns the parameters that say which users are meant.
func filterOf(values url.Values) url.Values {
	kept := url.Values{}
	for name, all := range values {
		if !slices.Contains(placing, name) {
			kept[name] = all
		}
	}
	return kept
}

// changed returns a copy with one parameter replaced, at the list's beginning; an empty value
// removes it.
func changed(values url.Values, name, value string) url.Values {
	kept := url.Values{}
	for key, all := range values {
		if key != name && key != "cursor" && key != "page" {
			kept[key] = all
		}
	}
	if value != "" {
		kept.Set(name, value)
	}
	return kept
}

func chips(values url.Values) (all []chip) {
	names := make([]string, 0, len(values))
	for name := range filterOf(values) {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for i, value := range values[name] {
			left := changed(values, name, "")
			if rest := slices.Delete(slices.Clone(values[name]), i, i+1); len(rest) > 0 {
				left[name] = rest
			}
			label := name
			if words, ok := texts()["filter."+name]; ok {
				label = words
			}
			all = append(all, chip{label + ": " + value, withQuery(Path+"users", left)})
		}
	}
	return all
}

func columns(values url.Values, query user.Query) []column {
	all := []column{{text("users.name"), "name", ""}, {text("users.email"), "email", ""}, {text("users.role"), "", ""}, {text("users.status"), "", ""},
		{text("users.models"), "", ""}, {text("users.limits"), "", ""}, {text("users.keys"), "", ""}, {text("users.changed"), "", ""}, {text("users.created"), "createdAt", ""}}
	for i := range all {
		name := all[i].Sort
		if name == "" {
			continue
		}
		next := name
		if len(query.Sort) > 0 && query.Sort[0].Field == name {
			all[i].State = "ascending"
			if query.Sort[0].Descending {
				all[i].State = "descending"
			} else {
				next = "-" + name
			}
		}
		all[i].Sort = withQuery(Path+"users", changed(values, "sort", next))
	}
	return all
}

func (p *usersPage) links(values url.Values, back []string, query user.Query) {
	cursor := values.Get("cursor")
	at := func(cursor string, back []string) string {
		next := changed(values, "cursor", cursor)
		if len(back) > maxTrail {
			back = back[len(back)-maxTrail:]
		}
		if len(back) > 0 {
			next.Set(trail, strings.Join(back, "."))
		}
		return withQuery(Path+"users", next)
	}
	if p.Found.More {
		here := cursor
		if here == "" {
			here = "-" // the first page
		}
		p.Next = at(query.CursorAfter(p.Found.Users[len(p.Found.Users)-1]), append(slices.Clone(back), here))
	}
	if cursor != "" || query.Page > 1 {
		p.First = at("", nil)
		p.Previous = p.First
		if last := len(back) - 1; last >= 0 && back[last] != "-" {
			p.Previous = at(back[last], back[:last])
		}
	}
	export := filterOf(values)
	if sort := values.Get("sort"); sort != "" {
		export.Set("sort", sort)
	}
	export.Set("format", "csv")
	p.CSV = withQuery(Path+"users/export", export)
	export.Set("format", "ndjson")
	p.NDJSON = withQuery(Path+"users/export", export)
	for name, all := range changed(values, "q", "") {
		for _, value := range all {
			p.Hidden = append(p.Hidden, parameter{name, value})
		}
	}
	slices.SortFunc(p.Hidden, func(a, b parameter) int { return strings.Compare(a.Name+a.Value, b.Name+b.Value) })
}

// filterChoices are the filters of the listing that the form offers; search has a field of its own.
var filterChoices = sync.OnceValue(func() (all []filterChoice) {
	for _, name := range []string{"role", "status", "model", "provider", "without", "metadata", "group", "tag", "email", "userName", "externalId", "id",
		"createdFrom", "createdTo", "expiresBefore"} {
		all = append(all, filterChoice{Name: name, Label: text("filter." + name), Hint: texts()["filter."+name+".hint"]})
	}
	return all
})

// serveExport sends the list as a file, by the API's own export.
func (c *Console) serveExport(w http.ResponseWriter, r *http.Request, s *session) error {
	name := "users.csv"
	if r.URL.Query().Get("format") == "ndjson" {
		name = "users.ndjson"
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	c.options.Routes.ServeHTTP(onlyGood{w}, ask(r, s, http.MethodGet, "/ai/admin/users", listValues(r.URL.Query()), nil))
	return nil
}

// onlyGood keeps a browser from saving a problem as the file that was asked for.
type onlyGood struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (o onlyGood) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		o.Header().Del("Content-Disposition")
	}
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (o onlyGood) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// roles and statuses are the choices of a form.
var (
	roles    = []string{string(user.Member), string(user.Admin), string(user.Viewer), string(user.Service)}
	statuses = []string{string(user.Active), string(user.Suspended)}
)

// mayChange reports whether the session may change users.
func mayChange(s *session) bool { return s.caller.Can(auth.UsersWrite) }
