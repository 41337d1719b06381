package console

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/user"
)

// auditView is the page with the audit log.
const auditView = "activity?view=audit"

type activityPage struct {
	page
	Query    url.Values
	Cursor   string // the feed's, for the live list
	Changes  []historyEntry
	Audit    []user.AuditEntry
	Next     string
	Problems user.Problems
	View     string // live or audit
	Actions  []user.AuditAction
	Tags     map[string]string // of the users, and the names of groups, by id
	Filtered bool
	About    uuid.UUID // the user whose changes are asked for, as far as there is one
}

// serveActivity shows the changes as they happen, or the audit log.
func (c *Console) serveActivity(w http.ResponseWriter, r *http.Request, s *session) error {
	p := activityPage{page: c.page(r, s, "activity.title", "activity"), Query: filled(r.URL.Query()), View: "live", Actions: user.AuditActions}
	needs, read := auth.UsersRead, c.readChanges
	if p.Query.Get("view") == "audit" {
		p.View, p.Title = "audit", text("audit.title")
		needs, read = auth.AuditRead, c.readAudit
	}
	if !s.caller.Can(needs) {
		return c.lacks(r, needs)
	}
	p.Filtered = len(only(p.Query, "user", "actor", "type")) > 0
	err := read(r, s, &p)
	status := http.StatusOK
	if public := user.Public(err); err != nil && public.Kind == user.Invalid {
		p.Problems, status = public.Problems, http.StatusBadRequest
	} else if err != nil {
		return err
	}
	var about subjects
	for _, entry := range p.Changes {
		about.add(entry.Type, entry.UserID)
	}
	for _, entry := range p.Audit {
		about.add("", entry.UserID)
	}
	p.Tags = c.tags(r, s, about)
	return c.render(w, r, status, "activity", p)
}

// subjects are the ids of the users and groups that a page names.
type subjects struct{ users, groups []string }

// add adds the subject of an event, or with an empty type a user.
func (a *subjects) add(of user.EventType, id uuid.UUID) {
	ids := &a.users
	if of.OfGroup() {
		ids = &a.groups
	}
	if text := idText(id); text != "" && !slices.Contains(*ids, text) {
		*ids = append(*ids, text)
	}
}

// tags finds the tags of users and the names of groups by their ids, for people. Deleted ones have none, and are
// shown by their ids.
func (c *Console) tags(r *http.Request, s *session, about subjects) map[string]string {
	if !s.caller.Can(auth.UsersRead) {
		return nil
	}
	tags := map[string]string{}
	for _, id := range about.groups {
		if g, err := c.options.Admin.Group(r.Context(), uuid.MustParse(id)); err == nil {
			tags[id] = g.DisplayName
		}
	}
	for some := range slices.Chunk(about.users, idsAtOnce) {
		query, err := user.ParseQuery(url.Values{"id": some, "limit": {strconv.Itoa(len(some))}, "count": {string(user.CountNone)}})
		if err != nil {
			return tags
		}
		found, err := c.options.Admin.List(r.Context(), query)
		if err != nil {
			return tags
		}
		for _, u := range found.Users {
			tags[u.ID.String()] = u.Tag
		}
	}
	return tags
}

// filled leaves out the parameters that a form sent empty.
func filled(values url.Values) url.Values {
	kept := url.Values{}
	for name, all := range values {
		for _, v := range all {
			if v = strings.TrimSpace(v); v != "" {
				kept.Add(name, v)
			}
		}
	}
	return kept
}

// only returns the parameters with the given names.
func only(values url.Values, names ...string) url.Values {
	kept := url.Values{}
	for _, name := range names {
		if v := values.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	return kept
}

func (c *Console) readAudit(r *http.Request, s *session, p *activityPage) error {
	query := only(p.Query, "actor", "action", "userId", "from", "to", "cursor")
	if typed := query.Get("userId"); typed != "" && s.caller.Can(auth.UsersRead) {
		id, err := c.idOf(r, typed)
		if err != nil || id == uuid.Nil {
			return err
		}
		query.Set("userId", id.String())
	}
	for _, name := range []string{"from", "to"} {
		if query.Has(name) {
			query.Set(name, asTime(query.Get(name)))
		}
	}
	asked, err := user.ParseAuditQuery(query)
	if err != nil {
		return err
	}
	found, err := c.options.Admin.AuditLog(r.Context(), asked)
	if err != nil {
		return err
	}
	if p.Audit = found.Entries; found.Next != "" {
		query.Set("cursor", found.Next)
		query.Set("view", "audit")
		p.Next = withQuery(Path+"activity", query)
	}
	return nil
}

// detail reads the detail of an entry of the audit log, without what is null.
func detail(e user.AuditEntry) map[string]any {
	var all map[string]any
	_ = json.Unmarshal(e.AppendDetail(nil), &all) // the service's own
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// readChanges reads the latest changes, if the caller may see them, and the cursor where the live
// list begins.
func (c *Console) readChanges(r *http.Request, s *session, p *activityPage) (err error) {
	if p.Cursor, err = c.options.Now(r.Context()); err != nil {
		return err
	}
	if p.About, err = c.idOf(r, p.Query.Get("user")); err != nil {
		return err
	}
	actor, kind, after := p.Query.Get("actor"), p.Query.Get("type"), p.Query.Get("cursor")
	for range 5 { // pages, of which the filters may leave nothing
		var found user.HistoryPage
		switch {
		case p.Query.Has("user"):
			found, err = c.changesOf(r, p.About, after)
		case s.caller.Can(auth.AuditRead):
			found, err = c.changesOfAll(r, actor, after)
		}
		if err != nil {
			return err
		}
		for i := range found.Entries {
			entry, err := entryOf(found.Entries[i].Event)
			if err != nil {
				return err
			}
			if (actor == "" || entry.Actor == actor) && (kind == "" || entry.Kind == kind) {
				p.Changes = append(p.Changes, entry)
			}
		}
		if after = found.Next; after == "" || len(p.Changes) >= historyShown {
			break
		}
	}
	if after != "" {
		more := only(p.Query, "actor", "user", "type")
		more.Set("cursor", after)
		p.Next = withQuery(Path+"activity", more)
	}
	return nil
}

func (c *Console) changesOfAll(r *http.Request, actor, cursor string) (user.HistoryPage, error) {
	query, err := user.ParseLogQuery(only(url.Values{"actor": {actor}, "cursor": {cursor}}, "actor", "cursor"))
	if err != nil {
		return user.HistoryPage{}, err
	}
	return c.options.Admin.Log(r.Context(), query)
}

// idOf returns the id of the user that somebody typed: an id, also of a user who is gone, a tag, or another name
// with what it is, such as email:ada@example.com. It is [uuid.Nil] where there is no such user, or nothing is typed.
func (c *Console) idOf(r *http.Request, typed string) (uuid.UUID, error) {
	if typed == "" {
		return uuid.Nil, nil
	}
	ref, ok := user.ParseRef(typed)
	if !ok {
		ref, ok = user.ParseRef("tag:" + typed)
	}
	if !ok || ref.ID != uuid.Nil {
		return ref.ID, nil
	}
	u, err := c.options.Admin.Get(r.Context(), ref)
	if user.KindOf(err) == user.NotFound {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, err
	}
	return u.ID, nil
}

// changesOf reads what happened to one user. It needs no right to see the history of all.
func (c *Console) changesOf(r *http.Request, id uuid.UUID, cursor string) (user.HistoryPage, error) {
	if id == uuid.Nil {
		return user.HistoryPage{}, nil
	}
	found, err := c.options.Admin.History(r.Context(), id, cursor, user.DefaultLimit)
	if user.KindOf(err) == user.NotFound {
		return user.HistoryPage{}, nil
	}
	return found, err
}

// serveFeed streams the change feed by the API's own route, which ends the stream when the token is
// revoked.
func (c *Console) serveFeed(w http.ResponseWriter, r *http.Request, s *session) error {
	request := ask(r, s, http.MethodGet, "/ai/admin/changes", only(r.URL.Query(), "after"), nil)
	request.Header.Set("Accept", "text/event-stream")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		request.Header.Set("Last-Event-ID", id)
	}
	c.options.Routes.ServeHTTP(w, request)
	return nil
}

type keysPage struct {
	page
	Query    url.Values
	Show     string
	Keys     []shownKey
	Total    *int64
	Next     string
	Problems user.Problems
	// Looked says that a pasted secret was looked up; Fault says why no key was found.
	Looked bool
	Fault  string
	Tags   map[string]string // of the users, by id
}

// keyViews are the lists that the page offers, as the API's parameters.
func keyViews(now time.Time) map[string]url.Values {
	at := func(days int) []string { return []string{user.FormatTime(now.AddDate(0, 0, days))} }
	return map[string]url.Values{"stale": {"lastUsedBefore": at(-90)}, "expiring": {"expiresBefore": at(30)}, "disabled": {"status": {"disabled"}}}
}

func (c *Console) serveKeys(w http.ResponseWriter, r *http.Request, s *session) error {
	p := keysPage{page: c.page(r, s, "keys.title", "keys"), Query: filled(r.URL.Query())}
	query, views := only(p.Query, "hint", "userId", "status", "expiresBefore", "lastUsedBefore", "cursor"), keyViews(time.Now())
	if show := p.Query.Get("show"); views[show] != nil {
		p.Show = show
	}
	for name, values := range views[p.Show] {
		if query.Get(name) == "" {
			query[name] = values
		}
	}
	asked, err := user.ParseKeyQuery(query)
	var found user.KeyPage
	if err == nil {
		found, err = c.options.Admin.FindKeys(r.Context(), asked)
	}
	status := http.StatusOK
	if public := user.Public(err); err != nil && public.Kind == user.Invalid {
		p.Problems, status = public.Problems, http.StatusBadRequest
	} else if err != nil {
		return err
	}
	p.Total = found.Total
	if p.Show != "" {
		p.Title = text("keys.title.of", text("keys."+p.Show))
	}
	if found.More {
		query.Set("cursor", asked.CursorAfter(&found.Keys[len(found.Keys)-1]))
		if p.Show != "" {
			query.Set("show", p.Show)
		}
		p.Next = withQuery(Path+"keys", query)
	}
	return c.renderKeys(w, r, s, status, p, found.Keys)
}

// renderKeys answers with the page and the keys that were found.
func (c *Console) renderKeys(w http.ResponseWriter, r *http.Request, s *session, status int, p keysPage, found []user.ListedKey) error {
	var about subjects
	for i := range found {
		about.add("", found[i].UserID)
	}
	p.Keys, p.Tags = shownKeys(found), c.tags(r, s, about)
	return c.render(w, r, status, "keys", p)
}

// findKey tells whose a pasted secret is.
func (c *Console) findKey(w http.ResponseWriter, r *http.Request, s *session) error {
	p := keysPage{page: c.page(r, s, "keys.found", "keys"), Query: url.Values{}, Looked: true}
	pasted, ok := access.ParseSecret(strings.TrimSpace(r.PostFormValue("secret")))
	if !ok {
		p.Fault = text("keys.malformed")
		return c.render(w, r, http.StatusBadRequest, "keys", p)
	}
	key, err := c.options.FindKey(r.Context(), pasted)
	if err != nil {
		return err
	}
	if key == nil {
		p.Fault = text("keys.nobody")
		return c.render(w, r, http.StatusOK, "keys", p)
	}
	return c.renderKeys(w, r, s, http.StatusOK, p, []user.ListedKey{*key})
}
