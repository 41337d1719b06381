package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"aiadmin/pkg/mount"
	"aiadmin/test/mounttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write lays files out in dir in Kubernetes' layout.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	if err := mounttest.Write(dir, files); err != nil {
		t.Fatal(err)
	}
}

// writePlain puts one file into a plain folder, in place.
func writePlain(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadBothLayouts(t *testing.T) {
	t.Parallel()
	want := map[string]string{"PG_HOST": "db", "empty": "", "tokens.json": "[]\n[]"}
	texts := map[string]string{"PG_HOST": " \tdb\r\n", "empty": "\n", "tokens.json": "[]\n[]\n"}
	kubernetes, folder := t.TempDir(), t.TempDir()
	write(t, kubernetes, texts)
	for name, text := range texts {
		writePlain(t, folder, name, text)
	}
	for _, dir := range []string{kubernetes, folder} {
		for _, odd := range []string{"..other", ".tokens.json.swp", "tokens.json~", "#x#", "a b", "é", strings.Repeat("k", 254)} {
			writePlain(t, dir, odd, "odd")
		}
		if err := os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "folder"), 0o700); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, open(t, dir).Value()); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func TestReadProblems(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		lay  func(t *testing.T, dir string)
		want string
	}{
		"a file, not a folder": {func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "DIR: the folder must be readable: not a directory"},
		"too large": {func(t *testing.T, dir string) {
			writePlain(t, dir, "a", strings.Repeat("x", 1<<20))
			writePlain(t, dir, "b", strings.Repeat("x", 1<<20+1))
		}, "DIR/b: must be at most 1048576 bytes"},
		"too many": {func(t *testing.T, dir string) {
			for i := range 257 {
				writePlain(t, dir, fmt.Sprintf("f%03d", i), "")
			}
		}, "DIR/f256: is one file too many: at most 256 are read"},
		"links to nowhere, all named": {func(t *testing.T, dir string) {
			if err := errors.Join(os.Symlink("nowhere", filepath.Join(dir, "a")), os.Symlink("nowhere", filepath.Join(dir, "b"))); err != nil {
				t.Fatal(err)
			}
		}, "DIR/a: must be readable: no such file or directory\nDIR/b: must be readable: no such file or directory"},
		"a pipe does not hang": {func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "p"), 0o600); err != nil {
				t.Skip("no pipes here:", err)
			}
		}, "DIR/p: must be a regular file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tt.lay(t, dir)
			_, err := mount.Open(dir, parse)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}

func TestVolumeNeverPrintsItsValue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"PG_PASS": "planted"})
	volume := open(t, dir)
	var out bytes.Buffer
	for _, v := range []any{volume, []any{volume}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	if strings.Contains(out.String(), "planted") || strings.Contains(out.String(), fmt.Sprintf("%x", "planted")) {
		t.Errorf("a file's content was printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), dir) {
		t.Error("nothing was printed: the test looked at nothing")
	}
}

// Write must leave what Kubernetes leaves: no old generation, no stale name.
func TestWriteReplacesWholly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	write(t, dir, map[string]string{"a": "1", "b": "1"})
	write(t, dir, map[string]string{"b": "2", "c": "2"})
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, strings.TrimRight(entry.Name(), "0123456789"))
	}
	if diff := cmp.Diff([]string{"..data", "..gen-", "b", "c"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	through, err := os.ReadFile(filepath.Join(dir, "b"))
	if err != nil || string(through) != "2" {
		t.Errorf("read %q, %v through the visible name", through, err)
	}
}
