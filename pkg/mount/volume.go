package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// settleTime is how long a change in a plain folder must stand still to count: an editor
// that writes in place shows an empty or half file for a moment.
const settleTime = 20 * time.Millisecond

var errGone = errors.New(": the folder must be there: it was, and is gone")

// Volume is one mounted folder, read as a T.
type Volume[T any] struct {
	dir   string
	parse func(map[string]string) (T, error)
	state atomic.Pointer[state[T]]
	sleep func(time.Duration) // replaced by tests

	mu      sync.Mutex // one Refresh at a time; guards what follows
	seen    snapshot   // what was last judged, good or not
	readErr string     // why the folder could not be read, when it could not
	hooks   []func(T)
}

// state is what readers see: one pointer, so that value and health are of one moment.
type state[T any] struct {
	value T
	err   error
}

// Open reads dir with parse, which gets the file names and their trimmed texts and
// whose error holds a line per problem, each "<file>: <what is expected>". A missing dir
// is an empty one. The error is a [*Problems].
func Open[T any](dir string, parse func(map[string]string) (T, error)) (*Volume[T], error) {
	v := &Volume[T]{dir: filepath.Clean(dir), parse: parse, sleep: time.Sleep}
	seen, err := look(v.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, v.problems(err)
	}
	value, err := parse(seen.files)
	if err != nil {
		return nil, v.problems(err)
	}
	v.seen = seen
	v.state.Store(&state[T]{value: value})
	return v, nil
}

// Name is the folder's own name, such as "postgres".
func (v *Volume[T]) Name() string { return filepath.Base(v.dir) }

// Value is the last good value.
func (v *Volume[T]) Value() T { return v.state.Load().value }

// Err is why the folder's present content is refused; nil when Value is what it says.
func (v *Volume[T]) Err() error { return v.state.Load().err }

// Unreadable is why the folder, or a file in it, could not be read when it was last looked
// at; nil when all could be read, whether or not it was fit for use. It reads nothing.
func (v *Volume[T]) Unreadable() error {
	if err := v.Err(); errors.Is(err, errGone) || errors.Is(err, errUnreadable) {
		return err
	}
	return nil
}

// OnChange has f called with every value that Refresh takes up from now on.
func (v *Volume[T]) OnChange(f func(T)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hooks = append(v.hooks, f)
}

// Format implements [fmt.Formatter]: the folder alone, as the value may hold secrets.
func (v *Volume[T]) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "mount.Volume(%s)", v.dir) }

func (v *Volume[T]) problems(err error) error { return &Problems{Dir: v.dir, Err: err} }
