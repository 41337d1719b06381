package console

import (
	"bytes"
	"context"
	"crypto/subtle"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/body"
	"aiadmin/pkg/request"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Path is where the pages are.
const Path = "/ai/admin/console/"

// Admin is the part of the service that the pages need.
type Admin interface {
	Apply(context.Context, user.Command) (user.Outcome, error)
	ApplyAll(context.Context, []user.Command) ([]user.Result, error)
	Get(context.Context, user.Ref) (*user.User, error)
	List(context.Context, user.Query) (user.Page, error)
	History(ctx context.Context, id uuid.UUID, cursor string, limit int) (user.HistoryPage, error)
	Log(context.Context, user.LogQuery) (user.HistoryPage, error)
	AuditLog(context.Context, user.AuditQuery) (user.AuditPage, error)
	Keys(context.Context, user.Ref) ([]user.ListedKey, error)
	FindKeys(context.Context, user.KeyQuery) (user.KeyPage, error)
	Group(ctx context.Context, id uuid.UUID) (*user.Group, error)
}

// Once signs in the first request that brings its code, with a token.
type Once struct{ Code, Token secret.Text }

// Options of the pages.
type Options struct {
	Admin Admin
	// Routes are the API's own, asked with the session's token.
	Routes       http.Handler
	Authenticate func(ctx context.Context, authorization string) (auth.Caller, error)
	// SignIn knows the issuers that people can sign in with.
	SignIn *auth.Authenticator
	Vault  func() *vault.KeyRing
	// Enter waits for a place among the concurrent requests, which leave gives back.
	Enter func(context.Context) (leave func(), err error)
	// Status reports the service's state. Resend releases parked events: those of one user, or all
	// with [uuid.Nil].
	Status func(context.Context) Status
	Resend func(r *http.Request, of uuid.UUID) (int64, error)
	// FindKey returns the key that a secret belongs to; nil when it is nobody's.
	FindKey func(context.Context, access.Secret) (*user.ListedKey, error)
	// Now returns the change feed's present cursor.
	Now func(context.Context) (string, error)
	// SignedIn and Refused record sign-ins, tokens that were no good, and scopes that were not there.
	SignedIn func(r *http.Request) error
	Refused  func(r *http.Request, scope auth.Scope, err error)
	// Once is the link that signs in once; nil for none.
	Once *Once
}

// Console serves the pages.
type Console struct {
	options Options
	once    atomic.Pointer[Once]
	origins *http.CrossOriginProtection
	mux     *http.ServeMux

	forms, strangers, signIns *body.Budget
}

// New makes the handler. Nothing is parsed before the first page is asked for.
func New(options Options) *Console {
	c := &Console{options: options, origins: http.NewCrossOriginProtection(), mux: http.NewServeMux(),
		forms: body.NewBudget(ofForms, nil), strangers: body.NewBudget(ofStrangers, nil), signIns: body.NewBudget(ofSignIns, nil)}
	c.once.Store(options.Once)
	for pattern, p := range c.pages() {
		method, path, _ := strings.Cut(pattern, " ")
		c.mux.Handle(method+" "+Path+path, c.handle(Path+strings.TrimSuffix(path, "{$}"), p))
	}
	c.mux.Handle("/", c.handle(Path, place{open: true, serve: c.serveNowhere}))
	return c
}

// serveNowhere answers what is no page, or cannot be done with one. A signed-in person keeps the navigation.
func (c *Console) serveNowhere(w http.ResponseWriter, r *http.Request, _ *session) error {
	if r.URL.Path+"/" == Path {
		return redirect(w, r, Path)
	}
	err := user.Errorf(user.NotFound, "there is no such page")
	if allow := c.methodsOf(r); allow != "" {
		w.Header().Set("Allow", allow)
		err = user.Errorf(user.MethodNotAllowed, "this page takes %s", allow)
	}
	s, _, _ := c.session(r)
	if s != nil {
		request.Of(r.Context()).Actor = s.caller.Name
	}
	c.fail(w, r, s, err)
	return nil
}

// methodsOf returns the methods of the page at the request's path, empty for no page.
func (c *Console) methodsOf(r *http.Request) string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		other := *r
		other.Method = method
		if _, pattern := c.mux.Handler(&other); pattern != "/" {
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, ", ")
}

// place is what one method of one path does.
type place struct {
	scopes []auth.Scope // all of them are needed
	serve  func(http.ResponseWriter, *http.Request, *session) error
	open   bool // to those who are not signed in, too
	long   bool // takes no place of the concurrent requests: it calls the API's routes, which take their own, or it lasts
}

func (c *Console) pages() map[string]place {
	type serve = func(http.ResponseWriter, *http.Request, *session) error
	needs := func(serve serve, scopes ...auth.Scope) place { return place{scopes: scopes, serve: serve} }
	long := func(serve serve, scopes ...auth.Scope) place { return place{scopes: scopes, serve: serve, long: true} }
	open := func(serve serve) place { return place{serve: serve, open: true} }
	const read, write = auth.UsersRead, auth.UsersWrite
	return map[string]place{
		"GET {$}":             needs(c.serveHome),
		"GET signin":          open(c.serveSignIn),
		"POST signin":         open(c.serveSignIn),
		"GET signin/issuer":   open(c.serveIssuer),
		"GET signin/callback": open(c.serveCallback),
		"POST signout":        open(c.serveSignOut),
		"GET assets/{name}":   open(serveAsset),

		"GET users":             needs(c.serveUsers, read),
		"GET users/export":      long(c.serveExport, read),
		"POST users/bulk":       long(c.confirmBulk, read),
		"GET users/bulk":        needs(serveBack, read),
		"POST users/bulk/apply": long(c.applyBulk, read, write),
		"GET users/new":         needs(c.serveNew, write),
		"POST users/new":        needs(c.createUser, write),

		"GET users/{id}":                                needs(c.serveUser, read),
		"POST users/{id}":                               needs(c.saveUser, read, write),
		"POST users/{id}/status":                        needs(c.setStatus, read, write),
		"GET users/{id}/{form...}":                      needs(serveBack, read),
		"GET users/{id}/delete":                         needs(c.serveDelete, read, write),
		"POST users/{id}/delete":                        needs(c.deleteUser, read, write),
		"POST users/{id}/models":                        needs(c.serveModels, write),
		"POST users/{id}/credentials":                   needs(c.setCredential, read, write),
		"POST users/{id}/credentials/{provider}/remove": needs(c.removeCredential, read, write),
		"POST users/{id}/credentials/{provider}/reveal": long(c.revealCredential, read, auth.CredentialsRead),
		"POST users/{id}/keys":                          long(c.issueKey, read, auth.KeysWrite),
		"POST users/{id}/keys/{key}/{action}":           long(c.changeKey, read, auth.KeysWrite),

		"GET import":         needs(c.serveImport, write),
		"POST import":        long(c.importUsers, write),
		"POST import/stream": long(c.streamImport, write),
		"POST import/failed": needs(c.failedLines, write),

		"GET activity":   needs(c.serveActivity), // one scope for each of its views
		"GET feed":       long(c.serveFeed, read),
		"GET keys":       needs(c.serveKeys, read),
		"POST keys":      needs(c.findKey, read),
		"GET operation":  needs(c.serveOperation, read),
		"POST operation": needs(c.resend, auth.Admin),
	}
}

// securityPolicy allows only our own files. Forms go nowhere else, and no page may frame ours.
const securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", securityPolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	if err := c.origins.Check(r); err != nil {
		c.fail(w, r, nil, user.Errorf(user.Forbidden, "the form came from another site: open the console and try again").Wrap(err))
		return
	}
	if err := checkQuery(r); err != nil {
		c.fail(w, r, nil, err)
		return
	}
	c.mux.ServeHTTP(w, withoutNotice(r))
}

// withoutNotice drops the parameter that says what was done, unless the console's own answer led here: any link could
// say that a user was deleted.
func withoutNotice(r *http.Request) *http.Request {
	query := r.URL.Query()
	if site := r.Header.Get("Sec-Fetch-Site"); site == "" || site == "same-origin" || !query.Has("done") {
		return r
	}
	query.Del("done")
	asked, to := *r, *r.URL
	to.RawQuery = query.Encode()
	asked.URL = &to
	return &asked
}

// maxQuery bounds the query string, in bytes: a page has links that each repeat it.
const maxQuery = 16 << 10

// checkQuery refuses a query string that cannot be read whole: what is dropped from a filter would show, and choose,
// more users than were asked for.
func checkQuery(r *http.Request) error {
	if len(r.URL.RawQuery) > maxQuery {
		return user.Errorf(user.Malformed, "the address is too long: filters may have 16 KiB together")
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return user.Errorf(user.Malformed, "the address is not well encoded").Wrap(err)
	}
	return checkText(values)
}

// checkText refuses what would not be stored as it was sent.
func checkText(values url.Values) error {
	for name, all := range values {
		for _, text := range append(all, name) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return user.Errorf(user.Malformed, "%q must be valid UTF-8 without NUL characters", strings.ToValidUTF8(name, "?"))
			}
		}
	}
	return nil
}

func (c *Console) handle(route string, p place) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request.Of(r.Context()).Route = route
		s, err := c.serve(w, r, p)
		if err != nil {
			c.fail(w, r, s, err)
		}
		request.Of(r.Context()).Route = route // and not that of the API's, which a page asks
	})
}

// serve finds the session, checks what it may do, and serves the page.
func (c *Console) serve(w http.ResponseWriter, r *http.Request, p place) (*session, error) {
	if p.open {
		done, err := receiveForm(w, r, c.signIns)
		if err != nil {
			return nil, err
		}
		defer done()
		return nil, p.serve(w, r, nil)
	}
	s, reason, err := c.session(r)
	if err != nil {
		return nil, err
	}
	if s == nil && reason == "" && fromElsewhere(r) {
		w.Header().Set("Refresh", "0; url="+r.URL.RequestURI())
		return nil, c.render(w, r, http.StatusOK, "signedin", c.page(r, nil, "signedin.wait", ""))
	}
	if s == nil {
		next := ""
		if r.Method == http.MethodGet {
			next = r.URL.RequestURI()
		} else if done, err := receiveForm(w, r, c.strangers); err == nil { // what a person typed while the session ended
			defer done()
		}
		return nil, c.signInForm(w, r, http.StatusUnauthorized, reason, "", next)
	}
	request.Of(r.Context()).Actor = s.caller.Name
	for _, scope := range p.scopes {
		if !s.caller.Can(scope) {
			return s, c.lacks(r, scope)
		}
	}
	done, err := receiveForm(w, r, c.forms)
	if err != nil {
		return s, err
	}
	defer done()
	if !p.long {
		leave, err := c.options.Enter(r.Context())
		if err != nil {
			return s, err
		}
		defer leave()
	}
	return s, p.serve(w, r, s)
}

// lacks refuses what a scope is needed for, and has it recorded.
func (c *Console) lacks(r *http.Request, scope auth.Scope) error {
	err := user.Errorf(user.Forbidden, "this needs the scope %s, which your token does not have", scope)
	c.options.Refused(r, scope, err)
	return err
}

// fromElsewhere says that a link on another site led here. A browser sends no strict cookie then, and does
// once the console's own page leads on.
func fromElsewhere(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// The memory that forms share. A form may be as large as a body of the API, of which each character may take three
// bytes. Those who are not signed in share their own, lest they keep others out: a valid form of a user takes up to about
// 600 KiB, as a character may be sent as twelve bytes, and the values that were shown first are sent too.
var (
	ofForms     = body.Limits{Most: 3 << 20, Total: 6 << 20, Reserved: 1}
	ofStrangers = body.Limits{Most: 1 << 20, Total: 2 << 20, Reserved: 1}
	ofSignIns   = body.Limits{Most: 64 << 10, Total: 1 << 20, Reserved: 1} // a token and what comes with it
)

// receiveForm reads a form into its share of the memory, which it takes until done is called. Other bodies are left to
// the page.
func receiveForm(w http.ResponseWriter, r *http.Request, from *body.Budget) (done func(), err error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || mediaType != "application/x-www-form-urlencoded" {
		_ = r.ParseForm() // the query alone: without it, asking for a value would read a body of several parts
		return func() {}, nil
	}
	sent, done, err := from.Read(w, r)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	if err = r.ParseForm(); err != nil {
		err = user.Errorf(user.Malformed, "the form cannot be read: send it again").Wrap(err)
	} else {
		err = checkText(r.PostForm)
	}
	if err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// typed returns what a person typed into the form of a user, a key or a credential, to be shown when it cannot be
// saved. A secret is not among it.
func typed(r *http.Request) (fields []parameter) {
	for _, field := range typedFields(r.PostForm) {
		if value := r.PostForm.Get(field.Name); strings.TrimSpace(value) != "" {
			fields = append(fields, parameter{field.Value, value})
		}
	}
	return fields
}

// typedFields returns the fields of a form that people type into, with their labels. A form is known by a field that
// no other has.
func typedFields(form url.Values) (fields []parameter) {
	switch {
	case form.Has("metadata"):
		for _, name := range formFields {
			fields = append(fields, parameter{name, text("field." + name)})
		}
	case form.Has("once"):
		fields = []parameter{{"name", text("keys.name.label")}, {"expiresAt", text("keys.expires.label")}, {"models", text("keys.models.label")}}
	case form.Has("provider"):
		fields = []parameter{{"provider", text("credentials.provider")}}
	}
	return fields
}

// serveHome goes to the first page that the session may see.
func (c *Console) serveHome(w http.ResponseWriter, r *http.Request, s *session) error {
	for _, first := range []struct {
		scope auth.Scope
		path  string
	}{{auth.UsersRead, "users"}, {auth.AuditRead, auditView}, {auth.UsersWrite, "users/new"}} {
		if s.caller.Can(first.scope) {
			return redirect(w, r, Path+first.path)
		}
	}
	return user.Errorf(user.Forbidden, "your token allows nothing that the console shows: ask for one with the scope %s", auth.UsersRead)
}

// serveBack leads from the address of a form, which an answer may have left in the browser, to where it was sent from.
func serveBack(w http.ResponseWriter, r *http.Request, _ *session) error {
	to := Path + "users"
	if id := r.PathValue("id"); id != "" && id != "bulk" {
		to += "/" + url.PathEscape(id)
	}
	return redirect(w, r, to)
}

func redirect(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

type errorPage struct {
	page
	Error     *user.Error
	RequestID string
	Typed     []parameter
	List      string // where a form with several users was sent from
}

// fail answers an error as a page.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, s *session, err error) {
	request.Of(r.Context()).Failure = err
	public, status := user.Public(err), request.Status(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "3")
	}
	title := "error." + strconv.Itoa(status)
	if _, ok := texts()[title]; !ok {
		title = "error.title"
	}
	p := errorPage{page: c.page(r, s, title, ""), Error: public, RequestID: request.Of(r.Context()).ID, Typed: typed(r), List: listOf(r)}
	if err := c.render(w, r, status, "error", p); err != nil {
		http.Error(w, "the page cannot be shown: the log has it under the request's id", http.StatusInternalServerError)
	}
}

// ask returns a request to the API's routes on behalf of the session.
func ask(r *http.Request, s *session, method, path string, query url.Values, body io.Reader) *http.Request {
	asked := r.Clone(r.Context())
	asked.Method, asked.URL, asked.RequestURI = method, &url.URL{Path: path, RawQuery: query.Encode()}, ""
	if decoded, err := url.PathUnescape(path); err == nil {
		asked.URL.Path, asked.URL.RawPath = decoded, path
	}
	asked.Header = http.Header{"Authorization": {"Bearer " + s.Token}}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "User-Agent"} {
		if values := r.Header.Values(name); len(values) > 0 {
			asked.Header[name] = values
		}
	}
	asked.Body, asked.ContentLength, asked.Form, asked.PostForm, asked.MultipartForm = http.NoBody, 0, nil, nil, nil
	if body != nil {
		asked.Body, asked.ContentLength = io.NopCloser(body), -1
		asked.Header.Set("Content-Type", "application/json")
	}
	return asked
}
