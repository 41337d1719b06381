package user

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ListedKey is a key as its own routes show it: with its user and its use.
type ListedKey struct {
	Key
	UserID uuid.UUID
	// LastUsedAt is approximate: it is written at most once an hour. Nil is never.
	LastUsedAt *time.Time
}

// AppendJSON appends the key as clients read it.
func (k *ListedKey) AppendJSON(dst []byte) []byte {
	dst = appendQuotedUUID(append(dst, `{"id":`...), k.ID)
	dst = appendQuotedUUID(append(dst, `,"userId":`...), k.UserID)
	dst = appendString(append(dst, `,"name":`...), k.Name)
	dst = appendString(append(dst, `,"hint":`...), k.Hint)
	dst = appendModels(append(dst, `,"models":`...), k.Models)
	dst = appendText(append(dst, `,"status":`...), k.Status)
	dst = appendTime(append(dst, `,"createdAt":`...), k.CreatedAt)
	dst = appendString(append(dst, `,"createdBy":`...), k.CreatedBy)
	dst = appendOptionalTime(append(dst, `,"expiresAt":`...), k.ExpiresAt)
	dst = appendOptionalTime(append(dst, `,"lastUsedAt":`...), k.LastUsedAt)
	dst = appendOptionalTime(append(dst, `,"previousValidUntil":`...), k.PreviousValidUntil)
	return append(dst, '}')
}

// KeyQuery says which keys a listing is about, newest first. Empty members do not restrict it.
type KeyQuery struct {
	UserID         uuid.UUID
	Hint           string // as a key shows it
	Status         KeyStatus
	ExpiresBefore  time.Time
	LastUsedBefore time.Time // keys that were never used are among them
	After          *KeyPlace // behind the last key of a page
	Limit          int
}

// KeyPlace is the place of a key in a listing.
type KeyPlace struct {
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// KeyPage is a page of keys. Total is nil past [MaxExact].
type KeyPage struct {
	Keys  []ListedKey
	More  bool
	Total *int64
}

// keyHintPrefix is what the hint of each key begins with.
const keyHintPrefix = "aik_…"

// ParseKeyQuery reads the parameters of a listing of keys. Its error is [Invalid] with every problem.
func ParseKeyQuery(values url.Values) (KeyQuery, error) {
	q := KeyQuery{Limit: DefaultLimit}
	problems := keyParameters.read(&q, values, "this listing")
	q.After = readCursor(&problems, values, q.fingerprint, func(p KeyPlace) bool { return p.CreatedAt.Year() > 0 })
	return q, problems.Err()
}

var keyParameters = parameters[KeyQuery]{
	"userId": idAt(func(q *KeyQuery) *uuid.UUID { return &q.UserID }),
	"hint": once(func(q *KeyQuery, problems *Problems, name, v string) {
		if q.Hint = v; !strings.HasPrefix(v, keyHintPrefix) {
			q.Hint = keyHintPrefix + v
		}
		if utf8.RuneCountInString(q.Hint) != utf8.RuneCountInString(keyHintPrefix)+4 {
			problems.Add(name, codeFormat, "must be the last 4 characters of a secret, or aik_… and those")
		}
	}),
	"status": once(func(q *KeyQuery, problems *Problems, name, v string) {
		q.Status = KeyStatus(v)
		problems.check(name, q.Status, keyStatusRules...)
	}),
	"expiresBefore":  timeAt(func(q *KeyQuery) *time.Time { return &q.ExpiresBefore }),
	"lastUsedBefore": timeAt(func(q *KeyQuery) *time.Time { return &q.LastUsedBefore }),
	"limit":          limitAt(func(q *KeyQuery) *int { return &q.Limit }),
	"cursor":         elsewhere[KeyQuery](),
}

// CursorAfter makes the cursor behind a page's last key, as clients carry it.
func (q *KeyQuery) CursorAfter(last *ListedKey) string {
	return EncodeCursor(KeyPlace{last.CreatedAt, last.ID}, q.fingerprint())
}

// fingerprint identifies the listing that a query is a page of: its filters, not its limit.
func (q KeyQuery) fingerprint() []byte {
	q.After, q.Limit = nil, 0
	return Fingerprint("keys", q)
}
