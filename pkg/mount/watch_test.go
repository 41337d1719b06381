package mount_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/mount"
)

func TestWatchTakesUpRefusesAndEnds(t *testing.T) {
	t.Parallel()
	good, bad := t.TempDir(), t.TempDir()
	write(t, good, map[string]string{"a": "1"})
	write(t, bad, map[string]string{"a": "1"})
	first, second := open(t, good), open(t, bad)

	type reload struct {
		volume string
		failed bool
	}
	var out bytes.Buffer
	reloads := make(chan reload, 10)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		mount.Watch(ctx, time.Millisecond, slog.New(slog.NewJSONHandler(&out, nil)),
			func(volume string, err error) { reloads <- reload{volume, err != nil} }, first, second)
	}()

	write(t, good, map[string]string{"a": "2"})
	got := []reload{<-reloads}
	write(t, bad, map[string]string{"a": "broken"})
	got = append(got, <-reloads)
	time.Sleep(20 * time.Millisecond) // many intervals: the refusal must not be repeated
	write(t, bad, map[string]string{"a": "3"})
	got = append(got, <-reloads)
	stop()
	<-ended

	want := []reload{{first.Name(), false}, {second.Name(), true}, {second.Name(), false}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reload{})); diff != "" {
		t.Errorf("reloads (-want +got):\n%s", diff)
	}
	if first.Value()["a"] != "2" || second.Value()["a"] != "3" {
		t.Errorf("values %v and %v", first.Value(), second.Value())
	}
	checkRefusalLine(t, out.String(), bad)
}

func checkRefusalLine(t *testing.T, log, dir string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d log lines, want 3:\n%s", len(lines), log)
	}
	var line struct {
		Level    string
		Problems []string
	}
	if err := json.Unmarshal([]byte(lines[1]), &line); err != nil {
		t.Fatal(err)
	}
	want := []string{dir + "/a: must not be broken", dir + "/b: must not be broken"}
	if diff := cmp.Diff(want, line.Problems); diff != "" || line.Level != "ERROR" {
		t.Errorf("level %s, problems (-want +got):\n%s", line.Level, diff)
	}
}
