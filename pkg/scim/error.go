package scim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"aiadmin/pkg/user"
)

// Type is a scimType: what is wrong with a request, for programs (RFC 7644, section 3.12, and
// RFC 9865, section 2.1).
type Type string

// The types of error. All but [Uniqueness] come with status 400.
const (
	InvalidFilter Type = "invalidFilter"
	TooMany       Type = "tooMany"
	Uniqueness    Type = "uniqueness" // with status 409
	Mutability    Type = "mutability"
	InvalidSyntax Type = "invalidSyntax"
	InvalidPath   Type = "invalidPath"
	NoTarget      Type = "noTarget"
	InvalidValue  Type = "invalidValue"
	InvalidCursor Type = "invalidCursor"
	ExpiredCursor Type = "expiredCursor"
	InvalidCount  Type = "invalidCount"
)

// Error is a failure that a client may read (RFC 7644, section 3.12).
type Error struct {
	Status int  // of HTTP
	Type   Type // empty where the RFC defines none for the status
	Detail string
	cause  error
}

// Errorf makes an error with status 400, or 409 for [Uniqueness].
func Errorf(t Type, format string, args ...any) *Error {
	status := 400
	if t == Uniqueness {
		status = 409
	}
	return &Error{Status: status, Type: t, Detail: fmt.Sprintf(format, args...)}
}

// StatusError makes an error that has a status and no scimType.
func StatusError(status int, format string, args ...any) *Error {
	return &Error{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Error returns the status, the type, the detail and the cause. It is for logs.
func (e *Error) Error() string {
	text := strconv.Itoa(e.Status) + " " + string(e.Type) + ": " + e.Detail
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the internal cause, which no client sees.
func (e *Error) Unwrap() error { return e.cause }

// Object returns the error's body. Its status is a string, as the RFC asks.
func (e *Error) Object() Object {
	body := Object{"schemas": List{ErrorURN}, "status": strconv.Itoa(e.Status)}
	if e.Type != "" {
		body["scimType"] = string(e.Type)
	}
	if e.Detail != "" {
		body["detail"] = e.Detail
	}
	return body
}

// kinds maps the kinds of the domain's errors to SCIM's. Any other kind is an internal error.
var kinds = map[user.Kind]Error{
	user.Invalid:            {Status: 400, Type: InvalidValue},
	user.Malformed:          {Status: 400, Type: InvalidSyntax},
	user.Unauthenticated:    {Status: 401},
	user.Forbidden:          {Status: 403},
	user.NotFound:           {Status: 404},
	user.MethodNotAllowed:   {Status: 405},
	user.PreconditionFailed: {Status: 412},
	user.TooLarge:           {Status: 413},
	user.UnsupportedMedia:   {Status: 415},
	user.Unavailable:        {Status: 503},
	user.Timeout:            {Status: 504},
}

// ErrorOf returns err as a SCIM error. An error of package user keeps its public message, with
// its fields under their SCIM names; any other error is a 500 that shows nothing.
func ErrorOf(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	domain, ok := errors.AsType[*user.Error](err)
	if !ok {
		return &Error{Status: 500, Detail: "internal error: the log has it under the request's id", cause: err}
	}
	e, ok := kinds[domain.Kind]
	switch {
	case ok:
	case strings.HasPrefix(string(domain.Kind), "DUPLICATE_"):
		e = Error{Status: 409, Type: Uniqueness}
	default:
		return &Error{Status: 500, Detail: "internal error: the log has it under the request's id", cause: err}
	}
	e.Detail, e.cause = domain.Message, err
	if len(domain.Problems) > 0 {
		e.Detail = problemText(domain.Problems)
	}
	return &e
}

// problemText lists the first problems, which is what an administrator can act on.
func problemText(problems user.Problems) string {
	const shown = 10
	var parts []string
	for _, p := range problems[:min(len(problems), shown)] {
		parts = append(parts, scimName(p.Field)+" "+p.Message)
	}
	if more := len(problems) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more problems", more))
	}
	return strings.Join(parts, "; ")
}

// scimName returns the SCIM name of a field of the native API.
func scimName(field string) string {
	name, rest := field, ""
	if i := strings.IndexAny(field, "[."); i >= 0 {
		name, rest = field[:i], field[i:]
	}
	switch name {
	case "name":
		return "displayName" + rest
	case "email":
		return "emails.value" + rest
	case "status":
		return "active" + rest
	case "limits":
		return UserExtension.ID + ":" + strings.Replace(strings.TrimPrefix(rest, "."), "USD", "Cents", 1)
	case "tag", "role", "models":
		return UserExtension.ID + ":" + field
	}
	return field
}

// quote quotes at most 64 characters of what a client wrote.
func quote(s string) string {
	const shown = 64
	if utf8.RuneCountInString(s) > shown {
		s = string([]rune(s)[:shown]) + "…"
	}
	return strconv.Quote(s)
}
