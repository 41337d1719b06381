package eventapi

import (
	"net/http"
	"time"

	"aiadmin/pkg/user"
)

// bodyPatience is how long the body of a batch may take to arrive: it takes up room meanwhile.
const bodyPatience = 30 * time.Second

func (h *handler) serveBatch(w http.ResponseWriter, r *http.Request) error {
	answer, err := h.batchAnswer(w, r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the client is gone when this fails; the events have been applied
	return nil
}

// batchAnswer waits for room before it reads the body, so that those waiting need no
// memory: a batch at work takes a dozen times its size.
func (h *handler) batchAnswer(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBatch {
		return nil, tooLarge(maxBatch)
	}
	size := roomFor(r.ContentLength)
	if err := h.room.Acquire(r.Context(), size); err != nil {
		return nil, err
	}
	defer h.room.Release(size)
	body, err := readInTime(w, r)
	if err != nil {
		return nil, err
	}
	if err := h.parsing.Acquire(r.Context(), 1); err != nil {
		return nil, err
	}
	defer h.parsing.Release(1)
	results, err := h.applyBatch(r, body)
	if err != nil {
		return nil, err
	}
	return h.appendResults(make([]byte, 0, len(results)<<10), r, results), nil
}

// readInTime reads a batch's body. The deadline must not outlive the reading: net/http
// watches the connection on, and would end the request when it passes.
func readInTime(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	end, _ := r.Context().Deadline() // zero, which is never, without one
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyPatience)) // not all writers of tests have one
	defer func() { _ = control.SetReadDeadline(end) }()
	return readBody(w, r, maxBatch)
}

// roomFor is what a body of that length is counted as: all there is when it is unknown,
// and enough for a small one to bound their number.
func roomFor(length int64) int64 {
	if length < 0 {
		return maxBatch
	}
	return max(length, maxBatch/64)
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
