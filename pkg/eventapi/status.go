package eventapi

import (
	"context"
	"errors"
	"net/http"

	"aiadmin/pkg/user"
)

// statuses says how each kind of failure is answered. Knative Eventing retries what may
// pass (409, 503, 500) and dead-letters the rest at once; 404 would be retried, so that an
// unknown user is 422 here.
var statuses = map[user.Kind]int{
	user.Malformed:        http.StatusBadRequest,
	user.Unauthenticated:  http.StatusUnauthorized,
	user.Forbidden:        http.StatusForbidden,
	user.InProgress:       http.StatusConflict, // the other delivery will have an answer soon
	user.TooLarge:         http.StatusRequestEntityTooLarge,
	user.UnsupportedMedia: http.StatusUnsupportedMediaType,
	user.Unavailable:      http.StatusServiceUnavailable,
	user.Timeout:          http.StatusServiceUnavailable,
	user.Internal:         http.StatusInternalServerError,
}

// statusOf is the status of a failure: 422 for every kind that trying again cannot mend.
func statusOf(err error) int {
	if errors.Is(err, context.DeadlineExceeded) {
		return statuses[user.Timeout]
	}
	if status, ok := statuses[user.KindOf(err)]; ok {
		return status
	}
	return http.StatusUnprocessableEntity
}
