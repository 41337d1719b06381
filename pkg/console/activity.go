package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"aiadmin/pkg/access"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/user"
)

type activityPage struct {
	page
	Query    url.Values
	Cursor   string // the feed's, for the live list
	Changes  []historyItem
	Audit    []auditItem
	Next     string
	Problems user.Problems
	Fault    *user.Error
	View     string // live or audit
	Actions  []string
}

// historyItem is a change of any user, as the API's history across users has it.
type historyItem struct {
	UserID  string        `json:"userId"`
	Type    string        `json:"type"`
	At      time.Time     `json:"at"`
	Actor   string        `json:"actor"`
	Changed []fieldChange `json:"changed"`
}

// Kind is created, updated or deleted.
func (h historyItem) Kind() string { return h.Type[strings.LastIndexByte(h.Type, '.')+1:] }

// auditItem is an entry of the audit log.
type auditItem struct {
	At        time.Time      `json:"at"`
	Actor     string         `json:"actor"`
	Action    string         `json:"action"`
	UserID    *string        `json:"userId"`
	Provider  string         `json:"provider"`
	KeyID     string         `json:"keyId"`
	RequestID string         `json:"requestId"`
	SourceIP  string         `json:"sourceIP"`
	Outcome   string         `json:"outcome"`
	Detail    map[string]any `json:"detail"`
}

// next is the part of an API's page that says where to go on.
type next struct {
	Next *string `json:"next"`
}

var auditActions = []string{"credential.revealed", "key.created", "key.rotated", "key.revoked", "key.disabled", "users.exported", "users.imported",
	"token.refused", "scope.denied", "vault.rotated", "events.resent", "console.signedin",
	"scim.grant", "scim.revoke", "scim.suspend", "scim.delete"}

// serveActivity shows the changes as they happen, or the audit log.
func (c *Console) serveActivity(w http.ResponseWriter, r *http.Request, s *session) error {
	p := activityPage{page: c.page(r, s, "activity.title", "activity"), Query: filled(r.URL.Query()), View: "live", Actions: auditActions}
	if p.Query.Get("view") == "audit" {
		p.View, p.Title = "audit", text("audit.title")
	}
	var err error
	switch {
	case p.View == "audit" && !s.caller.Can(auth.AuditRead):
		return user.Errorf(user.Forbidden, "this needs the scope %s, which your token does not have", auth.AuditRead)
	case p.View == "audit":
		err = c.readAudit(r, s, &p)
	default:
		err = c.readChanges(r, s, &p)
	}
	status := http.StatusOK
	if public := c.options.Public(err); err != nil && public.Kind == user.Invalid {
		p.Problems, status = public.Problems, http.StatusBadRequest
	} else if err != nil {
		return err
	}
	return c.render(w, r, status, "activity", p)
}

// filled returns the parameters without those that a form sent empty.
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
	var found struct {
		Audit []auditItem `json:"audit"`
		Page  next        `json:"page"`
	}
	query := only(p.Query, "actor", "action", "userId", "from", "to", "cursor")
	if err := c.call(r, s, http.MethodGet, "/ai/admin/audit", query, nil, &found); err != nil {
		return err
	}
	p.Audit = found.Audit
	if found.Page.Next != nil {
		query.Set("cursor", *found.Page.Next)
		query.Set("view", "audit")
		p.Next = withQuery(Path+"activity", query)
	}
	return nil
}

// readChanges reads the latest changes, if the caller may see them, and the cursor where the live
// list begins.
func (c *Console) readChanges(r *http.Request, s *session, p *activityPage) (err error) {
	if p.Cursor, err = c.options.Now(r.Context()); err != nil {
		return err
	}
	if !s.caller.Can(auth.AuditRead) {
		return nil
	}
	var found struct {
		History []historyItem `json:"history"`
		Page    next          `json:"page"`
	}
	query := only(p.Query, "actor", "field", "from", "to", "cursor")
	if err := c.call(r, s, http.MethodGet, "/ai/admin/history", query, nil, &found); err != nil {
		return err
	}
	for _, item := range found.History {
		if of := p.Query.Get("user"); of != "" && item.UserID != of {
			continue
		}
		if kind := p.Query.Get("type"); kind != "" && item.Kind() != kind {
			continue
		}
		p.Changes = append(p.Changes, item)
	}
	if found.Page.Next != nil {
		more := only(p.Query, "actor", "user", "type", "field", "from", "to")
		more.Set("cursor", *found.Page.Next)
		p.Next = withQuery(Path+"activity", more)
	}
	return nil
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

// listedKey is a key as the API lists it across users.
type listedKey struct {
	ID         string     `json:"id"`
	UserID     string     `json:"userId"`
	Name       string     `json:"name"`
	Hint       string     `json:"hint"`
	Status     string     `json:"status"`
	Models     []string   `json:"models"`
	CreatedAt  time.Time  `json:"createdAt"`
	CreatedBy  string     `json:"createdBy"`
	ExpiresAt  *time.Time `json:"expiresAt"`
	LastUsedAt *time.Time `json:"lastUsedAt"`

	Expired bool `json:"-"`
}

type keysPage struct {
	page
	Query    url.Values
	Show     string
	Keys     []listedKey
	Total    *int64
	Next     string
	Problems user.Problems
	// Looked says that a pasted secret was looked up; Fault says why no key was found.
	Looked bool
	Fault  string
}

// keyViews returns the API's parameters for a list that the page offers.
func keyViews(show string, now time.Time) url.Values {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch show {
	case "stale":
		return url.Values{"lastUsedBefore": {at(now.AddDate(0, 0, -90))}}
	case "expiring":
		return url.Values{"expiresBefore": {at(now.AddDate(0, 0, 30))}}
	case "disabled":
		return url.Values{"status": {"disabled"}}
	}
	return url.Values{}
}

func (c *Console) serveKeys(w http.ResponseWriter, r *http.Request, s *session) error {
	p := keysPage{page: c.page(r, s, "keys.title", "keys"), Query: filled(r.URL.Query())}
	p.Show = p.Query.Get("show")
	query := only(p.Query, "hint", "userId", "status", "expiresBefore", "lastUsedBefore", "cursor")
	for name, values := range keyViews(p.Show, c.now()) {
		if query.Get(name) == "" {
			query[name] = values
		}
	}
	return c.showKeys(w, r, s, p, query)
}

func (c *Console) showKeys(w http.ResponseWriter, r *http.Request, s *session, p keysPage, query url.Values) error {
	var found struct {
		Keys []listedKey `json:"keys"`
		Page struct {
			next
			Total *int64 `json:"total"`
		} `json:"page"`
	}
	status := http.StatusOK
	err := c.call(r, s, http.MethodGet, "/ai/admin/keys", query, nil, &found)
	if public := c.options.Public(err); err != nil && public.Kind == user.Invalid {
		p.Problems, status = public.Problems, http.StatusBadRequest
	} else if err != nil {
		return err
	}
	for i := range found.Keys {
		end := found.Keys[i].ExpiresAt
		found.Keys[i].Expired = end != nil && !c.now().Before(*end)
	}
	p.Keys, p.Total = found.Keys, found.Page.Total
	if found.Page.Next != nil {
		query.Set("cursor", *found.Page.Next)
		if p.Show != "" {
			query.Set("show", p.Show)
		}
		p.Next = withQuery(Path+"keys", query)
	}
	return c.render(w, r, status, "keys", p)
}

// findKey tells whose a pasted secret is.
func (c *Console) findKey(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
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
	p.Keys = []listedKey{{ID: key.ID.String(), UserID: key.UserID.String(), Name: key.Name, Hint: key.Hint, Status: string(key.Status), Models: key.Models,
		CreatedAt: key.CreatedAt, CreatedBy: key.CreatedBy, ExpiresAt: key.ExpiresAt, LastUsedAt: key.LastUsedAt, Expired: key.Expired(c.now())}}
	return c.render(w, r, http.StatusOK, "keys", p)
}
