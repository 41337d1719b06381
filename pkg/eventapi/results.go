package eventapi

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// result is what became of one event of a batch.
type result struct {
	id, source string // empty when the event is too broken to tell
	outcome    user.Outcome
	err        error
}

func (h *handler) appendResults(dst []byte, r *http.Request, results []result) []byte {
	dst = append(dst, `{"results":[`...)
	for i := range results {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = h.appendResult(dst, r, &results[i])
	}
	return append(dst, "]}"...)
}

func (h *handler) appendResult(dst []byte, r *http.Request, one *result) []byte {
	status := http.StatusOK
	switch {
	case one.err != nil:
		status = statusOf(one.err)
	case one.outcome.Event == nil:
		status = http.StatusNoContent
	}
	dst = append(dst, `{"id":`...)
	dst = appendKnown(dst, one.id)
	dst = append(dst, `,"source":`...)
	dst = appendKnown(dst, one.source)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	switch status {
	case http.StatusOK:
		dst = append(dst, `,"user":`...)
		dst = append(dst, one.outcome.Event.UserJSON()...)
	case http.StatusNoContent:
	default:
		dst = append(dst, `,"problem":`...)
		dst = append(dst, h.options.ProblemJSON(r, status, one.err)...)
	}
	return append(dst, '}')
}

func appendKnown(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	dst, _ = jsontext.AppendQuote(dst, s) // valid UTF-8, as ParseBody saw to it
	return dst
}
