package eventapi

import (
	"errors"
	"io"
	"net/http"
	"os"

	"aiadmin/pkg/user"
)

// Bounds of a body, in bytes.
const (
	maxEvent = 1 << 20
	maxBatch = 8 << 20
)

// readBody reads a body of at most limit bytes. A larger one is refused for good: sent
// again it would be as large.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge(limit)
	}
	switch {
	case err == nil:
		return body, nil
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, user.Errorf(user.Timeout, "the body did not arrive in time").Because(err)
	default:
		return nil, user.Errorf(user.Malformed, "the body could not be read to its end").Because(err)
	}
}

func tooLarge(limit int64) error {
	return user.Errorf(user.TooLarge, "the body is over %d bytes", limit)
}
