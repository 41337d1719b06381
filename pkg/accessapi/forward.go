package accessapi

import (
	"bytes"
	"cmp"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiadmin/pkg/access"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// The headers of an allowed check, in the form that net/http keeps them in.
const (
	headerUser       = "X-Ai-User"
	headerTag        = "X-Ai-User-Tag"
	headerRole       = "X-Ai-Role"
	headerKey        = "X-Ai-Key"
	headerModel      = "X-Ai-Model"
	headerRequests   = "X-Ai-Requests-Per-Minute"
	headerTokens     = "X-Ai-Tokens-Per-Minute"
	headerBudget     = "X-Ai-Monthly-Budget-Usd"
	headerVersion    = "X-Ai-Version"
	headerCredential = "X-Ai-Credential"
)

// Further headers of a check.
const (
	headerSubject      = "X-Ai-Subject"
	headerGatewayToken = "X-Ai-Gateway-Token" //nolint:gosec // a header's name
	headerEnvoyModel   = "X-Ai-Eg-Model"
	headerEnvoyPartial = "X-Envoy-Auth-Partial-Body"
)

// keyHeaders are where clients put keys, besides Authorization.
var keyHeaders = []string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"}

// varies names every header that decides, for gateways that cache.
const varies = "Authorization, x-api-key, api-key, x-goog-api-key, X-AI-Subject, X-AI-Gateway-Token, X-AI-Model, x-ai-eg-model"

// none is the header's value for an absent key or credential. Gateways mishandle missing headers, so
// each is always set.
const none = "none"

// bodyTime is how long a body may take to arrive.
const bodyTime = 30 * time.Second

// authorize answers a forward authorization; rest is the path after the prefix.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request, rest string) {
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		// net/http reads what is left of a body before it answers, and waits for one that was
		// declared and never comes. It does not when the connection ends with the answer.
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Cache-Control", "no-store")
	provider, ok := providerOf(rest)
	if !ok {
		request.Of(r.Context()).Describe(authorizePath, "", false)
		err := user.Errorf(user.NotFound, "name a provider, or _ for none: %s/_", authorizePath)
		request.Fail(w, r, request.Status(err), err)
		return
	}
	by, err := h.gatewayOf(r)
	request.Of(r.Context()).Describe(authorizePath, by.name, true)
	if err != nil {
		h.fail(w, r, by, err)
		return
	}
	d, cached, err := h.forward(w, r, by, provider)
	if err != nil {
		h.fail(w, r, by, err)
		return
	}
	h.record(r.Context(), "forward", by, &d)
	if !d.Allowed() {
		h.refuse(w, r, &d)
		return
	}
	h.allow(w, &d, cached)
}

// providerOf reads what follows the prefix: the provider, "" for none, and anything.
func providerOf(rest string) (provider string, ok bool) {
	if rest == "" {
		return "", true
	}
	segment, _, _ := strings.Cut(rest[1:], "/")
	provider, err := url.PathUnescape(segment)
	if err != nil || provider == "" {
		return "", false
	}
	if provider == "_" {
		return "", true
	}
	return provider, true
}

// gatewayOf judges the gateway's token.
func (h *Handler) gatewayOf(r *http.Request) (gateway, error) {
	tokens := r.Header[headerGatewayToken]
	if len(tokens) == 0 && h.options.Settings().TokenOptional && len(r.Header[headerSubject]) == 0 {
		return gateway{name: "self"}, nil // a key asks about itself
	}
	authorization := ""
	if len(tokens) > 0 {
		authorization = "Bearer " + strings.Join(tokens, ", ") // of two, neither is taken
	}
	by, err := h.identify(r.Context(), authorization)
	if user.KindOf(err) == user.Unauthenticated {
		err = user.Errorf(user.Unauthenticated, "the gateway's token is missing or not valid: send one in X-AI-Gateway-Token").Wrap(err)
	}
	return by, err
}

// forward puts a request's question, and says whether its headers alone decide.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, by gateway, provider string) (d access.Decision, cached bool, err error) {
	q := access.Question{Gateway: by.name, InHeader: true}
	if reason := readCaller(r.Header, &q); reason != "" {
		return refused(reason), false, nil
	}
	if by.reveals {
		q.Provider = provider
	}
	q.Model, cached = h.readModel(w, r)
	decisions, err := h.options.Checker.Check(r.Context(), []access.Question{q}, access.ExecuteAll)
	if err != nil {
		return d, cached, err
	}
	return decisions[0], cached, nil
}

// readCaller finds who is calling: exactly one key, or one subject.
func readCaller(header http.Header, q *access.Question) access.Reason {
	keys := keysIn(header)
	subjects := header[headerSubject]
	switch {
	case len(keys)+len(subjects) != 1 || len(header["Authorization"]) > 1:
		return access.InvalidKey
	case len(subjects) == 1:
		return readSubject(subjects[0], q)
	}
	secret, ok := access.ParseSecret(keys[0])
	if !ok {
		return access.InvalidKey
	}
	hash := secret.Hash()
	q.KeyHash = &hash
	return ""
}

// keysIn returns every key that a request brings. An Authorization header of another scheme than
// Bearer brings none.
func keysIn(header http.Header) (keys []string) {
	for _, value := range header["Authorization"] {
		if scheme, token, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") {
			keys = append(keys, strings.Trim(token, " "))
		}
	}
	for _, name := range keyHeaders {
		keys = append(keys, header[name]...)
	}
	return keys
}

func readSubject(text string, q *access.Question) access.Reason {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return access.UnknownSubject
	}
	var ok bool
	if q.Subject, ok = access.ParseSubject(plain); !ok {
		return access.UnknownSubject
	}
	return ""
}

// readModel finds the model that is asked for, and says whether it came from headers.
func (h *Handler) readModel(w http.ResponseWriter, r *http.Request) (model access.Model, fromHeader bool) {
	if values := r.Header[headerModel]; len(values) > 0 {
		if len(values) == 1 && values[0] == access.AnyModel.Name {
			return access.AnyModel, true
		}
		return oneModel(values), true
	}
	if values := r.Header[headerEnvoyModel]; len(values) > 0 {
		return oneModel(values), true
	}
	if r.Method != http.MethodPost || r.Body == nil || r.Body == http.NoBody {
		return access.Model{}, true
	}
	return h.bodyModel(w, r), false
}

func oneModel(values []string) access.Model {
	if len(values) != 1 {
		return access.Model{}
	}
	return access.ModelNamed(values[0])
}

// bodyModel reads the body to its end. One that is declared too large is not read at all.
func (h *Handler) bodyModel(w http.ResponseWriter, r *http.Request) access.Model {
	if r.ContentLength > access.MaxBody {
		return access.Model{}
	}
	end, _ := r.Context().Deadline() // zero, which is never, without one
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // not all writers of tests have one
	defer func() { _ = control.SetReadDeadline(end) }()
	body := &separated{Reader: r.Body}
	model, whole := access.BodyModel(body)
	if whole {
		w.Header().Del("Connection")
	}
	if partial(r.Header[headerEnvoyPartial]) || ambiguous(r.Header, body.several) {
		return access.Model{}
	}
	return model
}

// partial reports whether Envoy says that a body is not whole.
func partial(values []string) bool {
	return len(values) > 1 || len(values) == 1 && values[0] != "false"
}

// ambiguous reports whether a provider could read a body otherwise than as JSON in UTF-8: as a form, in another
// charset, or decoded. Some programs declare JSON as a form unless they are told otherwise; a form can name another
// model only behind a separator.
func ambiguous(header http.Header, separated bool) bool {
	for _, declared := range header["Content-Type"] {
		mediaType, parameters, err := mime.ParseMediaType(declared)
		charset := cmp.Or(parameters["charset"], "utf-8")
		if err != nil || !strings.EqualFold(charset, "utf-8") || separated && strings.Contains(mediaType, "form") {
			return true
		}
	}
	return slices.ContainsFunc(header["Content-Encoding"], func(coding string) bool { return !strings.EqualFold(coding, "identity") })
}

// separated notes whether a form would have several members.
type separated struct {
	io.Reader
	several bool
}

func (s *separated) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.several = s.several || bytes.ContainsAny(p[:n], "&;")
	return n, err
}

// refuse answers a refusal: a problem, with none of the headers of an allowed check.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, d *access.Decision) {
	status := http.StatusForbidden
	if d.Reason == access.InvalidKey {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	request.Fail(w, r, status, user.Errorf(user.Kind(d.Reason), "%s", d.Message))
}

// fail answers what is no decision: the gateway's token, the database.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, by gateway, err error) {
	status := request.Status(err)
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		h.logFailure(r, by, err)
	} else {
		request.Of(r.Context()).Describe(authorizePath, by.name, false)
	}
	outcome := string(user.KindOf(err))
	if request.Abandoned(r, err) {
		outcome = "abandoned"
	}
	h.options.Observe("forward", outcome)
	request.Fail(w, r, status, err)
}

// allow answers with what the gateway needs to go on: every header, always.
func (h *Handler) allow(w http.ResponseWriter, d *access.Decision, cached bool) {
	header := w.Header()
	set := func(name, value string) { header[name] = []string{value} }
	set(headerUser, d.Subject.ID.String())
	set(headerTag, d.Subject.Tag)
	set(headerRole, string(d.Subject.Role))
	set(headerKey, none)
	if d.Key != nil {
		set(headerKey, d.Key.ID.String())
	}
	set(headerModel, "unknown")
	if d.Model.Known() {
		set(headerModel, d.Model.Name)
	}
	set(headerRequests, limit(d.Subject.Limits.RequestsPerMinute))
	set(headerTokens, limit(d.Subject.Limits.TokensPerMinute))
	set(headerBudget, unlimited)
	if budget := d.Subject.Limits.MonthlyBudgetUSD; budget != nil {
		set(headerBudget, budget.String())
	}
	set(headerVersion, strconv.FormatInt(d.Subject.Version, 10))
	set(headerCredential, none)
	if d.Credential != nil {
		set(headerCredential, d.Credential.Reveal())
	}
	if age := h.maxAge(d, time.Now()); cached && age > 0 {
		set("Cache-Control", "max-age="+strconv.FormatInt(age, 10))
		set("Vary", varies)
	}
	header["Content-Length"] = []string{"0"}
	w.WriteHeader(http.StatusOK)
}

const unlimited = "unlimited"

func limit(n *int64) string {
	if n == nil {
		return unlimited
	}
	return strconv.FormatInt(*n, 10)
}

// maxAge is how many seconds a gateway may cache an allowed check: never one with a credential in
// it, and never past the time when something expires.
func (h *Handler) maxAge(d *access.Decision, now time.Time) int64 {
	age := h.options.Settings().MaxAge
	if d.Credential != nil {
		return 0
	}
	if !d.Until.IsZero() {
		age = min(age, d.Until.Sub(now))
	}
	return max(0, int64(age/time.Second))
}
