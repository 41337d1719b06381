package eventapi

import (
	"context"
	"net/http"

	"golang.org/x/sync/semaphore"

	"aiadmin/pkg/body"
	"aiadmin/pkg/cloudevent"
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
	// Actor is who makes a request, as the history shows it.
	Actor func(*http.Request) string
	// Problem answers a failure as a problem document with a status.
	Problem func(w http.ResponseWriter, r *http.Request, status int, err error)
	// ProblemJSON is that document, for the results of a batch.
	ProblemJSON func(r *http.Request, status int, err error) []byte
}

type handler struct {
	options         Options
	events, batches *body.Room
	parsing         *semaphore.Weighted // the batches that are more than their bodies
}

// parsedAtOnce bounds the batches that are held as commands, some 13 MB for a thousand: as
// many as are carried out at once. With four of them, collecting garbage under the memory
// limit took most of the time.
const parsedAtOnce = 2

// New makes the handler of POSTed events. Who may send is checked before it.
func New(options Options) http.Handler {
	return &handler{options, body.NewRoom(body.OneChange), body.NewRoom(ofBatch), semaphore.NewWeighted(parsedAtOnce)}
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		h.options.Problem(w, r, statusOf(err), err)
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
	raw, leave, err := h.events.Read(w, r)
	if err != nil {
		return err
	}
	defer leave()
	received, err := read(mode, r.Header, raw)
	if err != nil {
		return err
	}
	outcome, err := h.options.Admin.Apply(r.Context(), received.command(h.options.Actor(r)))
	if err != nil {
		return err
	}
	h.reply(w, outcome.Event)
	return nil
}

// reply answers with what happened, as an event that a Trigger's reply can route on. A
// plain JSON body would be a fault to Knative's broker, so nothing is said of nothing.
func (h *handler) reply(w http.ResponseWriter, happened *user.Event) {
	if happened == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	cloudevent.SetHeader(w.Header(), *happened, h.options.Source)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(happened.Data) // the client is gone when this fails; the event has been applied
}
