package eventapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"

	"aiadmin/pkg/body"
	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/request"
	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
)

// Admin is what events need of the service.
type Admin interface {
	Apply(ctx context.Context, command user.Command) (user.Outcome, error)
	// ApplyAll carries commands out in their order, each judged on its own. An error of its
	// own means that none was carried out.
	ApplyAll(ctx context.Context, commands []user.Command) ([]user.Result, error)
}

// Options of the handler.
type Options struct {
	Admin Admin
	// Source is the source of the events that answer.
	Source string
	// Enter waits for a place among the requests that are worked on, once the body has
	// arrived; leave gives it back.
	Enter body.Gate
	// Tracer makes spans of events; nil makes none.
	Tracer *tracing.Tracer
}

type handler struct {
	options         Options
	events, batches *body.Budget
	parsing         *semaphore.Weighted // the batches that are more than their bodies
}

// ofBatch are the limits of batches, in bytes.
var ofBatch = body.Limits{Most: 8 << 20, Total: 9 << 20, Reserved: 1}

// parsedAtOnce bounds the batches that are held as commands, some 13 MB for a thousand: as
// many as are carried out at once. With four of them, collecting garbage under the memory
// limit took most of the time.
const parsedAtOnce = 2

// New makes the handler of POSTed events. Who may send is checked before it.
func New(options Options) http.Handler {
	return &handler{options, body.NewBudget(body.OneChange, options.Enter), body.NewBudget(ofBatch, options.Enter), semaphore.NewWeighted(parsedAtOnce)}
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		request.Fail(w, r, statusOf(err), err)
	}
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	mode, err := modeOf(r.Header)
	if err != nil {
		return err
	}
	if mode == batched {
		return h.serveBatch(w, r)
	}
	raw, done, err := h.events.Read(w, r)
	if err != nil {
		return err
	}
	defer done()
	read := readStructured
	if mode == binary {
		read = func(data []byte) (*received, error) { return readBinary(r.Header, data) }
	}
	event, err := read(raw)
	if err != nil {
		return err
	}
	ctx, span := h.options.Tracer.Consumer(r.Context(), "event", event.trace)
	defer span.End()
	request.Of(r.Context()).Traced = ctx
	outcome, err := h.options.Admin.Apply(ctx, event.command(request.Origin(r.WithContext(ctx))))
	if err != nil {
		return err
	}
	h.reply(w, outcome)
	return nil
}

// reply answers with what happened, as an event that a Trigger's reply can route on.
// Knative's broker rejects a plain JSON reply, so a command that changed nothing gets 204. A repeated
// event's answer is the first one's, with the extension replayed.
func (h *handler) reply(w http.ResponseWriter, outcome user.Outcome) {
	if outcome.Event == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	cloudevent.SetHeader(w.Header(), *outcome.Event, h.options.Source)
	if outcome.Replayed {
		cloudevent.SetAttribute(w.Header(), cloudevent.Replayed, "true")
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(outcome.Event.Data) // the client is gone when this fails; the event has been applied
}

func (h *handler) serveBatch(w http.ResponseWriter, r *http.Request) error {
	answer, err := h.batchAnswer(w, r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the client is gone when this fails; the events have been applied
	return nil
}

func (h *handler) batchAnswer(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	raw, done, err := h.batches.Read(w, r)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := h.parsing.Acquire(r.Context(), 1); err != nil {
		return nil, err
	}
	defer h.parsing.Release(1)
	results, err := h.applyBatch(r, raw)
	if err != nil {
		return nil, err
	}
	return h.appendResults(make([]byte, 0, len(results)<<10), r, results), nil
}

func (h *handler) applyBatch(r *http.Request, body []byte) ([]result, error) {
	elements, err := split(body)
	if err != nil {
		return nil, err
	}
	results := make([]result, len(elements))
	var commands []user.Command
	var places []int // of the commands in results
	for i, element := range elements {
		event, err := readElement(element)
		results[i] = result{id: event.ID(), source: event.source, err: err}
		if err != nil {
			continue
		}
		ctx := tracing.WithParent(r.Context(), event.trace)
		commands, places = append(commands, event.command(request.Origin(r.WithContext(ctx)))), append(places, i)
	}
	applied, err := h.options.Admin.ApplyAll(r.Context(), commands)
	if err != nil {
		return nil, err
	}
	for n, i := range places {
		results[i].outcome, results[i].err = applied[n].Outcome, applied[n].Err
	}
	return results, nil
}

// result is what became of one event of a batch.
type result struct {
	id, source string // empty when the event is too broken to tell
	outcome    user.Outcome
	err        error
}

func (h *handler) appendResults(dst []byte, r *http.Request, results []result) []byte {
	dst = append(dst, `{"results":[`...)
	details := maxDetails
	for i := range results {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = h.appendResult(dst, r, &results[i], &details)
	}
	return append(dst, "]}"...)
}

// maxDetails bounds the problems of a batch's answer, in bytes: those past it lack details.
const maxDetails = 64 << 10

func (h *handler) appendResult(dst []byte, r *http.Request, one *result, details *int) []byte {
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
		dst = append(dst, h.problem(r, status, one.err, details)...)
	}
	if one.outcome.Replayed {
		dst = append(dst, `,"replayed":true`...)
	}
	return append(dst, '}')
}

// problem is the document of an error, without details once those before have used them up.
func (h *handler) problem(r *http.Request, status int, err error, details *int) []byte {
	document := request.Problem(r, status, err)
	known, ok := errors.AsType[*user.Error](err)
	if !ok || len(known.Problems) == 0 {
		return document
	}
	if *details -= len(document); *details >= 0 {
		return document
	}
	bare := *known
	bare.Problems = nil
	return request.Problem(r, status, &bare)
}

func appendKnown(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	dst, _ = jsontext.AppendQuote(dst, s) // valid UTF-8, as ParseBody saw to it
	return dst
}

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
	if status, ok := statuses[user.Public(err).Kind]; ok {
		return status
	}
	return http.StatusUnprocessableEntity
}
