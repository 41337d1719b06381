package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	maxFileSize = 1 << 20 // bytes; Kubernetes keeps a whole Secret below this
	maxFiles    = 256
)

// isKey reports whether Kubernetes allows name as a key. Names that start with a dot are excluded:
// they are Kubernetes' own ("..data") or an editor's leftovers.
func isKey(name string) bool {
	return len(name) <= 253 && name[0] != '.' && !strings.ContainsFunc(name, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	})
}

// readFolder returns the trimmed texts of dir's files by name. It skips folders, names that
// Kubernetes does not allow as keys, and entries for which skip returns true.
func readFolder(dir string, skip func(fs.DirEntry) bool) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf(": the folder must be there: %w", fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf(": the folder %w", unreadable(err))
	}
	files := map[string]string{}
	var problems []error
	for _, entry := range entries {
		name := entry.Name()
		if !isKey(name) || skip(entry) {
			continue
		}
		if len(files) == maxFiles {
			problems = append(problems, fmt.Errorf("%s: is one file too many: at most %d are read", name, maxFiles))
			break
		}
		text, err := readFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, errFolder):
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		default:
			files[name] = text
		}
	}
	return files, errors.Join(problems...)
}

var errFolder = errors.New("is a folder")

// readFile checks the file before it opens it: opening a pipe would wait for its writer.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", unreadable(err)
	case info.IsDir():
		return "", errFolder
	case !info.Mode().IsRegular():
		return "", errors.New("must be a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	switch {
	case err != nil:
		return "", unreadable(err)
	case len(content) > maxFileSize:
		return "", fmt.Errorf("must be at most %d bytes", maxFileSize)
	}
	return strings.TrimSpace(string(content)), nil
}

var errUnreadable = errors.New("must be readable")

// unreadable drops the path, which the line already starts with, and the error's identity: a
// missing file must not be taken for a missing folder.
func unreadable(err error) error {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("%w: %v", errUnreadable, err)
}

// lookTries bounds how often a folder whose link keeps moving is read again; after that, the next
// Refresh tries again.
const lookTries = 10

var errMoving = errors.New(": the ..data link must stand still: it moved during each of several readings")

// snapshot is a folder's content at one moment.
type snapshot struct {
	present    bool // the folder is there
	generation string
	files      map[string]string
}

func (s snapshot) same(other snapshot) bool {
	return s.present == other.present && maps.Equal(s.files, other.files)
}

// generation is where Kubernetes' ..data link points; empty in a plain folder.
func generation(dir string) string {
	target, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		return ""
	}
	return target
}

// look reads all files, in Kubernetes' layout all from one generation. It reads the link again
// afterwards: once the link has moved, the old generation is removed, and a half-removed folder
// looks like one with fewer files.
func look(dir string) (snapshot, error) {
	for try := range lookTries {
		time.Sleep(time.Duration(try) * time.Millisecond)
		gen := generation(dir)
		files, err := readGeneration(dir, gen)
		if generation(dir) != gen {
			continue
		}
		return snapshot{present: !errors.Is(err, fs.ErrNotExist), generation: gen, files: files}, err
	}
	return snapshot{}, errMoving
}

// readGeneration reads a generation's files. A plain file in the place of one of Kubernetes' links
// overrides the generation's: editors that save by renaming leave such files.
func readGeneration(dir, gen string) (map[string]string, error) {
	all := func(fs.DirEntry) bool { return false }
	if gen == "" {
		return readFolder(dir, all)
	}
	files, err := readFolder(resolve(dir, gen), all)
	over, overErr := readFolder(dir, func(entry fs.DirEntry) bool {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		return err == nil && strings.HasPrefix(target, "..data"+string(filepath.Separator))
	})
	if files == nil {
		return nil, err
	}
	maps.Copy(files, over)
	return files, errors.Join(err, overErr)
}

func resolve(dir, gen string) string {
	if filepath.IsAbs(gen) {
		return gen
	}
	return filepath.Join(dir, gen)
}
