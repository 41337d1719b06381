package relay

import (
	"os"
	"path/filepath"
	"testing"

	"aiadmin/pkg/user"
)

// TestSinkTokenIsSentAndRenewed follows the file that a SinkBinding mounts: absent, made,
// renewed.
func TestSinkTokenIsSentAndRenewed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	s, err := newSink(Options{Sink: "http://sink.example/in", TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{"": "", "first\n": "Bearer first", "second": "Bearer second"} {
		if content != "" {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(file)
		}
		request, err := s.request(t.Context(), user.Event{})
		if err != nil {
			t.Fatal(err)
		}
		if got := request.Header.Get("Authorization"); got != want {
			t.Errorf("with %q in the file: Authorization %q, want %q", content, got, want)
		}
	}
}
