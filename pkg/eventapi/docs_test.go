package eventapi_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var example = regexp.MustCompile("(?s)```sh run\n(.*?)```\n```http\n(.*?)\n.*?```")

// TestExamples pastes the examples of docs/events.md and wants the status lines they show.
func TestExamples(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl to paste into")
	}
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	found := example.FindAllSubmatch(text, -1)
	if len(found) < 3 {
		t.Fatalf("%d examples, want one of each mode", len(found))
	}
	for _, match := range found {
		command := exec.CommandContext(t.Context(), "bash", "-c", string(match[1])) //nolint:gosec // the project's own text
		command.Env = append(os.Environ(), "URL="+s.URL, "TOKEN=x")
		out, err := command.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), string(match[2])) || strings.Contains(string(out), "MALFORMED") {
			t.Errorf("%s\nwant %s, got %v\n%s", match[1], match[2], err, out)
		}
	}
	s.id(t, "alan") // made by the batch
}
