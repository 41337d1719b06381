package accessapi

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// maxEvaluations bounds the questions of one request.
const maxEvaluations = 1000

// evaluation is a request of the Access Evaluation API (AuthZEN Authorization API 1.0, section 6.1),
// or an element of one of the Access Evaluations API. Members that are not known are ignored.
type evaluation struct {
	Subject  jsontext.Value `json:"subject"`
	Action   jsontext.Value `json:"action"`
	Resource jsontext.Value `json:"resource"`
	Context  jsontext.Value `json:"context"`
}

// evaluations is a request of the Access Evaluations API (section 7.1). The members of evaluation
// are defaults for its elements.
type evaluations struct {
	evaluation

	Evaluations []jsontext.Value `json:"evaluations"`
	Options     struct {
		Semantic *string `json:"evaluations_semantic"`
	} `json:"options"`
}

// The answers (sections 6.2 and 7.2).
type (
	answer struct {
		Decision bool `json:"decision"`
		Context  any  `json:"context"`
	}
	answers struct {
		Evaluations []answer `json:"evaluations"`
	}
	refusal struct {
		Reason struct {
			Code    access.Reason `json:"code"`
			Message string        `json:"message"`
		} `json:"reason"`
	}
	// fault says that one of several evaluations does not fit (section 7.2.1).
	fault struct {
		Error struct {
			Status  int    `json:"status"`
			Message string `json:"message"`
		} `json:"error"`
	}
	grant struct {
		User       grantUser        `json:"user"`
		Key        *grantKey        `json:"key"`
		Limits     grantLimits      `json:"limits"`
		Version    int64            `json:"version"`
		Credential *grantCredential `json:"credential,omitempty"`
	}
	grantUser struct {
		ID   uuid.UUID `json:"id"`
		Tag  string    `json:"tag"`
		Role user.Role `json:"role"`
	}
	grantKey struct {
		ID uuid.UUID `json:"id"`
	}
	grantLimits struct {
		RequestsPerMinute *int64         `json:"requestsPerMinute"`
		TokensPerMinute   *int64         `json:"tokensPerMinute"`
		MonthlyBudgetUSD  jsontext.Value `json:"monthlyBudgetUSD"`
	}
	grantCredential struct {
		Provider string `json:"provider"`
		Secret   string `json:"secret"`
	}
)

// evaluate answers a request of the Access Evaluation or the Access Evaluations API.
func (h *Handler) evaluate(w http.ResponseWriter, r *http.Request, path string) {
	echoRequestID(w, r)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		h.wrongMethod(w, r, path, http.MethodPost)
		return
	}
	by, err := h.identify(r.Context(), joined(r.Header["Authorization"]))
	request.Of(r.Context()).Describe(path, by.name, err == nil)
	if err != nil {
		h.failText(w, r, by, err)
		return
	}
	text, leave, err := h.readRequest(w, r)
	if err != nil {
		h.failText(w, r, by, err)
		return
	}
	defer leave()
	reply, err := h.decide(r, by, path, text)
	if err != nil {
		h.failText(w, r, by, err)
		return
	}
	var out bytes.Buffer
	if err := json.MarshalWrite(&out, reply); err != nil {
		h.failText(w, r, by, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes()) // it fails when the client is gone
}

// joined makes one value of a header's: of two, neither is taken.
func joined(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	if len(values) == 0 {
		return ""
	}
	return "Bearer "
}

// echoRequestID answers with the request's identifier as it came, whatever it is (section 10.1.8).
func echoRequestID(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		w.Header().Set("X-Request-Id", id)
	}
}

func (h *Handler) readRequest(w http.ResponseWriter, r *http.Request) ([]byte, func(), error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, nil, user.Errorf(user.Malformed, "send Content-Type: application/json")
	}
	return h.bodies.Read(w, r)
}

// decide answers the request in text.
func (h *Handler) decide(r *http.Request, by gateway, path string, text []byte) (any, error) {
	var request evaluations
	if err := decode(text, "", &request); err != nil {
		return nil, err
	}
	if path == evaluationPath || len(request.Evaluations) == 0 {
		q, reason, err := request.question(by)
		if err != nil {
			return nil, err
		}
		answered, err := h.ask(r, by, []item{{question: q, reason: reason}}, access.ExecuteAll)
		if err != nil {
			return nil, err
		}
		return answered[0], nil
	}
	semantic, err := request.semantic()
	if err != nil {
		return nil, err
	}
	answered, err := h.ask(r, by, request.items(by), semantic)
	return answers{answered}, err
}

// semantic says which of the evaluations are answered (section 7.1.2.1).
func (e *evaluations) semantic() (access.Semantic, error) {
	if len(e.Evaluations) > maxEvaluations {
		return "", user.Errorf(user.Malformed, "evaluations has %d elements: send at most %d", len(e.Evaluations), maxEvaluations)
	}
	if e.Options.Semantic == nil {
		return access.ExecuteAll, nil
	}
	semantic := access.Semantic(*e.Options.Semantic)
	if !slices.Contains([]access.Semantic{access.ExecuteAll, access.DenyOnFirstDeny, access.PermitOnFirstPermit}, semantic) {
		return "", user.Errorf(user.Malformed, "options.evaluations_semantic must be execute_all, deny_on_first_deny or permit_on_first_permit")
	}
	return semantic, nil
}

// item is one evaluation: a question, or what answers it without one.
type item struct {
	question access.Question
	reason   access.Reason // refused for how the subject is spelled
	err      error         // it does not fit
}

func (e *evaluations) items(by gateway) []item {
	items := make([]item, len(e.Evaluations))
	for i, text := range e.Evaluations {
		var one evaluation
		if items[i].err = decode(text, "", &one); items[i].err == nil {
			one.fill(e.evaluation)
			items[i].question, items[i].reason, items[i].err = one.question(by)
		}
	}
	return items
}

// fill takes members that are absent from the defaults (section 7.1.1).
func (e *evaluation) fill(defaults evaluation) {
	for _, member := range [][2]*jsontext.Value{{&e.Subject, &defaults.Subject}, {&e.Action, &defaults.Action},
		{&e.Resource, &defaults.Resource}, {&e.Context, &defaults.Context}} {
		if *member[0] == nil {
			*member[0] = *member[1]
		}
	}
}

// ask answers items in their order, with one look at the database for all of them.
func (h *Handler) ask(r *http.Request, by gateway, items []item, semantic access.Semantic) ([]answer, error) {
	items = items[:asked(items, semantic)]
	var questions []access.Question
	for _, one := range items {
		if one.err == nil && one.reason == "" {
			questions = append(questions, one.question)
		}
	}
	var decisions []access.Decision
	if len(questions) > 0 {
		var err error
		if decisions, err = h.options.Checker.Check(r.Context(), questions, semantic); err != nil {
			return nil, err
		}
	}
	var answered []answer
	for _, one := range items {
		d := refused(one.reason)
		if one.err == nil && one.reason == "" {
			if len(decisions) == 0 {
				break
			}
			d, decisions = decisions[0], decisions[1:]
		}
		if one.err != nil {
			answered = append(answered, misfit(one.err))
			continue
		}
		h.record(r.Context(), "authzen", by, &d)
		answered = append(answered, answerOf(&d, one.question.Provider))
		if semantic.Ends(&d) {
			break
		}
	}
	return answered, nil
}

// asked is how many items need to be looked at: none after one that is refused by itself, when
// that ends the semantic.
func asked(items []item, semantic access.Semantic) int {
	if semantic != access.DenyOnFirstDeny {
		return len(items)
	}
	first := slices.IndexFunc(items, func(one item) bool { return one.err != nil || one.reason != "" })
	if first < 0 {
		return len(items)
	}
	return first + 1
}

func misfit(err error) answer {
	var f fault
	f.Error.Status, f.Error.Message = http.StatusBadRequest, user.Public(err).Message
	return answer{Context: f}
}

func answerOf(d *access.Decision, provider string) answer {
	if !d.Allowed() {
		var r refusal
		r.Reason.Code, r.Reason.Message = d.Reason, d.Message
		return answer{Context: r}
	}
	g := grant{User: grantUser{d.Subject.ID, d.Subject.Tag, d.Subject.Role}, Version: d.Subject.Version,
		Limits: grantLimits{d.Subject.Limits.RequestsPerMinute, d.Subject.Limits.TokensPerMinute, jsontext.Value("null")}}
	if budget := d.Subject.Limits.MonthlyBudgetUSD; budget != nil {
		g.Limits.MonthlyBudgetUSD = jsontext.Value(budget.String())
	}
	if d.Key != nil {
		g.Key = &grantKey{d.Key.ID}
	}
	if d.Credential != nil {
		g.Credential = &grantCredential{provider, d.Credential.Reveal()}
	}
	return answer{Decision: true, Context: g}
}

// question reads an evaluation. Its error says why the evaluation does not fit; the reason is
// that of a subject that can be nobody.
func (e *evaluation) question(by gateway) (q access.Question, reason access.Reason, err error) {
	q.Gateway = by.name
	if reason, err = e.subject(&q); err != nil {
		return q, "", err
	}
	var action struct {
		Name *string `json:"name"`
	}
	if err := decode(e.Action, "action", &action); err != nil {
		return q, "", err
	}
	if action.Name == nil || *action.Name != "use" {
		return q, "", user.Errorf(user.Malformed, `action.name must be "use"`)
	}
	if err := e.resource(&q); err != nil {
		return q, "", err
	}
	return q, reason, e.reveal(by, &q)
}

func (e *evaluation) resource(q *access.Question) error {
	var resource struct {
		Type *string `json:"type"`
		ID   *string `json:"id"`
	}
	if err := decode(e.Resource, "resource", &resource); err != nil {
		return err
	}
	switch {
	case resource.Type == nil || *resource.Type != "model":
		return user.Errorf(user.Malformed, `resource.type must be "model"`)
	case resource.ID == nil:
		return user.Errorf(user.Malformed, "resource.id must be a string: the model's name, or * for a listing of models")
	case *resource.ID == access.AnyModel.Name:
		q.Model = access.AnyModel
	default:
		q.Model = access.ModelNamed(*resource.ID)
	}
	return nil
}

// reveal reads whose credential is wanted. Without the scope for it, none is.
func (e *evaluation) reveal(by gateway, q *access.Question) error {
	if e.Context == nil {
		return nil
	}
	var context struct {
		Reveal *string `json:"reveal"`
	}
	if err := decode(e.Context, "context", &context); err != nil {
		return err
	}
	if context.Reveal != nil && by.reveals {
		q.Provider = *context.Reveal
	}
	return nil
}

func (e *evaluation) subject(q *access.Question) (access.Reason, error) {
	var subject struct {
		Type       *string `json:"type"`
		ID         *string `json:"id"`
		Properties struct {
			Secret     *string `json:"secret"`
			Tag        *string `json:"tag"`
			Email      *string `json:"email"`
			UserName   *string `json:"userName"`
			ExternalID *string `json:"externalId"`
		} `json:"properties"`
	}
	if err := decode(e.Subject, "subject", &subject); err != nil {
		return "", err
	}
	if subject.Type == nil {
		return "", user.Errorf(user.Malformed, `subject.type must be "user" or "key"`)
	}
	p := subject.Properties
	switch *subject.Type {
	case "key":
		return keySubject(q, subject.ID, p.Secret)
	case "user":
		return userSubject(q, subject.ID, map[string]*string{"tag": p.Tag, "email": p.Email, "userName": p.UserName, "externalId": p.ExternalID})
	default:
		return "", user.Errorf(user.Malformed, `subject.type must be "user" or "key"`)
	}
}

// keySubject names a key by its hash or by its secret, or by both if they are of one key.
func keySubject(q *access.Question, id, secret *string) (access.Reason, error) {
	switch {
	case secret != nil:
		parsed, ok := access.ParseSecret(*secret)
		if !ok {
			return access.InvalidKey, nil
		}
		hash := parsed.Hash()
		if id != nil {
			if named, ok := access.ParseHash(*id); ok && named != hash {
				return access.InvalidKey, nil
			}
		}
		q.KeyHash = &hash
	case id != nil:
		hash, ok := access.ParseHash(*id)
		if !ok {
			return access.InvalidKey, nil
		}
		q.KeyHash = &hash
	default:
		return "", user.Errorf(user.Malformed, `name the key by subject.id "sha256:…" or by subject.properties.secret`)
	}
	return "", nil
}

// userSubject names a user by id or else by one of its properties.
func userSubject(q *access.Question, id *string, properties map[string]*string) (access.Reason, error) {
	var ok bool
	if id != nil {
		if q.Subject, ok = access.ParseSubject("id:" + *id); ok {
			return "", nil
		}
	}
	given := 0
	for field, value := range properties {
		if value != nil {
			q.Subject, ok = access.ParseSubject(field + ":" + *value)
			given++
		}
	}
	switch {
	case given > 1 || given == 0 && id == nil:
		return "", user.Errorf(user.Malformed, "name the user by a UUID in subject.id, or by one of tag, email, userName and externalId in subject.properties")
	case !ok:
		return access.UnknownSubject, nil
	}
	return "", nil
}

// decode reads a JSON object strictly but for members that are not known. Its errors name the
// place and never quote the text, which may hold a secret.
func decode(text jsontext.Value, path string, into any) error {
	if text == nil || text.Kind() != '{' {
		return user.Errorf(user.Malformed, "%s must be a JSON object", place(path, ""))
	}
	err := json.Unmarshal(text, into)
	if err == nil {
		return nil
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		return user.Errorf(user.Malformed, "%s has a value of the wrong type", place(path, semantic.JSONPointer))
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return user.Errorf(user.Malformed, "a member's name is given twice in one JSON object")
	}
	return user.Errorf(user.Malformed, "the body is not valid JSON in UTF-8")
}

// place names a member by its path, cut where a client could make it long.
func place(path string, pointer jsontext.Pointer) string {
	const most = 100
	for token := range pointer.Tokens() {
		if path != "" {
			path += "."
		}
		path += token
	}
	if path == "" {
		return "the body"
	}
	return path[:min(len(path), most)]
}

// failText answers an error as the specification words it: a message in plain text, for the
// statuses that it knows (section 10.1.7). The others are problems, as everywhere.
func (h *Handler) failText(w http.ResponseWriter, r *http.Request, by gateway, err error) {
	status := request.Status(err)
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
	default:
		request.Of(r.Context()).Describe(r.URL.EscapedPath(), by.name, false)
		request.Fail(w, r, status, err)
		return
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="ai-admin"`)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, user.Public(err).Message)
}

func (h *Handler) wrongMethod(w http.ResponseWriter, r *http.Request, path, allow string) {
	request.Of(r.Context()).Describe(path, "", false)
	w.Header().Set("Allow", allow)
	err := user.Errorf(user.MethodNotAllowed, "this route takes %s", allow)
	request.Fail(w, r, request.Status(err), err)
}

// configuration answers the metadata of the policy decision point (section 9). Its addresses are
// those that the client used.
func (h *Handler) configuration(w http.ResponseWriter, r *http.Request) {
	echoRequestID(w, r)
	request.Of(r.Context()).Describe(configurationPath, "", false)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.wrongMethod(w, r, configurationPath, "GET, HEAD")
		return
	}
	base := request.Base(r)
	out, err := json.Marshal(struct {
		PDP         string `json:"policy_decision_point"`
		Evaluation  string `json:"access_evaluation_endpoint"`
		Evaluations string `json:"access_evaluations_endpoint"`
	}{base, base + evaluationPath, base + evaluationsPath})
	if err != nil {
		request.Fail(w, r, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	w.Header().Set("Vary", "X-Forwarded-Proto, Forwarded")
	_, _ = w.Write(out) // it fails when the client is gone
}
