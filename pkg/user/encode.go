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
	return appendList(dst, credentials, func(dst []byte, c *Credential) []byte {
		dst = appendString(append(dst, `{"provider":`...), c.Provider)
		dst = appendOptional(append(dst, `,"hint":`...), c.Hint)
		dst = appendString(append(dst, `,"keyId":`...), c.KeyID)
		dst = appendTime(append(dst, `,"updatedAt":`...), c.UpdatedAt)
		return append(dst, '}')
	})
}

// appendList appends a JSON array of what encode writes of each element.
func appendList[T any](dst []byte, list []T, encode func([]byte, *T) []byte) []byte {
	dst = append(dst, '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = encode(dst, &list[i])
	}
	return append(dst, ']')
}

// appendObject appends a JSON object; none is an empty one.
func appendObject(dst []byte, object jsontext.Value) []byte {
	if len(object) == 0 {
		return append(dst, "{}"...)
	}
	return append(dst, object...)
}

func appendModels(dst []byte, models []string) []byte {
	if models == nil {
		return append(dst, "null"...)
	}
	return appendList(dst, models, func(dst []byte, model *string) []byte { return appendString(dst, *model) })
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

func appendText[T ~string](dst []byte, s T) []byte { return appendString(dst, string(s)) }

func appendOptionalTime(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, "null"...)
	}
	return appendTime(dst, *t)
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
