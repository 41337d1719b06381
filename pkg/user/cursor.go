package user

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Cursor is the place in a listing after one user: the values of the sort keys and the
// id of the last user of a page.
type Cursor struct {
	// Keys are the sort keys' values in the listing's order: times as RFC 3339 text, names as
	// written, e-mail addresses in their comparison form, nil for an absent one.
	Keys []*string `json:"k"`
	ID   uuid.UUID `json:"i"`
}

// cursorText is what a cursor has in it: a place, and the fingerprint of the listing that it is a place of.
type cursorText[P any] struct {
	Place   P      `json:",embed"`
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
	cursor := Cursor{ID: last.ID}
	for _, key := range q.Sort {
		cursor.Keys = append(cursor.Keys, sortValue(last, key.Field))
	}
	return EncodeCursor(cursor, q.fingerprint())
}

// EncodeCursor writes a place in a listing as clients carry it. The place is a struct that JSON can hold, the
// listing is from [Fingerprint].
func EncodeCursor[P any](place P, listing []byte) string {
	encoded, err := json.Marshal(cursorText[P]{place, listing})
	if err != nil {
		panic(err) // strings, ids and times of the database always encode
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

// DecodeCursor reads what [EncodeCursor] wrote for the same listing. Its error is [Invalid]. A client can make
// up a place, so its values are checked by valid.
func DecodeCursor[P any](text string, listing []byte, valid func(P) bool) (P, error) {
	place, err := decodeCursor(text, listing, valid)
	if err != nil {
		err = Problems{{"cursor", codeCursor, err.Error()}}.Err()
	}
	return place, err
}

func decodeCursor[P any](text string, listing []byte, valid func(P) bool) (P, error) {
	var cursor cursorText[P]
	if len(text) > maxCursor {
		return cursor.Place, errCursor
	}
	encoded, err := base64.RawURLEncoding.DecodeString(text)
	switch {
	case err != nil || json.Unmarshal(encoded, &cursor, json.RejectUnknownMembers(true)) != nil:
		return cursor.Place, errCursor
	case !bytes.Equal(cursor.Listing, listing):
		return cursor.Place, errForeignCursor
	case !valid(cursor.Place):
		return cursor.Place, errCursor
	}
	return cursor.Place, nil
}

// readCursor reads the cursor of a query string, nil for none, once all other parameters are read. With problems
// among these, it is not known which listing it must belong to.
func readCursor[P any](problems *Problems, values url.Values, listing func() []byte, valid func(P) bool) *P {
	if !values.Has("cursor") || problems.has("cursor") {
		return nil
	}
	place, err := decodeCursor(values.Get("cursor"), listing(), valid)
	if err != nil && !(errors.Is(err, errForeignCursor) && len(*problems) > 0) {
		problems.Add("cursor", codeCursor, "%s", err)
	}
	return &place
}

// Fingerprint identifies a listing: what it lists, and the filters, which are a value that JSON can hold.
func Fingerprint(what string, filters any) []byte {
	// Unused filters are left out, so that a filter added by another revision changes no cursor.
	encoded, err := json.Marshal(filters, json.Deterministic(true), json.OmitZeroStructFields(true))
	if err != nil {
		panic(err) // valid text, numbers and times always encode
	}
	sum := sha256.Sum256(append([]byte(what), encoded...))
	return sum[:fingerprintSize]
}

const fingerprintSize = 12

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

// fits checks that a value stands for each sort key and that the database can take it.
func (q *Query) fits(c Cursor) bool {
	if len(c.Keys) != len(q.Sort) {
		return false
	}
	for i, key := range q.Sort {
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
	return sum[:fingerprintSize]
}
