package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// bulkAction is what can be done with several users at once.
type bulkAction string

const (
	suspendAll  bulkAction = "suspend"
	activateAll bulkAction = "activate"
	deleteAll   bulkAction = "delete"
	exportAll   bulkAction = "export"
)

// change returns what the action does to each user.
func (b bulkAction) change() (user.Change, error) {
	switch b {
	case suspendAll:
		return user.ParseUpdate([]byte(`{"status":"suspended"}`))
	case activateAll:
		return user.ParseUpdate([]byte(`{"status":"active"}`))
	case deleteAll:
		return user.Delete{}, nil
	}
	return nil, user.Errorf(user.Malformed, "choose what to do: suspend, activate, delete or export")
}

// chosen identifies the users that a form is about: by ids or, if all is set, by a filter.
type chosen struct {
	ids    []uuid.UUID
	all    bool
	filter url.Values
	asked  url.Values // the list's parameters, of which the filter is a part
}

func readChosen(r *http.Request) (chosen, error) {
	form := chosen{all: r.PostFormValue("all") != ""}
	var err error
	if form.asked, err = url.ParseQuery(r.PostFormValue("query")); err != nil {
		return form, user.Errorf(user.Malformed, "the form cannot be read: send it again").Wrap(err)
	}
	form.filter = filterOf(form.asked)
	if form.all {
		return form, nil
	}
	for _, text := range r.PostForm["id"] {
		id, ok := user.ParseID(text)
		if !ok {
			return form, user.Errorf(user.Malformed, "the form cannot be read: send it again")
		}
		form.ids = append(form.ids, id)
	}
	if len(form.ids) == 0 {
		return form, user.Errorf(user.Invalid, "no user is chosen: tick some, or choose all users found")
	}
	return form, nil
}

// listOf returns the address of the list that a form was sent from; empty for a form of another page.
func listOf(r *http.Request) string {
	query, err := url.ParseQuery(r.PostForm.Get("query"))
	if err != nil || !r.PostForm.Has("query") {
		return ""
	}
	return withQuery(Path+"users", query)
}

// count returns how many users are chosen.
func (c *Console) count(r *http.Request, form chosen) (int64, error) {
	if !form.all {
		return int64(len(form.ids)), nil
	}
	query, err := user.ParseQuery(form.filter)
	if err != nil {
		return 0, err
	}
	query.Limit, query.Count = 1, user.CountExact
	leave, err := c.options.Enter(r.Context())
	if err != nil {
		return 0, err
	}
	defer leave()
	found, err := c.options.Admin.List(r.Context(), query)
	if err != nil || found.Total == nil {
		return 0, err
	}
	return *found.Total, nil
}

type bulkPage struct {
	page
	Action bulkAction
	Count  int64
	IDs    []uuid.UUID
	All    bool
	Query  string
	Back   string
	Fault  string
}

// confirmBulk shows what will happen, and to how many users.
func (c *Console) confirmBulk(w http.ResponseWriter, r *http.Request, s *session) error {
	action := bulkAction(r.PostFormValue("action"))
	form, err := readChosen(r)
	if err != nil {
		return err
	}
	if action == exportAll {
		return c.exportChosen(w, r, s, form)
	}
	if !s.caller.Can(auth.UsersWrite) {
		return c.lacks(r, auth.UsersWrite)
	}
	return c.askBulk(w, r, s, action, form, "")
}

func (c *Console) askBulk(w http.ResponseWriter, r *http.Request, s *session, action bulkAction, form chosen, fault string) error {
	if _, err := action.change(); err != nil {
		return err
	}
	n, err := c.count(r, form)
	if err != nil {
		return err
	}
	p := bulkPage{page: c.page(r, s, "bulk."+string(action), "users"), Action: action, Count: n, IDs: form.ids, All: form.all,
		Query: form.asked.Encode(), Back: withQuery(Path+"users", form.asked), Fault: fault}
	return c.render(w, r, http.StatusOK, "bulk", p)
}

// idsAtOnce is how many ids a listing takes.
const idsAtOnce = 100

// exportChosen sends those chosen as one file: all that the filter finds, or those ticked, in groups.
func (c *Console) exportChosen(w http.ResponseWriter, r *http.Request, s *session, form chosen) error {
	if form.all {
		export := exportOf(form.asked)
		export.Set("format", "csv")
		return redirect(w, r, withQuery(Path+"users/export", export))
	}
	to := &download{ResponseWriter: w, name: "users.csv"}
	for ids := range slices.Chunk(form.ids, idsAtOnce) {
		values := url.Values{"format": {"csv"}}
		for _, id := range ids {
			values.Add("id", id.String())
		}
		c.options.Routes.ServeHTTP(to, ask(r, s, http.MethodGet, "/ai/admin/users", values, nil))
		if err := to.end(); err != nil {
			return err
		}
		to.headless = true
	}
	return nil
}

// bulkGroup is how many users are changed in one transaction.
const bulkGroup = 200

// applyBulk changes the chosen users and writes each result as it comes.
func (c *Console) applyBulk(w http.ResponseWriter, r *http.Request, s *session) error {
	action := bulkAction(r.PostFormValue("action"))
	change, err := action.change()
	if err != nil {
		return err
	}
	form, err := readChosen(r)
	if err != nil {
		return err
	}
	n, err := c.count(r, form)
	if err != nil {
		return err
	}
	if form.all && strconv.FormatInt(n, 10) != r.PostFormValue("count") {
		return c.askBulk(w, r, s, action, form, text("bulk.moved"))
	}
	if action == deleteAll && r.PostFormValue("typed") != strconv.FormatInt(n, 10) {
		return c.askBulk(w, r, s, action, form, text("bulk.typed", strconv.FormatInt(n, 10)))
	}
	run := &bulkRun{console: c, w: w, r: r, s: s, change: change, action: action}
	return run.all(form)
}

// bulkRun is a bulk action under way.
type bulkRun struct {
	console      *Console
	w            http.ResponseWriter
	r            *http.Request
	s            *session
	change       user.Change
	action       bulkAction
	back         string // the list that the users are from
	begun        bool   // the page is
	done, failed int64
	faults       []bulkResult // the first of those that failed
}

// mostFaults is how many of the users that failed stand once more below the results, with why.
const mostFaults = 100

// bulkResult is what became of one user.
type bulkResult struct {
	ID    uuid.UUID
	Tag   string
	Error *user.Error
}

// all changes the users and writes the page as it goes. An error before the first results is the answer.
func (b *bulkRun) all(form chosen) error {
	b.back = withQuery(Path+"users", changed(form.asked, "cursor", ""))
	err := b.chosen(form)
	var fault *user.Error
	if err != nil {
		if !b.begun {
			return err
		}
		fault = user.Public(err)
		request.Of(b.r.Context()).Failure = err
	}
	return b.write("bulk-bottom", map[string]any{"Done": b.done, "Failed": b.failed, "Fault": fault, "Back": b.back,
		"Action": b.action, "Rows": b.faults, "More": int(b.failed) - len(b.faults)})
}

func (b *bulkRun) chosen(form chosen) error {
	if form.all {
		return b.found(form.filter)
	}
	for ids := range slices.Chunk(form.ids, bulkGroup) {
		users := make([]*user.User, len(ids))
		for i, id := range ids {
			users[i] = &user.User{ID: id}
		}
		if err := b.group(users); err != nil {
			return err
		}
	}
	return nil
}

// found changes all users that a filter finds, page by page.
func (b *bulkRun) found(filter url.Values) error {
	query, err := user.ParseQuery(filter)
	if err != nil {
		return err
	}
	query.Limit, query.Count = bulkGroup, user.CountNone
	for {
		found, err := b.console.options.Admin.List(b.r.Context(), query)
		if err != nil {
			return err
		}
		if err := b.group(found.Users); err != nil || !found.More {
			return err
		}
		next := filterOf(filter)
		next.Set("cursor", query.CursorAfter(found.Users[len(found.Users)-1]))
		if query, err = user.ParseQuery(next); err != nil {
			return err
		}
		query.Limit, query.Count = bulkGroup, user.CountNone
	}
}

func (b *bulkRun) group(users []*user.User) error {
	if len(users) == 0 {
		return nil
	}
	commands := make([]user.Command, len(users))
	for i, u := range users {
		commands[i] = b.console.command(b.r, user.Ref{ID: u.ID}, b.change, 0)
	}
	leave, err := b.console.options.Enter(b.r.Context())
	if err != nil {
		return err
	}
	results, err := b.console.options.Admin.ApplyAll(b.r.Context(), commands)
	leave()
	if err != nil {
		return err
	}
	shown := make([]bulkResult, len(users))
	for i, result := range results {
		shown[i] = bulkResult{ID: users[i].ID, Tag: users[i].Tag}
		if result.Before != nil {
			shown[i].Tag = result.Before.Tag
		}
		if result.Err != nil {
			shown[i].Error = user.Public(result.Err)
			if b.failed++; len(b.faults) < mostFaults {
				b.faults = append(b.faults, shown[i])
			}
			continue
		}
		b.done++
	}
	return b.write("bulk-rows", map[string]any{"Rows": shown, "Action": b.action})
}

// write appends to the page, and begins it.
func (b *bulkRun) write(name string, data any) error {
	if !b.begun {
		b.begun = true
		b.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		top := bulkPage{page: b.console.page(b.r, b.s, "bulk."+string(b.action)+".done", "users"), Action: b.action, Back: b.back}
		if err := b.write("bulk-top", top); err != nil {
			return err
		}
	}
	all, err := templates()
	if err != nil {
		return err
	}
	if err := all.ExecuteTemplate(b.w, name, data); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	_ = http.NewResponseController(b.w).Flush() // writers of tests may not be able to
	return nil
}
