package console

import (
	"bytes"
	"context"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"aiadmin/pkg/user"
)

// before is the one parameter of the list that the API does not have: the cursor that a page ends before.
const before = "before"

type usersPage struct {
	page
	Query    url.Values // as the API's parameters
	Problems user.Problems
	// Filter and Value are of the filter that was refused.
	Filter, Value string
	Chips         []chip
	Columns       []column
	Found         user.Page
	Total         int64
	// Hidden are the parameters that the search keeps.
	Hidden                             []parameter
	Next, Previous, First, CSV, NDJSON string
}

type parameter struct{ Name, Value string }

// chip is a filter in force; Without is the list without it.
type chip struct{ Label, Without string }

type column struct {
	Label, Sort string // of the link that sorts by it; empty where it cannot
	State       string // aria-sort, empty when not sorted by it
}

func (c *Console) serveUsers(w http.ResponseWriter, r *http.Request, s *session) error {
	asked := r.URL.Query()
	values, back := listValues(asked), asked.Get(before)
	if asked.Get("filter") == "metadata" && !strings.Contains(asked.Get("value"), "=") {
		return c.refuseFilter(w, r, s, asked)
	}
	if isForm(asked) { // the address has the API's parameters alone
		return redirect(w, r, withQuery(Path+"users", values))
	}
	p := usersPage{page: c.page(r, s, "users.title", "users"), Query: values}
	query, err := user.ParseQuery(values)
	status := http.StatusOK
	if err == nil {
		p.Found, err = c.listUsers(r.Context(), values, query, back)
	}
	if public := user.Public(err); err != nil && public.Kind == user.Invalid {
		p.Problems, status = public.Problems, http.StatusBadRequest
	} else if err != nil {
		return err
	} else if back != "" && !p.Found.More || len(p.Found.Users) == 0 && (query.After != nil || query.Page > 1) {
		return redirect(w, r, withQuery(Path+"users", changed(values, "cursor", ""))) // it is the first page, or past the last
	}
	if p.Found.Total != nil {
		p.Total = *p.Found.Total
	}
	p.Chips, p.Columns = chips(values), columns(values, query)
	p.links(values, query, back)
	if search := values.Get("q"); search != "" {
		p.Title = text("users.searched", search)
	}
	return c.render(w, r, status, "users", p)
}

// refuseFilter shows the filters in force, and beside them the one for metadata that lacks its value.
func (c *Console) refuseFilter(w http.ResponseWriter, r *http.Request, s *session, asked url.Values) error {
	p := usersPage{page: c.page(r, s, "users.title", "users"), Filter: "metadata", Value: asked.Get("value"),
		Problems: user.Problems{{Field: "metadata", Message: text("filter.metadata.wrong")}}}
	asked.Del("filter")
	p.Query = listValues(asked)
	p.Chips = chips(p.Query)
	p.links(p.Query, user.Query{}, "")
	return c.render(w, r, http.StatusBadRequest, "users", p)
}

// listUsers lists a page: the one before a cursor if there is one.
func (c *Console) listUsers(ctx context.Context, values url.Values, query user.Query, back string) (user.Page, error) {
	if back == "" {
		return c.options.Admin.List(ctx, query)
	}
	values = changed(values, "sort", sortText(turned(query.Sort)))
	values.Set("cursor", back)
	query, err := user.ParseQuery(values)
	if err != nil {
		return user.Page{}, err
	}
	limit := query.Limit
	query.Limit++ // one more shows whether there is a page before
	found, err := c.options.Admin.List(ctx, query)
	if err == nil && query.Sort[0].Field == "email" {
		err = c.addressesFirst(ctx, query, &found)
	}
	found.More = len(found.Users) > limit
	found.Users = found.Users[:min(limit, len(found.Users))]
	slices.Reverse(found.Users)
	return found, err
}

// addressesFirst mends a page of the order by e-mail address turned round. Users without an address come last
// in both directions: none of them is before an address, and all addresses are before them.
func (c *Console) addressesFirst(ctx context.Context, query user.Query, found *user.Page) error {
	if query.After.Keys[0] != nil {
		found.Users = withAddresses(found.Users)
		return nil
	}
	query.Limit -= len(found.Users)
	if query.Limit == 0 {
		return nil
	}
	query.After, query.Count = nil, user.CountNone
	others, err := c.options.Admin.List(ctx, query)
	found.Users = append(found.Users, withAddresses(others.Users)...)
	return err
}

// withAddresses returns the users up to the first without an e-mail address.
func withAddresses(users []*user.User) []*user.User {
	if n := slices.IndexFunc(users, func(u *user.User) bool { return u.Email == nil }); n >= 0 {
		return users[:n]
	}
	return users
}

// turned is an order from its end to its beginning.
func turned(sort []user.SortKey) []user.SortKey {
	sort = slices.Clone(sort)
	for i := range sort {
		sort[i].Descending = !sort[i].Descending
	}
	return sort
}

// sortText is an order as the API's parameter has it.
func sortText(sort []user.SortKey) string {
	names := make([]string, len(sort))
	for i, key := range sort {
		if names[i] = key.Field; key.Descending {
			names[i] = "-" + key.Field
		}
	}
	return strings.Join(names, ",")
}

// own are the parameters that the API does not have: of the form for filters, and of the pages.
var own = []string{before, "filter", "value", "done"}

// fields are the parameters that the page's forms send empty when they are not filled in. Any other empty one is a
// filter: that of metadata.team= finds those whose team is empty.
var fields = []string{"q", "role", "status"}

// isForm reports whether a form was sent: it has fields that are not filled in, or a filter to add.
func isForm(values url.Values) bool {
	return values.Has("filter") || slices.ContainsFunc(fields, func(name string) bool {
		return slices.ContainsFunc(values[name], func(v string) bool { return strings.TrimSpace(v) == "" })
	})
}

// listValues are the parameters that the API has, each value once.
func listValues(values url.Values) url.Values {
	kept := url.Values{}
	add := func(name, value string) {
		if !slices.Contains(kept[name], value) && (strings.TrimSpace(value) != "" || !slices.Contains(fields, name)) {
			kept.Add(name, value)
		}
	}
	for name, all := range values {
		for _, v := range all {
			if !slices.Contains(own, name) {
				add(name, v)
			}
		}
	}
	name, value := strings.TrimSpace(values.Get("filter")), strings.TrimSpace(values.Get("value"))
	switch name {
	case "":
		return kept
	case "metadata":
		member, is, _ := strings.Cut(value, "=")
		name, value = "metadata."+strings.TrimSpace(member), strings.TrimSpace(is)
	case "createdFrom", "createdTo", "expiresBefore":
		value = asTime(value)
	}
	if value != "" || strings.HasPrefix(name, "metadata.") {
		add(name, value)
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

// exportOf returns the parameters of an export of the whole list, in its order.
func exportOf(values url.Values) url.Values {
	export := filterOf(values)
	if sort := values.Get("sort"); sort != "" {
		export.Set("sort", sort)
	}
	return export
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

// maxChips bounds the chips of a page: each has a link that repeats the query.
const maxChips = 50

func chips(values url.Values) (all []chip) {
	for _, name := range slices.Sorted(maps.Keys(filterOf(values))) {
		for i, value := range values[name] {
			if len(all) == maxChips {
				return append(all, chip{text("users.chips.more"), Path + "users"})
			}
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
	all := []column{{text("users.name"), "name", ""}, {text("users.tag"), "tag", ""}, {text("users.email"), "email", ""}, {text("users.role"), "", ""}, {text("users.status"), "", ""},
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

func (p *usersPage) links(values url.Values, query user.Query, back string) {
	if n := len(p.Found.Users); n > 0 && (p.Found.More || back != "") {
		p.Next = withQuery(Path+"users", changed(values, "cursor", query.CursorAfter(p.Found.Users[n-1])))
	}
	if query.After != nil || query.Page > 1 || back != "" {
		p.First = withQuery(Path+"users", changed(values, "cursor", ""))
		p.Previous = p.First
		if len(p.Found.Users) > 0 && turnable(query.Sort) {
			round := query
			round.Sort = turned(query.Sort)
			p.Previous = withQuery(Path+"users", changed(values, before, round.CursorAfter(p.Found.Users[0])))
		}
	}
	export := exportOf(values)
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

// turnable says that an order has the same users from either end: those without an e-mail address come last in
// both directions, which can be mended where the address is what is sorted by first.
func turnable(sort []user.SortKey) bool {
	return !slices.ContainsFunc(sort[1:], func(k user.SortKey) bool { return k.Field == "email" })
}

// choices are the options of the form for filters, by field. They are the same on every page. Search has a field of
// its own.
var choices = sync.OnceValue(func() map[string]template.HTML {
	all := map[string]template.HTML{}
	add := func(field, value, label string) {
		all[field] += template.HTML(`<option value="` + value + `">` + template.HTMLEscapeString(label) + `</option>`) //nolint:gosec // of our own
	}
	for _, role := range roles {
		add("role", role, text("role."+role))
	}
	for _, status := range statuses {
		add("status", status, text("status."+status))
	}
	for _, name := range []string{"model", "provider", "without", "metadata", "group", "tag", "email", "userName", "externalId", "id",
		"createdFrom", "createdTo", "expiresBefore"} {
		label := text("filter." + name)
		if hint, ok := texts()["filter."+name+".hint"]; ok {
			label += " (" + hint + ")"
		}
		add("filter", name, label)
	}
	return all
})

// choicesOf returns the options of a field, of which one may be chosen.
func choicesOf(field, chosen string) template.HTML {
	value := `value="` + chosen + `"`
	return template.HTML(strings.Replace(string(choices()[field]), value, value+" selected", 1)) //nolint:gosec // of our own
}

// serveExport sends the list as a file, by the API's own export.
func (c *Console) serveExport(w http.ResponseWriter, r *http.Request, s *session) error {
	name := "users.csv"
	query := listValues(r.URL.Query())
	switch query.Get("format") {
	case "ndjson":
		name = "users.ndjson"
	case "":
		query.Set("format", "csv")
	}
	to := &download{ResponseWriter: w, name: name}
	c.options.Routes.ServeHTTP(to, ask(r, s, http.MethodGet, "/ai/admin/users", query, nil))
	return to.end()
}

// download passes the API's file on. A problem is kept, so that nobody saves it as the file.
type download struct {
	http.ResponseWriter
	name     string
	begun    bool // some of the file may be on its way
	headless bool // the next line is a header that the file has already
	failed   bool
	problem  bytes.Buffer
}

// WriteHeader implements [http.ResponseWriter].
func (d *download) WriteHeader(status int) {
	if d.failed = status >= http.StatusBadRequest; d.failed || d.begun {
		return
	}
	d.begun = true
	d.Header().Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	d.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (d *download) Write(b []byte) (int, error) {
	if d.failed {
		return d.problem.Write(b)
	}
	d.WriteHeader(http.StatusOK)
	lines := b
	if d.headless {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return len(b), nil
		}
		lines, d.headless = b[end+1:], false
	}
	if _, err := d.ResponseWriter.Write(lines); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Unwrap lets [http.ResponseController] reach the connection.
func (d *download) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// end returns the problem as an error. A file that has begun is torn, so that nobody takes it for the whole.
func (d *download) end() error {
	if d.failed && d.begun {
		panic(http.ErrAbortHandler)
	}
	if d.failed {
		return problemOf(d.problem.Bytes())
	}
	return nil
}

// roles and statuses are the choices of a form.
var (
	roles    = []string{string(user.Member), string(user.Admin), string(user.Viewer), string(user.Service)}
	statuses = []string{string(user.Active), string(user.Suspended)}
)
