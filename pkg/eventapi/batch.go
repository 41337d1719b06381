package eventapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// maxElements is how many events a batch may have.
const maxElements = 1000

// result is what became of one event of a batch.
type result struct {
	id, source string // empty when the event is too broken to tell
	outcome    user.Outcome
	err        error
}

func (h *handler) serveBatch(w http.ResponseWriter, r *http.Request, body []byte) error {
	elements, err := split(body)
	if err != nil {
		return err
	}
	results := make([]result, len(elements))
	var commands []user.Command
	var places []int // of the commands in results
	for i, element := range elements {
		received, err := readElement(element)
		results[i] = result{id: received.attributes["id"], source: received.attributes["source"], err: err}
		if err != nil {
			continue
		}
		commands, places = append(commands, received.command(h.options.Actor(r))), append(places, i)
	}
	applied, err := h.options.Admin.ApplyAll(r.Context(), commands)
	if err != nil {
		return err
	}
	for n, i := range places {
		results[i].outcome, results[i].err = applied[n].Outcome, applied[n].Err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(h.appendResults(nil, r, results))
	return nil
}

// split takes a batch apart (JSON Event Format 1.0.2, section 4), reading each element no
// further than to find its end: what is wrong with one must not concern the others.
func split(body []byte) ([]jsontext.Value, error) {
	dec := newDecoder(body)
	if dec.PeekKind() != '[' {
		return nil, user.Errorf(user.Malformed, "a batch must be a JSON array of events")
	}
	_, _ = dec.ReadToken()
	var elements []jsontext.Value
	for dec.PeekKind() != ']' {
		element, err := dec.ReadValue()
		if err != nil {
			return nil, user.Errorf(user.Malformed, "the batch is not valid JSON at byte %d", dec.InputOffset()).Because(err)
		}
		if len(elements) == maxElements {
			return nil, user.Errorf(user.TooLarge, "a batch may have %d events", maxElements)
		}
		elements = append(elements, element.Clone())
	}
	_, _ = dec.ReadToken()
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, user.Errorf(user.Malformed, "data follows the batch at byte %d", dec.InputOffset())
	}
	return elements, nil
}

func readElement(element jsontext.Value) (*received, error) {
	if len(element) > maxEvent {
		return &received{}, tooLarge(maxEvent)
	}
	return readStructured(element)
}

// newDecoder reads JSON whose strings and duplicate names are checked elsewhere.
func newDecoder(b []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
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
