package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxFileSize = 1 << 20 // bytes; Kubernetes keeps a whole Secret below this
	maxFiles    = 256
)

// isKey says whether Kubernetes allows name as a key, less names that start with a dot:
// those are Kubernetes' own ("..data") or an editor's leftovers, as are other odd names.
func isKey(name string) bool {
	return len(name) <= 253 && name[0] != '.' && !strings.ContainsFunc(name, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	})
}

// Files is a folder's content: file names to their text, less surrounding white space.
// It prints as "[redacted]".
type Files map[string]string

// Read reads the files of dir once, in either layout. Names that are no Kubernetes key
// and folders are skipped. The error is a [*Problems]; that of a missing dir matches
// [fs.ErrNotExist].
func Read(dir string) (Files, error) {
	seen, err := look(dir)
	if err != nil {
		return nil, &Problems{Dir: filepath.Clean(dir), Err: err}
	}
	return seen.files, nil
}

func readFolder(dir string) (Files, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf(": the folder must be there: %w", fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf(": the folder %w", unreadable(err))
	}
	files := Files{}
	var problems []error
	for _, entry := range entries {
		name := entry.Name()
		if !isKey(name) {
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

// readFile looks before it opens: to open a pipe would wait for its writer.
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

// unreadable drops the path, which the line already starts with, and the error's
// identity: a file that is not there must not pass for a folder that is not there.
func unreadable(err error) error {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("%w: %v", errUnreadable, err)
}

const redacted = "[redacted]"

// Format implements [fmt.Formatter], and so covers every verb.
func (Files) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalJSON implements [json.Marshaler].
func (Files) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements [slog.LogValuer].
func (Files) LogValue() slog.Value { return slog.StringValue(redacted) }
