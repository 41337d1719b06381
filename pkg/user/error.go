package user

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what went wrong in the words that clients read as errorCode. Each transport
// maps kinds to its statuses in one table.
type Kind string

// The kinds of failure. A kind's text never changes: clients switch on it.
const (
	Invalid             Kind = "VALIDATION_ERROR"
	Malformed           Kind = "MALFORMED_BODY"
	Unauthenticated     Kind = "UNAUTHENTICATED"
	Forbidden           Kind = "FORBIDDEN"
	NotFound            Kind = "NOT_FOUND"
	MethodNotAllowed    Kind = "METHOD_NOT_ALLOWED"
	DuplicateTag        Kind = "DUPLICATE_TAG"
	DuplicateEmail      Kind = "DUPLICATE_EMAIL"
	DuplicateExternalID Kind = "DUPLICATE_EXTERNAL_ID"
	DuplicateUserName   Kind = "DUPLICATE_USER_NAME"
	DuplicateGroupName  Kind = "DUPLICATE_GROUP_NAME"
	DuplicateKeyName    Kind = "DUPLICATE_KEY_NAME"
	DuplicateID         Kind = "DUPLICATE_ID"
	InProgress          Kind = "IDEMPOTENCY_IN_PROGRESS"
	CursorExpired       Kind = "CURSOR_EXPIRED"
	PreconditionFailed  Kind = "PRECONDITION_FAILED"
	TooLarge            Kind = "BODY_TOO_LARGE"
	UnsupportedMedia    Kind = "UNSUPPORTED_MEDIA_TYPE"
	KeyReused           Kind = "IDEMPOTENCY_KEY_REUSED"
	Unavailable         Kind = "DATABASE_UNAVAILABLE"
	Timeout             Kind = "TIMEOUT"
	Internal            Kind = "INTERNAL"
)

// Error is a failure that a client may read: its kind, one public sentence and, for
// [Invalid], every problem found. What caused it is for the log alone.
type Error struct {
	Kind     Kind
	Message  string
	Problems Problems
	cause    error
}

// Errorf makes an error of a kind with a public message.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns the error with its internal cause, which no client sees. It is a copy: many
// errors are variables that all requests share.
func (e *Error) Wrap(cause error) *Error {
	caused := *e
	caused.cause = cause
	return &caused
}

// Error gives the kind, the public message and the cause: it is for logs.
func (e *Error) Error() string {
	text := string(e.Kind) + ": " + e.Message
	if len(e.Problems) > 0 {
		text += ": " + e.Problems.summary()
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// KindOf is the kind of err: [Internal] for any error that is not an [Error].
func KindOf(err error) Kind {
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Kind
	}
	return Internal
}

// Public returns what a client may read of an error.
func Public(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Errorf(Timeout, "the request took too long")
	}
	return Errorf(Internal, "an internal error: the log has it under the request's id")
}
