package user

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// AuditAction says what an audit entry is about.
type AuditAction string

// The actions that are audited.
const (
	CredentialRevealed AuditAction = "credential.revealed"
	KeyCreated         AuditAction = "key.created"
	KeyRotated         AuditAction = "key.rotated"
	KeyRevoked         AuditAction = "key.revoked"
	KeyWasDisabled     AuditAction = "key.disabled"
	UsersExported      AuditAction = "users.exported"
	UsersImported      AuditAction = "users.imported"
	TokenRefused       AuditAction = "token.refused"
	ScopeDenied        AuditAction = "scope.denied"
	VaultRotated       AuditAction = "vault.rotated"
	EventsResent       AuditAction = "events.resent"
	ConsoleSignedIn    AuditAction = "console.signedin"
	SCIMGrant          AuditAction = "scim.grant" // of the role admin; a provider was refused, as below
	SCIMRevoke         AuditAction = "scim.revoke"
	SCIMSuspend        AuditAction = "scim.suspend"
	SCIMDelete         AuditAction = "scim.delete"
)

// AuditActions are all of them.
var AuditActions = []AuditAction{CredentialRevealed, KeyCreated, KeyRotated, KeyRevoked, KeyWasDisabled, UsersExported, UsersImported,
	TokenRefused, ScopeDenied, VaultRotated, EventsResent, ConsoleSignedIn, SCIMGrant, SCIMRevoke, SCIMSuspend, SCIMDelete}

// AuditOutcome says how an audited action ended.
type AuditOutcome string

// The outcomes of audited actions.
const (
	Succeeded AuditOutcome = "success"
	Denied    AuditOutcome = "denied"
	Failed    AuditOutcome = "failure"
)

// AuditEntry is what the audit log says of one action. It holds no secret, and no personal value but
// the user's id.
type AuditEntry struct {
	ID        uuid.UUID // version 7; given when the entry is written
	At        time.Time // as the ID
	Actor     string    // empty: unknown, as behind a refused token
	Action    AuditAction
	UserID    uuid.UUID // [uuid.Nil]: about no user, or about many
	Provider  string    // empty: none
	KeyID     string    // of an API key; empty: none
	RequestID string
	SourceIP  string
	Outcome   AuditOutcome
	// Detail is a JSON object; nil is an empty one.
	Detail jsontext.Value

	// Bucket, when not empty, makes this one of many like it that are counted in one entry: the first
	// of them, whose detail has the count.
	Bucket string
	// Count is how many actions a counted entry stands for; 0 is one.
	Count int64
}

// AppendJSON appends the entry as clients read it.
func (e *AuditEntry) AppendJSON(dst []byte) []byte {
	dst = appendQuotedUUID(append(dst, `{"id":`...), e.ID)
	dst = appendTime(append(dst, `,"at":`...), e.At)
	dst = appendString(append(dst, `,"actor":`...), e.Actor)
	dst = appendString(append(dst, `,"action":`...), string(e.Action))
	dst = append(dst, `,"userId":`...)
	if e.UserID == uuid.Nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendQuotedUUID(dst, e.UserID)
	}
	if e.Provider != "" {
		dst = appendString(append(dst, `,"provider":`...), e.Provider)
	}
	if e.KeyID != "" {
		dst = appendString(append(dst, `,"keyId":`...), e.KeyID)
	}
	dst = appendString(append(dst, `,"requestId":`...), e.RequestID)
	dst = appendString(append(dst, `,"sourceIP":`...), e.SourceIP)
	dst = appendString(append(dst, `,"outcome":`...), string(e.Outcome))
	return append(e.AppendDetail(append(dst, `,"detail":`...)), '}')
}

// AppendDetail appends the detail, with the count of a counted entry in it.
func (e *AuditEntry) AppendDetail(dst []byte) []byte {
	if e.Bucket == "" {
		return appendObject(dst, e.Detail)
	}
	dst = strconv.AppendInt(append(dst, `{"count":`...), max(1, e.Count), 10)
	if rest := strings.TrimPrefix(string(e.Detail), "{"); len(rest) > len("}") {
		return append(append(dst, ','), rest...)
	}
	return append(dst, '}')
}

// AuditsItself is a change that the audit log records beside the history.
type AuditsItself interface {
	// Audit returns an entry for each key that the change made, changed or revoked: action, key and detail.
	Audit(before, after *User) []AuditEntry
}

// Audit implements [AuditsItself].
func (c IssueKey) Audit(_, after *User) []AuditEntry {
	return []AuditEntry{{Action: KeyCreated, KeyID: c.KeyID.String(), Detail: keyDetail(after.Key(c.KeyID))}}
}

// Audit implements [AuditsItself].
func (c RotateKey) Audit(_, after *User) []AuditEntry {
	return []AuditEntry{{Action: KeyRotated, KeyID: c.KeyID.String(), Detail: keyDetail(after.Key(c.KeyID))}}
}

// Audit implements [AuditsItself].
func (c UpdateKey) Audit(before, after *User) []AuditEntry {
	now, old := after.Key(c.KeyID), before.Key(c.KeyID)
	if now == nil || old == nil || now.Status != KeyDisabled || old.Status == KeyDisabled {
		return nil
	}
	return []AuditEntry{{Action: KeyWasDisabled, KeyID: c.KeyID.String(), Detail: keyDetail(nil)}}
}

// Audit implements [AuditsItself].
func (c RevokeKeys) Audit(before, after *User) (entries []AuditEntry) {
	for i := range before.Keys {
		if id := before.Keys[i].ID; after.Key(id) == nil {
			entries = append(entries, AuditEntry{Action: KeyRevoked, KeyID: id.String(), Detail: keyDetail(nil)})
		}
	}
	return entries
}

// keyDetail tells until when a key, and its secret from before a rotation, can be used.
func keyDetail(k *Key) jsontext.Value {
	detail := jsontext.Value("{")
	if k != nil {
		detail = appendOptionalTime(append(detail, `"expiresAt":`...), k.ExpiresAt)
		detail = appendOptionalTime(append(detail, `,"previousValidUntil":`...), k.PreviousValidUntil)
	}
	return append(detail, '}')
}

// LogRange is what the queries of all logs have in common. Entries come newest first; empty members do not
// restrict them.
type LogRange struct {
	Actor    string
	From, To time.Time // inclusive, exclusive
	Limit    int
	Before   uuid.UUID // entries before the one with this id; [uuid.Nil] is the newest
}

// AuditQuery selects audit entries.
type AuditQuery struct {
	LogRange
	Action AuditAction
	UserID uuid.UUID
}

// AuditPage is a page of the audit log.
type AuditPage struct {
	Entries []AuditEntry
	Next    string // the cursor of the next page, empty on the last
}

// LogQuery selects history entries of all users.
type LogQuery struct {
	LogRange
	Field string
}

var (
	auditParameters = logParameters(func(q *AuditQuery) *LogRange { return &q.LogRange }, parameters[AuditQuery]{
		"action": notEmpty(func(q *AuditQuery, v string) { q.Action = AuditAction(v) }),
		"userId": idAt(func(q *AuditQuery) *uuid.UUID { return &q.UserID }),
	})
	historyParameters = logParameters(func(q *LogQuery) *LogRange { return &q.LogRange }, parameters[LogQuery]{
		"field": oneOf(func(q *LogQuery, v string) { q.Field = v }, RecordedFields()...),
	})
)

// ParseAuditQuery reads the parameters of the audit log; everything wrong with them is one [Invalid] error.
func ParseAuditQuery(values url.Values) (AuditQuery, error) {
	q := AuditQuery{LogRange: LogRange{Limit: DefaultLimit}}
	problems := auditParameters.read(&q, values, "the audit log")
	q.after(&problems, values, q.fingerprint)
	return q, problems.Err()
}

// ParseLogQuery reads the parameters of the history of all users.
func ParseLogQuery(values url.Values) (LogQuery, error) {
	q := LogQuery{LogRange: LogRange{Limit: DefaultLimit}}
	problems := historyParameters.read(&q, values, "the history of all users")
	q.after(&problems, values, q.fingerprint)
	return q, problems.Err()
}

// logPlace is the place of an entry in a log.
type logPlace struct {
	ID uuid.UUID `json:"i"`
}

// after has the range continue where a cursor says.
func (r *LogRange) after(problems *Problems, values url.Values, listing func() []byte) {
	if place := readCursor(problems, values, listing, func(p logPlace) bool { return p.ID != uuid.Nil }); place != nil {
		r.Before = place.ID
	}
}

// CursorAfter returns the cursor after an entry, as clients carry it.
func (q AuditQuery) CursorAfter(id uuid.UUID) string {
	return EncodeCursor(logPlace{id}, q.fingerprint())
}

func (q AuditQuery) fingerprint() []byte {
	q.Before, q.Limit = uuid.Nil, 0
	return Fingerprint("audit", q)
}

// CursorAfter returns the cursor after an entry, as clients carry it.
func (q LogQuery) CursorAfter(id uuid.UUID) string {
	return EncodeCursor(logPlace{id}, q.fingerprint())
}

func (q LogQuery) fingerprint() []byte {
	q.Before, q.Limit = uuid.Nil, 0
	return Fingerprint("history", q)
}

// logParameters adds to the parameters of one log those that all have.
func logParameters[Q any](common func(*Q) *LogRange, own parameters[Q]) parameters[Q] {
	own["actor"] = notEmpty(func(q *Q, v string) { common(q).Actor = v })
	own["limit"] = limitAt(func(q *Q) *int { return &common(q).Limit })
	own["from"] = timeAt(func(q *Q) *time.Time { return &common(q).From })
	own["to"] = timeAt(func(q *Q) *time.Time { return &common(q).To })
	own["cursor"] = elsewhere[Q]()
	return own
}

func notEmpty[Q any](set func(q *Q, value string)) parameter[Q] {
	return once(func(q *Q, problems *Problems, name, v string) {
		if set(q, v); v == "" {
			problems.Add(name, codeFormat, "must not be empty: leave it out instead")
		}
	})
}
