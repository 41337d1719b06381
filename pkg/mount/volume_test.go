package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/mount"
)

var errBroken = errors.New("a: must not be broken\nb: must not be broken")

// parse takes the files as they are, unless one says "broken".
func parse(files map[string]string) (map[string]string, error) {
	for _, text := range files {
		if text == "broken" {
			return nil, errBroken
		}
	}
	return files, nil
}

func open(t testing.TB, dir string) *mount.Volume[map[string]string] {
	t.Helper()
	v, err := mount.Open(dir, parse)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// step refreshes and holds what came of it.
func step(t *testing.T, v *mount.Volume[map[string]string], when string, changed bool, wantErr string, want map[string]string) {
	t.Helper()
	got, err := v.Refresh()
	if got != changed {
		t.Errorf("%s: changed is %v, want %v", when, got, changed)
	}
	if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		t.Errorf("%s: error %v, want %q", when, err, wantErr)
	}
	if diff := cmp.Diff(want, v.Value()); diff != "" {
		t.Errorf("%s: value (-want +got):\n%s", when, diff)
	}
}

func TestOpenReportsEveryProblemByPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "broken", "b": "broken"})
	_, err := mount.Open(dir, parse)
	want := fmt.Sprintf("%s/a: must not be broken\n%s/b: must not be broken", dir, dir)
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if problems, ok := errors.AsType[*mount.Problems](err); !ok || len(problems.Lines()) != 2 || !errors.Is(err, errBroken) {
		t.Errorf("%T is no Problems of 2 lines around the parse function's error", err)
	}
}

func TestRefreshInBothLayouts(t *testing.T) {
	t.Parallel()
	layouts := map[string]func(t *testing.T, dir, text string){
		"kubernetes": func(t *testing.T, dir, text string) { write(t, dir, map[string]string{"a": text}) },
		"plain":      func(t *testing.T, dir, text string) { writePlain(t, dir, "a", text) },
	}
	for name, lay := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			lay(t, dir, "1")
			v := open(t, dir)
			is := func(text string) map[string]string { return map[string]string{"a": text} }
			step(t, v, "nothing happened", false, "", is("1"))
			lay(t, dir, "2") // same size, same moment: only the content tells
			step(t, v, "changed", true, "", is("2"))
			lay(t, dir, "2")
			step(t, v, "written again, the same", false, "", is("2"))
			lay(t, dir, "broken")
			step(t, v, "broken", false, dir+"/a: must not be broken", is("2"))
			if v.Err() == nil {
				t.Error("Err is nil while the last good value stands in")
			}
			step(t, v, "still broken", false, "", is("2"))
			lay(t, dir, "broken\n")
			step(t, v, "broken, the same once trimmed", false, "", is("2"))
			if v.Err() == nil {
				t.Error("Err forgot a problem that is still there")
			}
			lay(t, dir, "2")
			step(t, v, "mended", true, "", is("2"))
			if v.Err() != nil {
				t.Errorf("Err is %v after all was mended", v.Err())
			}
		})
	}
}

// TestEditsInKubernetesLayout: people edit what dev has laid out, and editors save in two ways.
func TestEditsInKubernetesLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "b": "1"})
	v := open(t, dir)
	writePlain(t, dir, "a", "2") // through the link
	step(t, v, "edited in place", true, "", map[string]string{"a": "2", "b": "1"})
	writePlain(t, dir, "a", "3") // same size, same moment
	step(t, v, "edited again", true, "", map[string]string{"a": "3", "b": "1"})
	writePlain(t, dir, "a.new", "4")
	if err := os.Rename(filepath.Join(dir, "a.new"), filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	step(t, v, "a plain file over the link", true, "", map[string]string{"a": "4", "b": "1"})
	writePlain(t, dir, "c", "5")
	step(t, v, "a plain file beside the links", true, "", map[string]string{"a": "4", "b": "1", "c": "5"})
	writePlain(t, dir, "a", "broken")
	step(t, v, "edited, and broken", false, dir+"/a: must not be broken", map[string]string{"a": "4", "b": "1", "c": "5"})
	write(t, dir, map[string]string{"a": "6", "b": "6"})
	step(t, v, "laid out anew", true, "", map[string]string{"a": "6", "b": "6", "c": "5"})
}

func TestOptionalFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "config")
	v := open(t, dir)
	none := map[string]string(nil)
	step(t, v, "still missing", false, "", none)
	write(t, dir, map[string]string{"a": "1"})
	step(t, v, "it appears", true, "", map[string]string{"a": "1"})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	step(t, v, "it goes", false, dir+": the folder must be there: it was, and is gone", map[string]string{"a": "1"})
	step(t, v, "it stays away", false, "", map[string]string{"a": "1"})
	if v.Err() == nil || v.Unreadable() == nil {
		t.Errorf("while the folder is gone: Err %v, Unreadable %v", v.Err(), v.Unreadable())
	}
	write(t, dir, map[string]string{"a": "1"})
	step(t, v, "it is back", true, "", map[string]string{"a": "1"})
	if v.Err() != nil || v.Unreadable() != nil {
		t.Errorf("after the folder came back: Err %v, Unreadable %v", v.Err(), v.Unreadable())
	}
}

func TestUnreadableFileKeepsTheValue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePlain(t, dir, "a", "1")
	v := open(t, dir)
	if err := os.Symlink("nowhere", filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	step(t, v, "unreadable", false, dir+"/b: must be readable", map[string]string{"a": "1"})
	step(t, v, "unreadable still", false, "", map[string]string{"a": "1"})
	if v.Unreadable() == nil {
		t.Error("Unreadable is nil")
	}
	writePlain(t, dir, "nowhere", "2")
	step(t, v, "readable", true, "", map[string]string{"a": "1", "b": "2", "nowhere": "2"})
}

// A generation with a key fewer must not keep the key, nor may the names Kubernetes
// removes late bring it back.
func TestRemovedKeyIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "b": "1"})
	v := open(t, dir)
	write(t, dir, map[string]string{"a": "2"})
	if err := os.Symlink("..data/b", filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	step(t, v, "a key fewer", true, "", map[string]string{"a": "2"})
}

func TestOnChangeRunsInOrderWithTheNewValue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1"})
	v := open(t, dir)
	var calls []string
	for _, name := range []string{"first", "second"} {
		v.OnChange(func(files map[string]string) {
			calls = append(calls, name+" "+files["a"]+" "+v.Value()["a"])
		})
	}
	write(t, dir, map[string]string{"a": "broken"})
	_, _ = v.Refresh()
	write(t, dir, map[string]string{"a": "2"})
	step(t, v, "changed", true, "", map[string]string{"a": "2"})
	if diff := cmp.Diff([]string{"first 2 2", "second 2 2"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// swap is Kubernetes' way without the visible names, which leaves a reader no time
// between the link's move and the removal of what it reads.
func swap(t testing.TB, dir string, gen int, texts map[string]string) {
	t.Helper()
	folder := func(gen int) string { return filepath.Join(dir, fmt.Sprint("..", gen)) }
	err := os.Mkdir(folder(gen), 0o700)
	for name, text := range texts {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder(gen), name), []byte(text), 0o600))
	}
	err = errors.Join(err, os.Symlink(filepath.Base(folder(gen)), filepath.Join(dir, "..tmp")),
		os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")), os.RemoveAll(folder(gen-1)))
	if err != nil {
		t.Fatal(err)
	}
}

// Every file holds the number of its generation: a reader that sees two numbers, or too
// few files, has seen a mix.
func TestNeverAMixOfTwoGenerations(t *testing.T) {
	t.Parallel()
	const generations, files = 1000, 5
	dir := t.TempDir()
	lay := func(gen int) {
		texts := map[string]string{}
		for i := range files {
			texts[fmt.Sprint("k", i)] = fmt.Sprint(gen)
		}
		swap(t, dir, gen, texts)
	}
	whole := func(texts map[string]string) (string, error) {
		for _, text := range texts {
			if text != texts["k0"] || len(texts) != files {
				return "", fmt.Errorf("k0: a mix: %v", texts)
			}
		}
		return texts["k0"], nil
	}
	lay(0)
	v, err := mount.Open(dir, whole)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	taken := 0
	v.OnChange(func(string) { taken++ })
	for range 3 {
		group.Go(func() {
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				if _, err := v.Refresh(); err != nil && !strings.Contains(err.Error(), "must stand still") {
					t.Error(err)
					return
				}
				_, _ = v.Value(), v.Err()
			}
		})
	}
	for gen := 1; gen <= generations; gen++ {
		lay(gen)
	}
	close(done)
	group.Wait()
	if got := v.Value(); got != fmt.Sprint(generations) || v.Err() != nil {
		t.Errorf("the last value is %s, %v; want %d", got, v.Err(), generations)
	}
	if taken < 10 {
		t.Errorf("only %d values were taken up: the test raced with nothing", taken)
	}
}

func BenchmarkRefreshUnchanged(b *testing.B) {
	for name, kubernetes := range map[string]bool{"kubernetes": true, "plain": false} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			for _, key := range []string{"PG_HOST", "PG_PORT", "PG_DB", "PG_USER", "PG_PASS"} {
				writePlain(b, dir, key, "x")
			}
			if kubernetes {
				dir = b.TempDir()
				write(b, dir, map[string]string{"PG_HOST": "x", "PG_PORT": "x", "PG_DB": "x", "PG_USER": "x", "PG_PASS": "x"})
			}
			v := open(b, dir)
			for b.Loop() {
				if changed, err := v.Refresh(); changed || err != nil {
					b.Fatal(changed, err)
				}
			}
		})
	}
}
