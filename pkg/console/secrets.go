package console

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// serveModels shows which patterns of a form match a name. It takes a POST: the patterns may be too long for an address.
func (c *Console) serveModels(w http.ResponseWriter, r *http.Request, _ *session) error {
	return c.render(w, r, http.StatusOK, "models-chips", viewModels(readForm(r.PostForm), r.PostForm.Get("name-to-match")))
}

// verdict says whether a user may use a model, as the check would.
type verdict struct {
	Allowed bool
	Model   string
	Reason  string // for people
}

// decide applies the rules of the check to a user.
func decide(u *user.User, name string, now time.Time) *verdict {
	name = strings.TrimSpace(name)
	model := access.ModelNamed(name)
	if name == access.AnyModel.Name {
		model = access.AnyModel
	}
	subject := &access.Subject{ID: u.ID, Tag: u.Tag, Role: u.Role, Status: u.Status, ExpiresAt: u.ExpiresAt, Models: u.Models, Limits: u.Limits, Version: u.Version}
	d := access.Decide(&access.Question{Subject: user.Ref{ID: u.ID}, Model: model}, access.Found{Subject: subject}, now)
	if !d.Allowed() {
		return &verdict{Model: name, Reason: d.Message}
	}
	v := &verdict{Allowed: true, Model: name, Reason: text("may.all")}
	if model.Any && u.Models != nil {
		v.Reason = text("may.some")
		return v
	}
	for _, pattern := range u.Models {
		if access.Match(pattern, name) {
			v.Reason = text("may.pattern", pattern)
			break
		}
	}
	return v
}

func (c *Console) setCredential(w http.ResponseWriter, r *http.Request, s *session) error {
	provider := strings.TrimSpace(r.PostFormValue("provider"))
	secret := inTextArea.Replace(r.PostFormValue("secret"))
	return c.changeUser(w, r, s, map[string]any{"credentials": map[string]any{provider: secret}}, "credential")
}

func (c *Console) removeCredential(w http.ResponseWriter, r *http.Request, s *session) error {
	provider := r.PathValue("provider")
	if r.PostFormValue("confirmed") == "" {
		return c.confirm(w, r, s, "credentials.confirm", provider, text("credentials.remove"))
	}
	return c.changeUser(w, r, s, map[string]any{"credentials": map[string]any{provider: nil}}, "removed")
}

type confirmPage struct {
	page
	Means, Action, Button, Back string
}

// confirm asks before something that cannot be undone. With JavaScript, the page before has asked already.
func (c *Console) confirm(w http.ResponseWriter, r *http.Request, s *session, means, about, button string) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	p := confirmPage{page: c.page(r, s, "confirm.title", "users", button, about), Means: text(means, about), Action: r.URL.EscapedPath(), Button: button, Back: userPath(u.ID)}
	return c.render(w, r, http.StatusOK, "confirm", p)
}

type secretPage struct {
	page
	User   *user.User
	Label  string
	Secret string
	Back   string
	Note   string
}

// secretTime is how long a secret stays on the screen, in seconds.
const secretTime = "60"

// showSecret answers a POST with a page that shows a secret. The browser leaves the page after a
// minute.
func (c *Console) showSecret(w http.ResponseWriter, r *http.Request, p secretPage) error {
	w.Header().Set("Refresh", secretTime+"; url="+p.Back)
	return c.write(w, r, http.StatusOK, "secret", p, false)
}

func (c *Console) revealCredential(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	var found struct{ Provider, Secret string }
	path := "/ai/admin/users/" + u.ID.String() + "/credentials/" + url.PathEscape(r.PathValue("provider"))
	if err := c.call(r, s, http.MethodGet, path, nil, &found); err != nil {
		return err
	}
	return c.showSecret(w, r, secretPage{page: c.page(r, s, "secret.credential", "users", found.Provider, u.Name), User: u,
		Label: text("secret.label", found.Provider), Secret: found.Secret, Back: userPath(u.ID), Note: text("secret.audited")})
}

// shownKey is a key, and whether it has expired.
type shownKey struct {
	user.ListedKey
	Expired bool
	Former  *time.Time // until when the secret from before a rotation works; nil when it does not
}

// shownKeys says of keys what the present time makes of them.
func shownKeys(keys []user.ListedKey) []shownKey {
	now, shown := time.Now(), make([]shownKey, len(keys))
	for i, key := range keys {
		shown[i] = shownKey{ListedKey: key, Expired: key.Expired(now)}
		if until := key.PreviousValidUntil; until != nil && until.After(now) {
			shown[i].Former = until
		}
	}
	return shown
}

// issued is the API's answer to a key that got a secret.
type issued struct {
	ID     uuid.UUID `json:"id"`
	Name   string    `json:"name"`
	Secret string    `json:"secret"`
}

func (c *Console) issueKey(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	wanted := map[string]any{"name": r.PostFormValue("name")}
	if list := trimmed(r.PostFormValue("models")); len(list) > 0 {
		wanted["models"] = list
	}
	if end := strings.TrimSpace(r.PostFormValue("expiresAt")); end != "" {
		wanted["expiresAt"] = asEnd(end)
	}
	return c.withSecret(w, r, s, u, "/keys", wanted)
}

// withSecret makes a key's secret and shows it. A form that is sent again, as by reloading the page, shows the same
// secret again: a second rotation would end the secret from before the first.
func (c *Console) withSecret(w http.ResponseWriter, r *http.Request, s *session, u *user.User, path string, wanted map[string]any) error {
	body, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	var key issued
	asked := ask(r, s, http.MethodPost, "/ai/admin/users/"+u.ID.String()+path, nil, bytes.NewReader(body))
	if once, err := uuid.Parse(r.PostFormValue("once")); err == nil {
		asked.Header.Set("Idempotency-Key", uuid.NewSHA1(once, append([]byte(asked.URL.Path), body...)).String())
	}
	err = c.send(asked, &key)
	if err == nil {
		err = c.call(r, s, http.MethodGet, "/ai/admin/users/"+u.ID.String()+"/keys/"+key.ID.String(), nil, nil)
		if user.KindOf(err) == user.NotFound { // the answer is of an earlier time
			err = user.Problems{{Field: "name", Message: text("keys.gone")}}.Err()
		}
	}
	if err != nil {
		return c.keyFault(w, r, s, u, err)
	}
	return c.showSecret(w, r, secretPage{page: c.page(r, s, "secret.key", "users", key.Name, u.Name), User: u, Label: text("secret.key.label", key.Name),
		Secret: key.Secret, Back: userPath(u.ID) + "#keys", Note: text("secret.once")})
}

// keyFault shows the user's page with what was wrong with a key.
func (c *Console) keyFault(w http.ResponseWriter, r *http.Request, s *session, u *user.User, err error) error {
	public := user.Public(err)
	if public.Kind != user.Invalid && public.Kind != user.DuplicateKeyName {
		return err
	}
	p, err := c.userPage(r, s, u)
	if err != nil {
		return err
	}
	p.Fault = &user.Error{Kind: public.Kind, Message: text("keys.fault"), Problems: append(public.Problems, fieldOf(public)...)}
	if r.PathValue("key") != "" { // a rotation has no form of its own
		p.Title = text("error.prefix", p.Title)
		return c.render(w, r, request.Status(public), "user", p)
	}
	for _, problem := range p.Fault.Problems {
		p.Problems = append(p.Problems, user.Problem{Field: "key." + problem.Field, Code: problem.Code, Message: problem.Message})
	}
	p.NewKey = keyForm{r.PostFormValue("name"), r.PostFormValue("expiresAt"), r.PostFormValue("models")}
	p.Title = text("error.prefix", p.Title)
	return c.render(w, r, request.Status(public), "user", p)
}

// keyName is what people call a key of a user.
func keyName(u *user.User, id string) string {
	for i := range u.Keys {
		if u.Keys[i].ID.String() == id {
			return u.Keys[i].Name
		}
	}
	return id
}

// changeKey rotates, disables, enables or revokes a key.
func (c *Console) changeKey(w http.ResponseWriter, r *http.Request, s *session) error {
	u, err := c.userOf(r)
	if err != nil {
		return err
	}
	key, action := "/keys/"+url.PathEscape(r.PathValue("key")), r.PathValue("action")
	path := "/ai/admin/users/" + u.ID.String() + key
	switch action {
	case "rotate":
		wanted := map[string]any{}
		if overlap := strings.TrimSpace(r.PostFormValue("overlap")); overlap != "" {
			wanted["overlap"] = overlap
		}
		if end := strings.TrimSpace(r.PostFormValue("expiresAt")); end != "" {
			wanted["expiresAt"] = asEnd(end)
		}
		return c.withSecret(w, r, s, u, key+"/rotate", wanted)
	case "disable":
		err = c.call(r, s, http.MethodPatch, path, []byte(`{"status":"disabled"}`), nil)
	case "enable":
		err = c.call(r, s, http.MethodPatch, path, []byte(`{"status":"active"}`), nil)
	case "revoke":
		if r.PostFormValue("confirmed") == "" {
			return c.confirm(w, r, s, "keys.confirm", keyName(u, r.PathValue("key")), text("keys.revoke"))
		}
		err = c.call(r, s, http.MethodDelete, path, nil, nil)
	default:
		err = user.Errorf(user.NotFound, "there is no such page")
	}
	if err != nil {
		return c.keyFault(w, r, s, u, err)
	}
	return redirect(w, r, userPath(u.ID)+"?done=key."+action+"#keys")
}
