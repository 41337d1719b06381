package eventapi

import (
	"net/http"

	"aiadmin/pkg/user"
)

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
	raw, leave, err := h.batches.Read(w, r)
	if err != nil {
		return nil, err
	}
	defer leave()
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
		received, err := readElement(element)
		results[i] = result{id: received.attributes["id"], source: received.attributes["source"], err: err}
		if err != nil {
			continue
		}
		commands, places = append(commands, received.command(h.options.Actor(r))), append(places, i)
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
