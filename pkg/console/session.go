package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
)

const (
	sessionTime = 8 * time.Hour
	signInTime  = 10 * time.Minute // at the issuer

	sessionCookie = "ai-admin-session"
	signInCookie  = "ai-admin-signin"

	// A browser keeps at most 4096 bytes of a cookie; an ID token with many groups takes several.
	cookiePart = 3500
	mostParts  = 8
)

// session is a signed-in caller.
type session struct {
	Token string    `json:"token"`
	End   time.Time `json:"end"`
	Own   bool      `json:"own,omitempty"` // the end is the token's

	caller auth.Caller
}

// Can says whether the session's caller has a scope.
func (s *session) Can(scope string) bool { return s != nil && s.caller.Can(auth.Scope(scope)) }

// Name returns the caller's name.
func (s *session) Name() string { return s.caller.Name }

// seal keeps a value in cookies that only this service can read.
func (c *Console) seal(w http.ResponseWriter, r *http.Request, name string, value any, until time.Time) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	sealed, err := c.options.Vault().Seal("console", name, secret.New(string(text)))
	if err != nil {
		return err
	}
	if len(sealed) > cookiePart*mostParts {
		return user.Errorf(user.TooLarge, "the token is too long for a session: ask for one with fewer claims")
	}
	for part := range mostParts {
		from, to := min(part*cookiePart, len(sealed)), min((part+1)*cookiePart, len(sealed))
		switch _, err := r.Cookie(cookieName(r, name, part)); {
		case from < to:
			http.SetCookie(w, cookie(r, name, part, sealed[from:to], time.Until(until)))
		case err == nil: // a longer value's
			http.SetCookie(w, cookie(r, name, part, "", 0))
		}
	}
	return nil
}

// open reads what seal kept.
func (c *Console) open(r *http.Request, name string, into any) bool {
	var sealed strings.Builder
	for part := range mostParts {
		found, err := r.Cookie(cookieName(r, name, part))
		if err != nil {
			break
		}
		sealed.WriteString(found.Value)
	}
	if sealed.Len() == 0 {
		return false
	}
	text, err := c.options.Vault().Open("console", name, sealed.String())
	return err == nil && json.Unmarshal([]byte(text.Reveal()), into) == nil
}

func (c *Console) forget(w http.ResponseWriter, r *http.Request, name string) {
	for part := range mostParts {
		if _, err := r.Cookie(cookieName(r, name, part)); err == nil {
			http.SetCookie(w, cookie(r, name, part, "", 0))
		}
	}
}

// cookieName adds the prefix that binds a cookie to this host. Browsers accept it over TLS only.
func cookieName(r *http.Request, name string, part int) string {
	if request.IsTLS(r) {
		name = "__Host-" + name
	}
	if part > 0 {
		name += "-" + strconv.Itoa(part)
	}
	return name
}

// cookie makes a cookie that lives for age; 0 removes it.
func cookie(r *http.Request, name string, part int, value string, age time.Duration) *http.Cookie {
	made := &http.Cookie{Name: cookieName(r, name, part), Value: value, Path: "/", Secure: request.IsTLS(r), HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int(age / time.Second)}
	if made.MaxAge <= 0 {
		made.MaxAge = -1
	}
	if name == signInCookie { // the issuer's page sends the person back, which is another site
		made.SameSite = http.SameSiteLaxMode
	}
	return made
}

// session reads and authenticates a request's session. It returns nil if there is no valid one, and in
// reason why one ended. An error means that the token cannot be checked at present.
func (c *Console) session(r *http.Request) (s *session, reason string, err error) {
	s = &session{}
	if !c.open(r, sessionCookie, s) {
		return nil, "", nil
	}
	if !time.Now().Before(s.End) {
		if s.Own {
			return nil, "signin.ended", nil
		}
		return nil, "signin.over", nil
	}
	s.caller, err = c.options.Authenticate(r.Context(), "Bearer "+s.Token)
	switch {
	case errors.Is(err, auth.ErrExpired):
		return nil, "signin.ended", nil
	case errors.Is(err, auth.ErrUnauthenticated):
		c.refused(r, err)
		return nil, "signin.revoked", nil
	case err != nil:
		return nil, "", user.Errorf(user.Unavailable, "the token cannot be checked at present: try again shortly").Wrap(err)
	}
	return s, "", nil
}

// begin starts a session for a token.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, token string) error {
	caller, err := c.options.Authenticate(r.Context(), "Bearer "+token)
	if err != nil {
		return err
	}
	begun := session{Token: token, End: time.Now().Add(sessionTime)}
	if begun.Own = !caller.Until.IsZero() && caller.Until.Before(begun.End); begun.Own {
		begun.End = caller.Until
	}
	request.Of(r.Context()).Actor = caller.Name
	if err := c.options.SignedIn(r); err != nil {
		return err
	}
	return c.seal(w, r, sessionCookie, begun, begun.End.Add(endShown))
}

// endShown is how much longer than its session a browser keeps the cookie: by it, a page can say that the session
// has ended, and why.
const endShown = 24 * time.Hour

type signInPage struct {
	page
	Reason  string // why there is no session
	Fault   string
	Next    string
	Issuers []string
	Typed   []parameter
}

// refused records that a token was no good.
func (c *Console) refused(r *http.Request, err error) {
	c.options.Refused(r, "", user.Errorf(user.Unauthenticated, "the token is not valid").Wrap(err))
}

func (c *Console) signInForm(w http.ResponseWriter, r *http.Request, status int, reason, fault, next string) error {
	p := signInPage{page: c.page(r, nil, "signin.title", ""), Reason: reason, Fault: fault, Next: next, Issuers: c.options.SignIn.SignInIssuers(), Typed: typed(r)}
	return c.render(w, r, status, "signin", p)
}

// serveSignIn shows the form, or signs in by the form's token or by a link that signs in once.
func (c *Console) serveSignIn(w http.ResponseWriter, r *http.Request, _ *session) error {
	next := localPath(r.FormValue("next"))
	token := strings.TrimSpace(r.PostFormValue("token"))
	if once := r.URL.Query().Get("once"); once != "" && r.Method == http.MethodGet { // a look at the link (HEAD) does not use it
		if token = c.takeOnce(once); token == "" {
			return c.signInForm(w, r, http.StatusUnauthorized, "", "signin.used", next)
		}
	} else if r.Method != http.MethodPost {
		return c.signInForm(w, r, http.StatusOK, "", "", next)
	}
	err := c.begin(w, r, token)
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		c.refused(r, err)
		fault := "signin.wrong"
		if errors.Is(err, auth.ErrExpired) {
			fault = "signin.expired"
		}
		return c.signInForm(w, r, http.StatusUnauthorized, "", fault, next)
	case err != nil:
		return err
	}
	return redirect(w, r, next)
}

// takeOnce returns the token of the link that signs in once, on its first use.
func (c *Console) takeOnce(code string) string {
	once := c.once.Load()
	if once == nil || !sameText(once.Code.Reveal(), code) || !c.once.CompareAndSwap(once, nil) {
		return ""
	}
	return once.Token.Reveal()
}

// serveIssuer sends a person to the issuer.
func (c *Console) serveIssuer(w http.ResponseWriter, r *http.Request, _ *session) error {
	back := request.Base(r) + Path + "signin/callback"
	to, kept, err := c.options.SignIn.BeginSignIn(r.Context(), r.URL.Query().Get("issuer"), back)
	if err != nil {
		return c.signInFailed(w, r, err)
	}
	if err := c.seal(w, r, signInCookie, kept, time.Now().Add(signInTime)); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// serveCallback ends a sign-in at an issuer. It answers with a page that moves on by itself: a redirect
// would still belong to the issuer's navigation, and the browser would send no strict cookie with it.
func (c *Console) serveCallback(w http.ResponseWriter, r *http.Request, _ *session) error {
	var kept auth.SignIn
	query := r.URL.Query()
	if !c.open(r, signInCookie, &kept) || !sameText(kept.State, query.Get("state")) {
		return c.signInForm(w, r, http.StatusBadRequest, "", "signin.state", "")
	}
	c.forget(w, r, signInCookie)
	if query.Get("error") != "" || query.Get("code") == "" {
		return c.signInForm(w, r, http.StatusUnauthorized, "", "signin.refused", "")
	}
	token, err := c.options.SignIn.EndSignIn(r.Context(), kept, query.Get("code"))
	if err == nil {
		err = c.begin(w, r, token)
	}
	if err != nil {
		return c.signInFailed(w, r, err)
	}
	w.Header().Set("Refresh", "0; url="+Path)
	return c.render(w, r, http.StatusOK, "signedin", c.page(r, nil, "signedin.title", ""))
}

func (c *Console) signInFailed(w http.ResponseWriter, r *http.Request, err error) error {
	if errors.Is(err, auth.ErrUnauthenticated) {
		c.refused(r, err)
		return c.signInForm(w, r, http.StatusUnauthorized, "", "signin.refused", "")
	}
	request.Of(r.Context()).Failure = err
	return c.signInForm(w, r, http.StatusServiceUnavailable, "", "signin.away", "")
}

func (c *Console) serveSignOut(w http.ResponseWriter, r *http.Request, _ *session) error {
	c.forget(w, r, sessionCookie)
	return redirect(w, r, Path+"signin")
}

// localPath returns a path of the console that a form carries; anything else leads to the first page.
func localPath(to string) string {
	at, err := url.Parse(to)
	if err != nil || at.Host != "" || at.Scheme != "" || !strings.HasPrefix(path.Clean(at.Path)+"/", Path) || strings.Contains(to, "\\") {
		return Path
	}
	return to
}
