package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/user"
)

// statusClientGone is what a request's log line says when its client went away; nobody
// reads an answer.
const statusClientGone = 499

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

// Problem answers an error with the status of its kind.
func (a *API) Problem(w http.ResponseWriter, r *http.Request, err error) {
	if a.mounted(r) {
		a.options.SCIM.Problem(w, r, err)
		return
	}
	WriteProblem(w, r, Status(err), err)
}

// Status is the status of an error's kind.
func Status(err error) int { return statuses[Public(err).Kind] }

// WriteProblem answers an error with a status that its transport decided on.
func WriteProblem(w http.ResponseWriter, r *http.Request, status int, err error) {
	request := infoOf(r.Context())
	request.failure = err
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
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
	_, _ = w.Write(ProblemJSON(r, status, err))
}

// challenge tells how to authenticate (RFC 6750, section 3).
func challenge(r *http.Request) string {
	if r.Header.Get("Authorization") == "" {
		return `Bearer realm="ai-admin"`
	}
	return `Bearer realm="ai-admin", error="invalid_token"`
}

// ProblemJSON is the document that answers an error.
func ProblemJSON(r *http.Request, status int, err error) []byte {
	public := Public(err)
	details := public.Problems
	if details == nil {
		details = user.Problems{}
	}
	encoded, err := json.Marshal(problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: public.Message, Instance: r.URL.EscapedPath(), RequestID: RequestID(r.Context()),
		ErrorCode: public.Kind, Details: details})
	if err != nil {
		return []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"errorCode":"INTERNAL","details":[]}`)
	}
	return encoded
}

// Public is what a client may read of an error.
func Public(err error) *user.Error {
	if known, ok := errors.AsType[*user.Error](err); ok {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return user.Errorf(user.Timeout, "the request took too long")
	}
	return user.Errorf(user.Internal, "an internal error: the log has it under the request's id")
}
