package console

import (
	"html/template"
	"strconv"

	"aiadmin/pkg/user"
)

// rows writes the table's body by hand: a template takes ten times as long, which is most of the page.
// Everything that a user holds is escaped; the rest is of our own.
type rows struct{ out []byte }

// userRows returns the rows of the list of users.
func userRows(users []*user.User) template.HTML {
	r := rows{make([]byte, 0, 1200*len(users))}
	for _, u := range users {
		r.user(u)
	}
	return template.HTML(r.out) //nolint:gosec // escaped above
}

func (r *rows) user(u *user.User) {
	id, tag := u.ID.String(), template.HTMLEscapeString(u.Tag)
	r.add(`<tr><td class="tick"><input type="checkbox" name="id" value="`, id, `" aria-label="`, template.HTMLEscapeString(text("bulk.choose", u.Tag)), `"></td>`+"\n")
	r.add(`<th scope="row"><a href="`, Path, `users/`, id, `">`, template.HTMLEscapeString(u.Name), `</a></th>`+"\n")
	r.cell("users.tag", `<code>`+tag+`</code>`)
	email := "–"
	if u.Email != nil {
		email = template.HTMLEscapeString(*u.Email)
	}
	r.cell("users.email", email)
	r.cell("users.role", template.HTMLEscapeString(string(u.Role)))
	r.begin("users.status")
	r.status(u.Status)
	r.begin("users.models")
	r.models(u.Models)
	r.begin("users.limits")
	r.limits(&u.Limits)
	r.add(`</td>`+"\n"+`<td data-is="`, text("users.keys"), `" class="n">`, strconv.Itoa(len(u.Keys)), `</td>`)
	r.cell("users.changed", string(when(u.UpdatedAt)))
	r.cell("users.created", string(when(u.CreatedAt)))
	r.add("</tr>\n")
}

func (r *rows) add(parts ...string) {
	for _, part := range parts {
		r.out = append(r.out, part...)
	}
}

func (r *rows) cell(label, content string) {
	r.add(`<td data-is="`, text(label), `">`, content, `</td>`)
}

// begin opens a cell; the next one's beginning, or the row's, closes it.
func (r *rows) begin(label string) {
	if label != "users.status" {
		r.add(`</td>`)
	}
	r.add(`<td data-is="`, text(label), `">`)
}

func (r *rows) status(s user.Status) {
	name := "stop"
	if s == user.Active {
		name = "ok"
	}
	r.add(`<span class="badge `, template.HTMLEscapeString(string(s)), `">`, string(icon(name)), text("status."+string(s)), `</span>`)
}

// shownModels is how many models a row shows of a long list.
const shownModels = 3

func (r *rows) models(models []string) {
	if len(models) == 0 {
		r.add(`<span class="small">`, anyModels(models, "models.all"), `</span>`)
		return
	}
	for _, model := range models[:min(shownModels, len(models))] {
		r.add(`<code class="model">`, template.HTMLEscapeString(model), `</code> `)
	}
	if more := len(models) - shownModels; more > 0 {
		r.add(`<span class="small">`, text("models.more", more), `</span>`)
	}
}

func (r *rows) limits(l *user.Limits) {
	before := len(r.out)
	if v := l.RequestsPerMinute; v != nil {
		r.add(`<span class="limit">`, plural("limit.requests", *v), `</span> `)
	}
	if v := l.TokensPerMinute; v != nil {
		r.add(`<span class="limit">`, plural("limit.tokens", *v), `</span> `)
	}
	if v := l.MonthlyBudgetUSD; v != nil {
		r.add(`<span class="limit">`, money(*v), ` `, text("limit.budget.short"), `</span>`)
	}
	if len(r.out) == before {
		r.add(`<span class="small">`, text("limit.none"), `</span>`)
	}
}
