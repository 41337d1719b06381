package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestWriteFile: a file is replaced once the new one is complete, and keeps its mode; a link keeps its target, and a
// pipe, as a device would, is written to.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	named := func(name string) string { return filepath.Join(folder, name) }
	pipe := named("pipe")
	if err := errors.Join(os.WriteFile(named("old"), []byte("old"), 0o640), os.Symlink("old", named("link")), os.Symlink("made", named("dangling")), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	hello := func(to io.Writer) error { _, err := io.WriteString(to, "hello"); return err }
	broken := errors.New("broke off")
	if err := writeFile(named("old"), func(to io.Writer) error { return errors.Join(hello(to), broken) }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if got, err := os.ReadFile(named("old")); err != nil || string(got) != "old" {
		t.Errorf("half a file replaced it: %q, %v", got, err)
	}
	if err := writeFile(folder, hello); err == nil {
		t.Error("a folder was replaced")
	}
	read := make(chan []byte)
	go func() {
		got, _ := os.ReadFile(pipe)
		read <- got
	}()
	for _, name := range []string{"link", "dangling", "new", "pipe"} {
		if err := writeFile(named(name), hello); err != nil {
			t.Error(err)
		}
	}
	select {
	case got := <-read:
		if !bytes.Equal(got, []byte("hello")) {
			t.Errorf("the pipe had %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came through the pipe: it was replaced")
	}
	for name, mode := range map[string]os.FileMode{"old": 0o640, "new": 0o600, "made": 0o600, "link": 0o777 | os.ModeSymlink, "dangling": 0o777 | os.ModeSymlink, "pipe": 0o600 | os.ModeNamedPipe} {
		if info, err := os.Lstat(named(name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeFile(fmt.Sprintf("/dev/fd/%d", to.Fd()), hello), to.Close()); err != nil { // as >(wc -l) is
		t.Error(err)
	}
	if got, err := io.ReadAll(from); err != nil || string(got) != "hello" {
		t.Errorf("the open pipe had %q, %v", got, err)
	}
	if left, _ := filepath.Glob(named("*.part-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
