package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

type userPage struct {
	page
	User     *user.User
	Form     form
	Was      string // the form as it was shown first, as JSON
	Version  int64
	Problems user.Problems
	// Conflict is set where somebody else changed the user meanwhile.
	Conflict []difference
	Models   modelsView
	Keys     []shownKey
	Access   *verdict
	Asked    string
	History  history
	Fault    *user.Error
	Roles    []string
	Statuses []string
	New      bool
	Typed    string
	Provider string  // typed beside a secret that was refused
	NewKey   keyForm // typed
	Once     string  // makes a form's key once, however often it is sent
}

// keyForm is what was typed to issue a key.
type keyForm struct{ Name, ExpiresAt, Models string }

// Changed reports whether the form holds changes that are not saved.
func (p userPage) Changed() bool {
	was, _ := decodeForm(p.Was)
	return p.New && len(p.Problems) > 0 || !p.New && len(p.Form.changes(was)) > 0
}

// Problem returns what is wrong with a field, or with a member of it.
func (p userPage) Problem(field string) string {
	var all []string
	for _, problem := range p.Problems {
		if problem.Field == field || strings.HasPrefix(problem.Field, field+".") || strings.HasPrefix(problem.Field, field+"[") {
			message := problem.Message
			if rest := strings.TrimPrefix(problem.Field, field); rest != "" {
				message = strings.TrimPrefix(rest, ".") + " " + message
			}
			all = append(all, message)
		}
	}
	return strings.Join(all, "; ")
}

// userOf reads the user named by the path.
func (c *Console) userOf(r *http.Request) (*user.User, error) {
	ref, ok := user.ParseRef(r.PathValue("id"))
	if !ok {
		return nil, user.Errorf(user.NotFound, "there is no such user")
	}
	return c.options.Admin.Get(r.Context(), ref)
}

// userPage shows a user as it is now.
func (c *Console) userPage(r *http.Request, s *session, u *user.User) (userPage, error) {
	values := formOf(u)
	p := userPage{page: c.page(r, s, "user.title", "users", u.Name), User: u, Form: values, Was: values.encode(), Version: u.Version,
		Roles: roles, Statuses: statuses, Asked: strings.TrimSpace(r.URL.Query().Get("may"))}
	p.Models = viewModels(values, r.URL.Query().Get("name"))
	p.Once = uuid.NewString()
	if p.Asked != "" {
		p.Access = decide(u, p.Asked, time.Now())
	}
	if len(u.Keys) > 0 {
		keys, err := c.options.Admin.Keys(r.Context(), user.Ref{ID: u.ID})
		if err != nil {
			return p, err
		}
		p.Keys = shownKeys(keys)
	}
	var err error
	p.History, err = c.history(r, u.ID)
	return p, err
}

func (c *Console) serveUser(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if user.KindOf(err) == user.NotFound {
		return c.serveGone(w, r, s, err)
	}
	if err != nil {
		return err
	}
	p, err := c.userPage(r, s, u)
	if err != nil {
		return err
	}
	return c.render(w, r, http.StatusOK, "user", p)
}

// serveGone shows what happened to a user who is deleted: the history outlives them.
func (c *Console) serveGone(w http.ResponseWriter, r *http.Request, s *session, missing error) error {
	id, ok := user.ParseID(r.PathValue("id"))
	if !ok {
		return missing
	}
	happened, err := c.history(r, id)
	if err != nil {
		return err
	}
	p := userPage{page: c.page(r, s, "gone.title", "users"), User: &user.User{ID: id}, History: happened}
	return c.render(w, r, http.StatusNotFound, "gone", p)
}

// saveUser changes what the form changed of what it showed.
func (c *Console) saveUser(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	mine := readForm(r.PostForm)
	was, ok := decodeForm(r.PostFormValue("was"))
	if !ok {
		was = formOf(u)
	}
	version, err := strconv.ParseInt(r.PostFormValue("version"), 10, 64)
	if err != nil || version < 1 {
		return user.Errorf(user.Malformed, "the form cannot be read: open the user again")
	}
	chosen := mine.take(r.PostForm, formOf(u))
	fields := mine.changes(was)
	if r.PostFormValue("action") == "match" {
		return c.redisplay(w, r, s, u, mine, was, version, nil, http.StatusOK)
	}
	if len(fields) == 0 {
		return redirect(w, r, userPath(u.ID)+"?done=same")
	}
	if version != u.Version || !chosen {
		return c.showConflict(w, r, s, u, mine, was)
	}
	body, problems := mine.patch(fields, u)
	change, err := user.ParseUpdate(body)
	if err == nil && problems != nil {
		err = withProblems(change.Validate(), problems)
	}
	if err == nil {
		_, err = c.apply(r, user.Ref{ID: u.ID}, change, version)
	}
	if user.KindOf(err) == user.PreconditionFailed {
		if u, err = c.userOf(r); err != nil {
			return err
		}
		return c.showConflict(w, r, s, u, mine, was)
	}
	if public := user.Public(err); err != nil && public.Kind != user.Internal && public.Kind != user.Unavailable {
		return c.redisplay(w, r, s, u, mine, was, version, public, request.Status(err))
	}
	if err != nil {
		return err
	}
	return redirect(w, r, userPath(u.ID)+"?done=saved")
}

// withProblems adds the problems of what a patch leaves out to those of the patch.
func withProblems(err error, problems user.Problems) error {
	if err == nil {
		return problems.Err()
	}
	return append(user.Public(err).Problems, problems...).Err()
}

// redisplay shows the form as it was sent, with its problems.
func (c *Console) redisplay(w http.ResponseWriter, r *http.Request, s *session, u *user.User, mine, was form, version int64, fault *user.Error, status int) error {
	p, err := c.userPage(r, s, u)
	if err != nil {
		return err
	}
	p.Provider = r.PostFormValue("provider")
	p.Form, p.Was, p.Version, p.Models = mine, was.encode(), version, viewModels(mine, r.PostFormValue("name-to-match"))
	if fault != nil {
		p.Problems = append(fault.Problems, fieldOf(fault)...)
		p.Fault = fault
		p.Title = text("error.prefix", p.Title)
	}
	return c.render(w, r, status, "user", p)
}

// fieldOf turns a failure about one field into a problem of that field.
func fieldOf(fault *user.Error) user.Problems {
	field, ok := map[user.Kind]string{user.DuplicateTag: "tag", user.DuplicateEmail: "email", user.DuplicateUserName: "userName",
		user.DuplicateExternalID: "externalId", user.DuplicateID: "id", user.DuplicateKeyName: "name"}[fault.Kind]
	if !ok {
		return nil
	}
	return user.Problems{{Field: field, Code: string(fault.Kind), Message: fault.Message}}
}

// difference is a field that one or both of two people changed.
type difference struct {
	Field, Label, Was, Mine, Theirs string
	// Both says that both changed it: somebody has to choose.
	Both, ByMe bool
}

// showConflict shows both versions side by side. A field that only one person changed keeps that change by
// default.
func (c *Console) showConflict(w http.ResponseWriter, r *http.Request, s *session, u *user.User, mine, was form) error {
	p, err := c.userPage(r, s, u)
	if err != nil {
		return err
	}
	theirs := formOf(u)
	byMe, byThem := mine.changes(was), theirs.changes(was)
	for _, name := range formFields {
		me, them := slices.Contains(byMe, name), slices.Contains(byThem, name)
		if me || them {
			p.Conflict = append(p.Conflict, difference{Field: name, Label: text("field." + name), Was: was.shown(name), Mine: mine.shown(name),
				Theirs: theirs.shown(name), Both: (me && them || slices.Contains(r.PostForm["both"], name)) && mine.shown(name) != theirs.shown(name), ByMe: me})
		}
	}
	p.Form, p.Was, p.Version = mine, theirs.encode(), u.Version
	p.Title = text("conflict.title", u.Name)
	return c.render(w, r, http.StatusConflict, "conflict", p)
}

func (c *Console) setStatus(w http.ResponseWriter, r *http.Request, s *session) error {
	return c.changeUser(w, r, s, map[string]any{"status": r.PostFormValue("status")}, "status")
}

// changeUser sets fields of the user named by the path, and shows the user again.
func (c *Console) changeUser(w http.ResponseWriter, r *http.Request, s *session, fields map[string]any, done string) error {
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	change, err := user.ParseUpdate(body)
	if err != nil {
		return err
	}
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	if _, err := c.apply(r, user.Ref{ID: u.ID}, change, 0); err != nil {
		public := user.Public(err)
		if public.Kind != user.Invalid {
			return err
		}
		was := formOf(u)
		return c.redisplay(w, r, s, u, was, was, u.Version, public, http.StatusBadRequest)
	}
	return redirect(w, r, userPath(u.ID)+"?done="+done)
}

func (c *Console) serveDelete(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	return c.render(w, r, http.StatusOK, "delete", userPage{page: c.page(r, s, "delete.title", "users", u.Name), User: u})
}

func (c *Console) deleteUser(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	if typed := r.PostFormValue("tag"); user.FoldTag(strings.TrimSpace(typed)) != u.Tag {
		p := userPage{page: c.page(r, s, "delete.title", "users", u.Name), User: u, Typed: typed,
			Problems: user.Problems{{Field: "tag", Message: text("delete.mismatch", u.Tag)}}}
		return c.render(w, r, http.StatusBadRequest, "delete", p)
	}
	if _, err := c.apply(r, user.Ref{ID: u.ID}, user.Delete{}, 0); err != nil {
		return err
	}
	return redirect(w, r, Path+"users?done=deleted")
}

func (c *Console) serveNew(w http.ResponseWriter, r *http.Request, s *session) error {
	return c.render(w, r, http.StatusOK, "new", c.newPage(r, s, form{"role": string(user.Member), "status": string(user.Active), "allModels": "on"}))
}

func (c *Console) newPage(r *http.Request, s *session, values form) userPage {
	return userPage{page: c.page(r, s, "new.title", "new"), Form: values, New: true, Roles: roles, Statuses: statuses, Models: viewModels(values, r.PostFormValue("name-to-match"))}
}

func (c *Console) createUser(w http.ResponseWriter, r *http.Request, s *session) error {
	values := readForm(r.PostForm)
	p := c.newPage(r, s, values)
	if r.PostFormValue("action") == "match" {
		return c.render(w, r, http.StatusOK, "new", p)
	}
	body, problems := values.create()
	change, err := user.ParseCreate(body)
	if err == nil && problems != nil {
		err = withProblems(change.Validate(), problems)
	}
	var outcome user.Outcome
	if err == nil {
		outcome, err = c.apply(r, user.Ref{}, change, 0)
	}
	if err == nil && !s.caller.Can(auth.UsersRead) {
		return redirect(w, r, Path+"users/new?done=created")
	}
	if err == nil {
		return redirect(w, r, userPath(outcome.Event.UserID)+"?done=created")
	}
	public := user.Public(err)
	if public.Kind == user.Internal || public.Kind == user.Unavailable {
		return err
	}
	p.Problems, p.Fault = append(public.Problems, fieldOf(public)...), public
	p.Title = text("error.prefix", p.Title)
	return c.render(w, r, request.Status(err), "new", p)
}

// history is a page of a user's history.
type history struct {
	Entries      []historyEntry
	Next         string
	Field, Actor string
	Fields       []string
}

type historyEntry struct {
	user.Event
	Kind    string // created, updated or deleted
	Changes []fieldChange
}

type fieldChange struct {
	Field    string `json:"field"`
	From, To json.RawMessage
	Same     int64 `json:"-"` // elements of a long list, left out of From and To since both have them
}

const (
	historyShown = 20
	historyRead  = 200 // entries looked at for a page with a filter, at most five times
)

// history reads the timeline, newest first, and filters it by field and actor.
func (c *Console) history(r *http.Request, id uuid.UUID) (history, error) {
	values := r.URL.Query()
	h := history{Field: values.Get("field"), Actor: values.Get("actor"), Fields: user.RecordedFields()}
	cursor, limit := values.Get("history"), historyShown
	if h.Field+h.Actor != "" {
		limit = historyRead
	}
	for range 5 {
		found, err := c.options.Admin.History(r.Context(), id, cursor, limit)
		if err != nil {
			return h, err
		}
		for i := range found.Entries {
			if entry, ok := h.entry(found.Entries[i].Event); ok {
				h.Entries = append(h.Entries, entry)
			}
		}
		if cursor = found.Next; cursor == "" || len(h.Entries) >= historyShown {
			break
		}
	}
	if cursor != "" {
		next := url.Values{"history": {cursor}}
		if h.Field != "" {
			next.Set("field", h.Field)
		}
		if h.Actor != "" {
			next.Set("actor", h.Actor)
		}
		h.Next = userPath(id) + "?" + next.Encode() + "#history"
	}
	return h, nil
}

// entryOf reads an event.
func entryOf(e user.Event) (historyEntry, error) {
	entry := historyEntry{Event: e, Kind: string(e.Type[strings.LastIndexByte(string(e.Type), '.')+1:])}
	err := json.Unmarshal(e.Changes, &entry.Changes)
	for i := range entry.Changes {
		entry.Changes[i].shorten()
	}
	return entry, err
}

// longList is from how many bytes on a changed list is shown by its differences alone: a user's hundred keys
// would fill a page with each change of one.
const longList = 1000

// shorten leaves out what two long lists have in common.
func (f *fieldChange) shorten() {
	var from, to []json.RawMessage
	if len(f.From)+len(f.To) < longList || json.Unmarshal(f.From, &from) != nil || json.Unmarshal(f.To, &to) != nil {
		return
	}
	gone, came := without(from, to), without(to, from)
	f.Same = int64(len(to) - len(came))
	f.From, _ = json.Marshal(gone) // of what was read just now
	f.To, _ = json.Marshal(came)
}

// without returns the elements of a list that another does not have.
func without(list, other []json.RawMessage) []json.RawMessage {
	had := make(map[string]bool, len(other))
	for _, element := range other {
		had[string(element)] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(element json.RawMessage) bool { return had[string(element)] })
}

// entry reads an event, and reports whether it passes the filter.
func (h *history) entry(e user.Event) (historyEntry, bool) {
	entry, err := entryOf(e)
	if err != nil {
		return entry, false
	}
	if h.Actor != "" && !strings.Contains(strings.ToLower(e.Actor), strings.ToLower(h.Actor)) {
		return entry, false
	}
	if h.Field == "" {
		return entry, true
	}
	entry.Changes = slices.DeleteFunc(entry.Changes, func(f fieldChange) bool { return f.Field != h.Field })
	return entry, len(entry.Changes) > 0
}
