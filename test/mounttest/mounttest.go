// Package mounttest lays out mounted volumes for tests. No binary may import it.
package mounttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Volumes lays out a service's volumes in a folder of the test's own, and returns the folder. Files are named
// volume/file, such as postgres/PG_URL.
func Volumes(t testing.TB, files map[string]string) string {
	t.Helper()
	volumes := map[string]map[string]string{}
	for path, text := range files {
		volume, name := filepath.Split(path)
		if volumes[volume] == nil {
			volumes[volume] = map[string]string{}
		}
		volumes[volume][name] = text
	}
	root := t.TempDir()
	for volume, files := range volumes {
		if err := Write(filepath.Join(root, volume), files); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Write lays files out in dir as Kubernetes does: the files in a
// folder of their own, "..data" pointing there, and a link per file through it. Written
// again, all files change at one moment; the old generation is removed. One writer at a
// time per dir. Folders and files are the owner's alone.
func Write(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	gen, err := os.MkdirTemp(dir, "..gen-")
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(gen, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data")) // "" the first time
	if err := swapLink(filepath.Join(dir, "..data"), filepath.Base(gen)); err != nil {
		return err
	}
	if err := linkFiles(dir, files); err != nil {
		return err
	}
	if strings.HasPrefix(old, "..gen-") {
		return os.RemoveAll(filepath.Join(dir, old))
	}
	return nil
}

// swapLink is one rename, so that no moment has no link.
func swapLink(link, target string) error {
	// No reader takes a name that begins with a dot for a key.
	fresh := filepath.Join(filepath.Dir(link), ".."+filepath.Base(link)+"_tmp")
	_ = os.Remove(fresh) // of a writer that was stopped half-way
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}

// linkFiles makes dir's visible names exactly those of files.
func linkFiles(dir string, files map[string]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if _, kept := files[name]; !kept && entry.Type()&os.ModeSymlink != 0 && !strings.HasPrefix(name, ".") {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	for name := range files {
		if err := swapLink(filepath.Join(dir, name), filepath.Join("..data", name)); err != nil {
			return err
		}
	}
	return nil
}
