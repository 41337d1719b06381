package user

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// timeLayout is RFC 3339 in UTC with exactly six decimals, so that times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// FormatTime writes a time as every answer and event does.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// MarshalJSON implements [encoding/json.Marshaler].
func (u *User) MarshalJSON() ([]byte, error) { return u.AppendJSON(nil), nil }

// AppendJSON appends the user as clients read it. It is written out by hand since it is
// the hot path of every read: no reflection and, given room in dst, no allocation.
func (u *User) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendUUID(dst, u.ID)
	dst = append(dst, `","tag":`...)
	dst = appendString(dst, u.Tag)
	dst = append(dst, `,"name":`...)
	dst = appendString(dst, u.Name)
	dst = append(dst, `,"email":`...)
	dst = appendOptional(dst, u.Email)
	dst = append(dst, `,"role":`...)
	dst = appendString(dst, string(u.Role))
	dst = append(dst, `,"status":`...)
	dst = appendString(dst, string(u.Status))
	dst = append(dst, `,"models":`...)
	dst = appendModels(dst, u.Models)
	dst = append(dst, `,"limits":`...)
	dst = u.Limits.appendJSON(dst)
	dst = append(dst, `,"credentials":`...)
	dst = AppendCredentials(dst, u.Credentials)
	dst = append(dst, `,"metadata":`...)
	dst = append(dst, u.Metadata...)
	dst = append(dst, `,"externalId":`...)
	dst = appendOptional(dst, u.ExternalID)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, u.Version, 10)
	dst = append(dst, `,"createdAt":`...)
	dst = appendTime(dst, u.CreatedAt)
	dst = append(dst, `,"updatedAt":`...)
	dst = appendTime(dst, u.UpdatedAt)
	return append(dst, '}')
}

// appendUUID is the text form without the string that UUID.String would allocate.
func appendUUID(dst []byte, id uuid.UUID) []byte {
	dst = hex.AppendEncode(dst, id[:4])
	for _, part := range [][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		dst = hex.AppendEncode(append(dst, '-'), part)
	}
	return dst
}

func (l Limits) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"requestsPerMinute":`...)
	dst = appendInt(dst, l.RequestsPerMinute)
	dst = append(dst, `,"tokensPerMinute":`...)
	dst = appendInt(dst, l.TokensPerMinute)
	dst = append(dst, `,"monthlyBudgetUSD":`...)
	if l.MonthlyBudgetUSD == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, l.MonthlyBudgetUSD.String()...)
	}
	return append(dst, '}')
}

// AppendCredentials appends the public part of credentials, which is also how they are stored.
func AppendCredentials(dst []byte, credentials []Credential) []byte {
	dst = append(dst, '[')
	for i, c := range credentials {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"provider":`...)
		dst = appendString(dst, c.Provider)
		dst = append(dst, `,"hint":`...)
		dst = appendOptional(dst, c.Hint)
		dst = append(dst, `,"keyId":`...)
		dst = appendString(dst, c.KeyID)
		dst = append(dst, `,"updatedAt":`...)
		dst = appendTime(dst, c.UpdatedAt)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendModels(dst []byte, models []string) []byte {
	if models == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, m := range models {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, m)
	}
	return append(dst, ']')
}

// appendString relies on every stored string being valid UTF-8, which decoding ensures
// and the database's encoding keeps; what is not is replaced by U+FFFD.
func appendString(dst []byte, s string) []byte {
	quoted, _ := jsontext.AppendQuote(dst, s) // its error only reports a replacement
	return quoted
}

func appendOptional(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return appendString(dst, *s)
}

func appendInt(dst []byte, n *int64) []byte {
	if n == nil {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, *n, 10)
}

// appendTime writes what FormatTime does, by hand: each user has two times, and formatting
// them by a layout took a sixth of a listing's time.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = appendPadded(append(dst, '"'), year, 4)
	dst = appendPadded(append(dst, '-'), int(month), 2)
	dst = appendPadded(append(dst, '-'), day, 2)
	dst = appendPadded(append(dst, 'T'), hour, 2)
	dst = appendPadded(append(dst, ':'), minute, 2)
	dst = appendPadded(append(dst, ':'), second, 2)
	dst = appendPadded(append(dst, '.'), t.Nanosecond()/1000, 6)
	return append(dst, 'Z', '"')
}

// appendPadded writes a number of at most so many digits with zeros before it.
func appendPadded(dst []byte, n, digits int) []byte {
	dst = append(dst, "000000"[:digits]...)
	for i := len(dst) - 1; n > 0; i-- {
		dst[i] += byte(n % 10)
		n /= 10
	}
	return dst
}
