package console

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/auth"
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
}

// New makes the handler. Nothing is parsed before the first page is asked for.
func New(options Options) *Console {
	c := &Console{options: options, origins: http.NewCrossOriginProtection(), mux: http.NewServeMux()}
	c.once.Store(options.Once)
	for pattern, p := range c.pages() {
		method, path, _ := strings.Cut(pattern, " ")
		c.mux.Handle(method+" "+Path+path, c.handle(p))
	}
	c.mux.Handle("/", c.handle(place{open: true, serve: c.serveNowhere}))
	return c
}

// serveNowhere answers what is no page. A signed-in person keeps the navigation.
func (c *Console) serveNowhere(w http.ResponseWriter, r *http.Request, _ *session) error {
	if r.URL.Path+"/" == Path {
		return redirect(w, r, Path)
	}
	s, _, _ := c.session(r)
	c.fail(w, r, s, user.Errorf(user.NotFound, "there is no such page"))
	return nil
}

// place is what one method of one path does.
type place struct {
	scope auth.Scope
	serve func(http.ResponseWriter, *http.Request, *session) error
	open  bool // to those who are not signed in, too
	long  bool // takes no place of the concurrent requests: it calls the API's routes, which take their own, or it lasts
}

func (c *Console) pages() map[string]place {
	read := func(serve func(http.ResponseWriter, *http.Request, *session) error) place {
		return place{scope: auth.UsersRead, serve: serve}
	}
	write := func(serve func(http.ResponseWriter, *http.Request, *session) error) place {
		return place{scope: auth.UsersWrite, serve: serve}
	}
	routed := func(scope auth.Scope, serve func(http.ResponseWriter, *http.Request, *session) error) place {
		return place{scope: scope, serve: serve, long: true}
	}
	return map[string]place{
		"GET {$}":             {serve: c.serveHome},
		"GET signin":          {serve: c.serveSignIn, open: true},
		"POST signin":         {serve: c.serveSignIn, open: true},
		"GET signin/issuer":   {serve: c.serveIssuer, open: true},
		"GET signin/callback": {serve: c.serveCallback, open: true},
		"POST signout":        {serve: c.serveSignOut, open: true},
		"GET assets/{name}":   {serve: serveAsset, open: true},

		"GET users":             read(c.serveUsers),
		"GET users/export":      routed(auth.UsersRead, c.serveExport),
		"POST users/bulk":       routed(auth.UsersRead, c.confirmBulk),
		"GET users/bulk":        read(serveBack),
		"POST users/bulk/apply": {scope: auth.UsersWrite, serve: c.applyBulk, long: true},
		"GET users/new":         write(c.serveNew),
		"POST users/new":        write(c.createUser),

		"GET users/{id}":                                read(c.serveUser),
		"POST users/{id}":                               write(c.saveUser),
		"POST users/{id}/status":                        write(c.setStatus),
		"GET users/{id}/{form...}":                      read(serveBack),
		"GET users/{id}/delete":                         write(c.serveDelete),
		"POST users/{id}/delete":                        write(c.deleteUser),
		"GET users/{id}/models":                         read(c.serveModels),
		"POST users/{id}/credentials":                   write(c.setCredential),
		"POST users/{id}/credentials/{provider}/remove": write(c.removeCredential),
		"POST users/{id}/credentials/{provider}/reveal": routed(auth.CredentialsRead, c.revealCredential),
		"POST users/{id}/keys":                          routed(auth.KeysWrite, c.issueKey),
		"POST users/{id}/keys/{key}/{action}":           routed(auth.KeysWrite, c.changeKey),

		"GET import":         write(c.serveImport),
		"POST import":        routed(auth.UsersWrite, c.importUsers),
		"POST import/stream": routed(auth.UsersWrite, c.streamImport),
		"POST import/failed": write(c.failedLines),

		"GET activity":   {serve: c.serveActivity, long: true}, // one scope for each of its views
		"GET feed":       routed(auth.UsersRead, c.serveFeed),
		"GET keys":       routed(auth.UsersRead, c.serveKeys),
		"POST keys":      routed(auth.UsersRead, c.findKey),
		"GET operation":  read(c.serveOperation),
		"POST operation": {scope: auth.Admin, serve: c.resend},
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
	c.mux.ServeHTTP(w, r)
}

func (c *Console) handle(p place) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := c.serve(w, r, p)
		if err != nil {
			c.fail(w, r, s, err)
		}
	})
}

// serve finds the session, checks what it may do, and serves the page.
func (c *Console) serve(w http.ResponseWriter, r *http.Request, p place) (*session, error) {
	if p.open {
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
		}
		return nil, c.signInForm(w, r, http.StatusUnauthorized, reason, "", next)
	}
	request.Of(r.Context()).Actor = s.caller.Name
	if p.scope != "" && !s.caller.Can(p.scope) {
		return s, c.lacks(r, p.scope)
	}
	if !p.long {
		if r.Method == http.MethodPost {
			if err := parseForm(w, r); err != nil {
				return s, err
			}
		}
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

// maxForm bounds a form in bytes: as much as a body of the API, of which each character may take three.
const maxForm = 3 << 20

func parseForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return user.Errorf(user.TooLarge, "the form is over 3 MiB")
	}
	if err != nil {
		return user.Errorf(user.Malformed, "the form cannot be read: send it again").Wrap(err)
	}
	return nil
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
}

// fail answers an error as a page.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, s *session, err error) {
	request.Of(r.Context()).Failure = err
	public, status := user.Public(err), request.Status(err)
	if user.KindOf(err) == user.NotFound {
		status = http.StatusNotFound
	}
	title := "error." + strconv.Itoa(status)
	if _, ok := texts()[title]; !ok {
		title = "error.title"
	}
	p := errorPage{page: c.page(r, s, title, ""), Error: public, RequestID: request.Of(r.Context()).ID}
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
