package access

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
)

// Reason says why a caller may not use a model, in the words that gateways read as errorCode. The
// zero Reason means that it may.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	InvalidKey      Reason = "INVALID_KEY"
	UnknownSubject  Reason = "UNKNOWN_SUBJECT"
	UserSuspended   Reason = "SUSPENDED"
	UserExpired     Reason = "EXPIRED"
	ModelRequired   Reason = "MODEL_REQUIRED"
	ModelNotAllowed Reason = "MODEL_NOT_ALLOWED"
	LimitZero       Reason = "LIMIT_ZERO"
	NoCredential    Reason = "NO_CREDENTIAL"
)

// messages tell people what is wrong and what to do.
var messages = map[Reason]string{
	InvalidKey:     "the API key is not valid: send one active key, once, and nothing else that says who is calling",
	UnknownSubject: "no user is known by this subject: send id:, tag:, email:, userName: or externalId: and a value",
	UserSuspended:  "the user is suspended: an administrator can reactivate them",
	UserExpired:    "the user's access has expired: an administrator can extend it",
	ModelRequired:  "the model is not known, and this caller may not use all: name one model",
	LimitZero:      "a limit of this user is 0: an administrator can raise it",
	NoCredential:   "no credential for this provider can be handed out: an administrator can store one for the user",
}

// Model is the model that a caller asks for. The zero Model is unknown.
type Model struct {
	Name string
	// Any asks for no model in particular, as a listing of models does; Name is then "*".
	Any bool
}

// AnyModel is allowed when the caller may use any model at all.
var AnyModel = Model{Name: "*", Any: true}

// maxModel bounds a model's name, in bytes: 128 characters are the longest in a list.
const maxModel = 1024

// ModelNamed returns the model of that name. It is the unknown one when no header could carry the
// name back as it came: empty, too long, not UTF-8, with control characters or outer spaces.
func ModelNamed(name string) Model {
	if len(name) > maxModel || strings.TrimSpace(name) != name || !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) {
		return Model{}
	}
	return Model{Name: name}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Known says whether the caller's model was told.
func (m Model) Known() bool { return m.Name != "" }

// Subject is what a check needs of a user.
type Subject struct {
	ID        uuid.UUID
	Tag       string
	Role      user.Role
	Status    user.Status
	ExpiresAt *time.Time // from then on the user may use nothing
	Models    Models
	Limits    user.Limits
	Version   int64
}

// Key is what a check needs of a key.
type Key struct {
	ID        uuid.UUID
	Disabled  bool
	Models    Models     // narrows the user's
	ExpiresAt *time.Time // from then on the key is not valid
	// Former says that the secret presented is the one before the last rotation, which is valid
	// until FormerUntil.
	Former      bool
	FormerUntil *time.Time
}

// ParseSubject reads the text that names a user: id:, tag:, email:, userName: or externalId: and the
// value. It reports whether the text can name anybody.
func ParseSubject(text string) (user.Ref, bool) {
	if len(text) > maxSubject || strings.ContainsFunc(text, isControl) {
		return user.Ref{}, false
	}
	if value, ok := strings.CutPrefix(text, "id:"); ok {
		id, ok := user.ParseID(value)
		return user.Ref{ID: id}, ok
	}
	if !strings.Contains(text, ":") {
		return user.Ref{}, false
	}
	return user.ParseRef(text)
}

// maxSubject bounds a subject, in bytes: a value has 255 characters at most.
const maxSubject = 1100

// Question is one check: may this caller use this model now?
type Question struct {
	// Who is calling: the hash of a key's secret, or else a user that the gateway has identified.
	KeyHash *Hash
	Subject user.Ref
	Model   Model
	// Provider names the credential that the gateway wants; empty for none.
	Provider string
	// InHeader says that the credential is to travel in a header, which takes visible ASCII only.
	InHeader bool
	// Gateway is the name of who asks, for the audit of revealed credentials.
	Gateway string
}

// Found is what the database holds about a question, read in one statement.
type Found struct {
	Subject *Subject // nil: there is no such user, or no such key
	Key     *Key     // nil when the question names no key
	// Held says whether the user holds a credential for the question's provider.
	Held bool
}

// Decision answers a question. Subject and Key are set as far as they are known, also when access
// is refused: they are for logs then.
type Decision struct {
	Reason  Reason // empty: allowed
	Message string // for people, when refused
	Subject *Subject
	Key     *Key
	Model   Model
	// Until is when the answer changes by itself, because something expires; zero for never.
	Until time.Time
	// Credential is set when one was asked for and access is allowed.
	Credential *secret.Text
}

// Allowed says whether the caller may go on.
func (d *Decision) Allowed() bool { return d.Reason == "" }

// Refuse turns the decision into a refusal.
func (d *Decision) Refuse(reason Reason) {
	d.Reason, d.Credential, d.Until = reason, nil, time.Time{}
	d.Message = messages[reason]
	if reason == ModelNotAllowed {
		d.Message = "the model " + d.Model.Name + " is not allowed for this caller"
	}
}

// Decide answers a question from what was found. It opens no credential: see [Decision.Hand].
func Decide(q *Question, found Found, now time.Time) Decision {
	d := Decision{Subject: found.Subject, Key: found.Key, Model: q.Model}
	if reason := judge(q, found, now); reason != "" {
		d.Refuse(reason)
		return d
	}
	d.Until = soonest(d.Until, found.Subject.ExpiresAt)
	if key := found.Key; key != nil {
		d.Until = soonest(d.Until, key.ExpiresAt)
		if key.Former {
			d.Until = soonest(d.Until, key.FormerUntil)
		}
	}
	return d
}

// Hand adds the credential that an allowed question asked for. One that is to travel in a header
// and cannot is refused.
func (d *Decision) Hand(q *Question, plain secret.Text) {
	switch {
	case !d.Allowed() || q.Provider == "":
	case q.InHeader && !sendable(plain):
		d.Refuse(NoCredential)
	default:
		d.Credential = &plain
	}
}

func judge(q *Question, found Found, now time.Time) Reason {
	subject, key := found.Subject, found.Key
	switch {
	case q.KeyHash != nil && (subject == nil || key == nil || !key.valid(now)):
		return InvalidKey
	case subject == nil:
		return UnknownSubject
	case subject.Status != user.Active:
		return UserSuspended
	case past(subject.ExpiresAt, now):
		return UserExpired
	}
	var narrowed Models
	if key != nil {
		narrowed = key.Models
	}
	switch {
	case !q.Model.Known() && !(subject.Models.all() && narrowed.all()):
		return ModelRequired
	case q.Model.Any && !subject.Models.overlap(narrowed):
		return ModelNotAllowed
	case q.Model.Known() && !q.Model.Any && !(subject.Models.Allow(q.Model.Name) && narrowed.Allow(q.Model.Name)):
		return ModelNotAllowed
	case anyZero(subject.Limits):
		return LimitZero
	case q.Provider != "" && !found.Held:
		return NoCredential
	}
	return ""
}

// valid says whether the secret that found the key is good at present.
func (k *Key) valid(now time.Time) bool {
	if k.Disabled || past(k.ExpiresAt, now) {
		return false
	}
	return !k.Former || k.FormerUntil != nil && now.Before(*k.FormerUntil)
}

func past(end *time.Time, now time.Time) bool { return end != nil && !now.Before(*end) }

func anyZero(l user.Limits) bool {
	return l.RequestsPerMinute != nil && *l.RequestsPerMinute == 0 || l.TokensPerMinute != nil && *l.TokensPerMinute == 0 ||
		l.MonthlyBudgetUSD != nil && *l.MonthlyBudgetUSD == 0
}

// soonest returns the earlier of two times; zero and nil are never.
func soonest(first time.Time, second *time.Time) time.Time {
	if second != nil && (first.IsZero() || second.Before(first)) {
		return *second
	}
	return first
}

// sendable says whether a header can carry a secret unchanged: visible ASCII and inner spaces.
func sendable(plain secret.Text) bool {
	text := plain.Reveal()
	return text != "" && strings.TrimSpace(text) == text &&
		!slices.ContainsFunc([]byte(text), func(c byte) bool { return c < ' ' || c > '~' })
}

// Semantic says which of several questions are answered (AuthZEN Authorization API 1.0, section
// 7.1.2.1).
type Semantic string

// The semantics.
const (
	ExecuteAll          Semantic = "execute_all"
	DenyOnFirstDeny     Semantic = "deny_on_first_deny"
	PermitOnFirstPermit Semantic = "permit_on_first_permit"
)

// Ends says whether no question is answered after this decision.
func (s Semantic) Ends(d *Decision) bool {
	return s == DenyOnFirstDeny && !d.Allowed() || s == PermitOnFirstPermit && d.Allowed()
}
