package user

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Cursor is the place in a listing after one user: the values of the sort keys and the
// id of the last user of a page. To clients it is opaque.
type Cursor struct {
	// Keys are the sort keys' values in the listing's order: times as RFC 3339 text, names as
	// written, e-mail addresses in their comparison form, nil for an absent one.
	Keys []*string `json:"k"`
	ID   uuid.UUID `json:"i"`
	// Listing is a fingerprint of the filters and the sort that the cursor belongs to.
	Listing []byte `json:"l"`
}

var (
	errCursor        = errors.New("is not a cursor of this service: take it from page.next as it is")
	errForeignCursor = errors.New("was made for other filters or another sort: begin again without it")
)

// maxCursor bounds what is decoded: the longest name and address, and some more.
const maxCursor = 8 << 10

// CursorAfter returns the cursor after a page's last user, as clients carry it.
func (q *Query) CursorAfter(last *User) string {
	cursor := Cursor{ID: last.ID, Listing: q.fingerprint()}
	for _, key := range q.Sort {
		cursor.Keys = append(cursor.Keys, sortValue(last, key.Field))
	}
	return encodePlace(cursor)
}

// encodePlace writes a place in a listing as clients carry it.
func encodePlace(place any) string {
	encoded, err := json.Marshal(place, json.Deterministic(true))
	if err != nil {
		panic(err) // strings, ids and times of the database always encode
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

// decodePlace reads what encodePlace wrote.
func decodePlace(text string, place any) error {
	if len(text) > maxCursor {
		return errCursor
	}
	encoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(encoded, place, json.RejectUnknownMembers(true)) != nil {
		return errCursor
	}
	return nil
}

func sortValue(u *User, field string) *string {
	var value string
	switch field {
	case "createdAt":
		value = FormatTime(u.CreatedAt)
	case "tag":
		value = u.Tag
	case "name":
		value = u.Name
	case "email":
		if u.Email == nil {
			return nil
		}
		value = cmp.Or(u.EmailKey, FoldAddress(*u.Email))
	}
	return &value
}

func decodeCursor(text string, q *Query) (*Cursor, error) {
	var cursor Cursor
	if err := decodePlace(text, &cursor); err != nil {
		return nil, err
	}
	if string(cursor.Listing) != string(q.fingerprint()) {
		return nil, errForeignCursor
	}
	if !cursor.fits(q.Sort) {
		return nil, errCursor
	}
	return &cursor, nil
}

// fits checks that a value stands for each sort key and that the database can take it.
func (c *Cursor) fits(sort []SortKey) bool {
	if len(c.Keys) != len(sort) {
		return false
	}
	for i, key := range sort {
		value := c.Keys[i]
		switch {
		case value == nil && key.Field != "email", value != nil && strings.ContainsRune(*value, 0):
			return false
		case key.Field == "createdAt":
			// Parse lets a comma and an hour of one digit through, and PostgreSQL has no year 0.
			at, err := time.Parse(timeLayout, *value)
			if err != nil || at.Year() < 1 || FormatTime(at) != *value {
				return false
			}
		}
	}
	return true
}

// fingerprint identifies the listing that a query is a page of: its filters and sort,
// whatever the order in which they were given, and not its limit or count mode.
func (q *Query) fingerprint() []byte {
	filter := q.Filter.Key()
	key := filter[:]
	for _, k := range q.Sort {
		key = strconv.AppendBool(append(key, k.Field...), k.Descending)
	}
	sum := sha256.Sum256(key)
	return sum[:12]
}
