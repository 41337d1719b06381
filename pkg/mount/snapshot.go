package mount

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// lookTries bounds how often a folder whose link keeps moving is read again; the next
// Refresh goes on from there.
const lookTries = 10

var errMoving = errors.New(": the ..data link must stand still: it moved during each of several readings")

// snapshot is a folder's content at one moment.
type snapshot struct {
	present    bool // the folder is there
	generation string
	files      Files
}

func (s snapshot) same(other snapshot) bool {
	return s.present == other.present && maps.Equal(s.files, other.files)
}

// generation is where Kubernetes' ..data link points; empty in a plain folder. A new
// value is a new folder and a new link, so an equal generation is an equal content.
func generation(dir string) string {
	target, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		return ""
	}
	return target
}

// look reads all files from one generation. It asks for the link again afterwards: the
// old generation is removed once the link has moved, and what is left of a folder half
// removed looks like a folder with fewer files.
func look(dir string) (snapshot, error) {
	for try := range lookTries {
		time.Sleep(time.Duration(try) * time.Millisecond)
		gen := generation(dir)
		files, err := readFolder(resolve(dir, gen))
		if generation(dir) != gen {
			continue
		}
		return snapshot{present: !errors.Is(err, fs.ErrNotExist), generation: gen, files: files}, err
	}
	return snapshot{}, errMoving
}

func resolve(dir, gen string) string {
	if filepath.IsAbs(gen) {
		return gen
	}
	return filepath.Join(dir, gen)
}
