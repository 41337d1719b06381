package gateways

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// provider is a made-up AI provider: it tells what reached it, and streams.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	calls  int
	finish func() // ends the streams
	ended  <-chan struct{}
}

// call is what reached the provider.
type call struct {
	Method, Path string
	Header       http.Header
	Bytes        int
	Model        string
}

func newProvider(t testing.TB) *provider {
	ended := make(chan struct{})
	p := &provider{finish: sync.OnceFunc(func() { close(ended) }), ended: ended}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	t.Cleanup(p.finish)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.calls++
	p.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var request struct {
		Model  string
		Stream bool
	}
	_ = json.Unmarshal(body, &request) // not every call has one
	if request.Stream {
		p.stream(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(call{r.Method, r.URL.Path, r.Header, len(body), request.Model})
}

// stream sends an event every few milliseconds until it is told to finish.
func (p *provider) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	for i := 0; ; i++ {
		_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
		_ = control.Flush()
		select {
		case <-r.Context().Done():
			return
		case <-p.ended:
			_, _ = io.WriteString(w, "data: [DONE]\n\n")
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *provider) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (p *provider) address() string { return strings.TrimPrefix(p.URL, "http://") }
