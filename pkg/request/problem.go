package request

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/user"
)

// statuses is the one table from a failure's kind to its status.
var statuses = map[user.Kind]int{
	user.Invalid:             http.StatusBadRequest,
	user.Malformed:           http.StatusBadRequest,
	user.Unauthenticated:     http.StatusUnauthorized,
	user.Forbidden:           http.StatusForbidden,
	user.NotFound:            http.StatusNotFound,
	user.MethodNotAllowed:    http.StatusMethodNotAllowed,
	user.DuplicateTag:        http.StatusConflict,
	user.DuplicateEmail:      http.StatusConflict,
	user.DuplicateExternalID: http.StatusConflict,
	user.DuplicateID:         http.StatusConflict,
	user.DuplicateUserName:   http.StatusConflict,
	user.DuplicateGroupName:  http.StatusConflict,
	user.DuplicateKeyName:    http.StatusConflict,
	user.InProgress:          http.StatusConflict,
	user.CursorExpired:       http.StatusGone,
	user.PreconditionFailed:  http.StatusPreconditionFailed,
	user.TooLarge:            http.StatusRequestEntityTooLarge,
	user.UnsupportedMedia:    http.StatusUnsupportedMediaType,
	user.KeyReused:           http.StatusUnprocessableEntity,
	user.Unavailable:         http.StatusServiceUnavailable,
	user.Timeout:             http.StatusGatewayTimeout,
	user.Internal:            http.StatusInternalServerError,
}

// problem is RFC 9457's document with the two members that earlier clients read.
type problem struct {
	Type      string        `json:"type"`
	Title     string        `json:"title"`
	Status    int           `json:"status"`
	Detail    string        `json:"detail"`
	Instance  string        `json:"instance"`
	RequestID string        `json:"requestId"`
	ErrorCode user.Kind     `json:"errorCode"`
	Details   user.Problems `json:"details"`
}

// Status is the status of an error's kind.
func Status(err error) int { return statuses[user.Public(err).Kind] }

// Abandoned reports whether an error is that of a request whose client has gone away.
func Abandoned(r *http.Request, err error) bool {
	return errors.Is(err, context.Canceled) && r.Context().Err() != nil
}

// Fail answers an error with a status that its transport decided on, as a problem document, and notes it for the log.
func Fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	Of(r.Context()).Failure = err
	if Abandoned(r, err) {
		// The client may have closed its sending side alone and still read. The 200 that net/http
		// sends by default would claim success.
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	header := w.Header()
	switch status {
	case http.StatusUnauthorized:
		if header.Get("WWW-Authenticate") == "" {
			header.Set("WWW-Authenticate", challenge(r))
		}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", "3") // with 1 s, clients that retry take a fifth of the throughput under overload
	}
	if user.KindOf(err) == user.InProgress {
		header.Set("Retry-After", "1")
	}
	header.Set("Content-Type", "application/problem+json")
	header.Del("ETag")
	w.WriteHeader(status)
	_, _ = w.Write(Problem(r, status, err))
}

// challenge tells how to authenticate (RFC 6750, section 3).
func challenge(r *http.Request) string {
	if r.Header.Get("Authorization") == "" {
		return `Bearer realm="ai-admin"`
	}
	return `Bearer realm="ai-admin", error="invalid_token"`
}

// Problem returns the document that answers an error (RFC 9457).
func Problem(r *http.Request, status int, err error) []byte {
	public := user.Public(err)
	details := public.Problems
	if details == nil {
		details = user.Problems{}
	}
	encoded, err := json.Marshal(problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: public.Message, Instance: r.URL.EscapedPath(), RequestID: Of(r.Context()).ID,
		ErrorCode: public.Kind, Details: details})
	if err != nil {
		return []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"errorCode":"INTERNAL","details":[]}`)
	}
	return encoded
}
