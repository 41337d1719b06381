package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
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
	value  T
	loaded time.Time // when the value was
	err    error
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
	v.state.Store(&state[T]{value: value, loaded: time.Now()})
	return v, nil
}

// Name is the folder's own name, such as "postgres".
func (v *Volume[T]) Name() string { return filepath.Base(v.dir) }

// Value is the last good value.
func (v *Volume[T]) Value() T { return v.state.Load().value }

// Loaded is when Value was read.
func (v *Volume[T]) Loaded() time.Time { return v.state.Load().loaded }

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

// Refresh looks at the folder and takes up what changed. It is true when there is a new
// value, and an error, a [*Problems], when a content is refused that was not refused by
// the call before. All files are read each time: they are few and small, and neither their
// times nor the link tell of every change that an editor makes.
func (v *Volume[T]) Refresh() (changed bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, err := look(v.dir)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && v.seen.present:
		return false, v.unreadable(errGone)
	case err != nil && !missing:
		return false, v.unreadable(err)
	case v.readErr == "" && now.same(v.seen):
		v.seen = now // the same texts under a new generation
		return false, nil
	case now.generation == v.seen.generation && !v.settled(now):
		return false, nil
	}
	v.readErr, v.seen = "", now
	return v.judge(now.files)
}

// settled tells whether what was read stands still. A new generation does: Kubernetes writes
// it whole before the link moves.
func (v *Volume[T]) settled(now snapshot) bool {
	v.sleep(settleTime)
	again, err := look(v.dir)
	return (err == nil || !again.present) && now.same(again)
}

func (v *Volume[T]) judge(files map[string]string) (changed bool, err error) {
	value, err := v.parse(files)
	if err != nil {
		return false, v.refuse(err)
	}
	v.state.Store(&state[T]{value: value, loaded: time.Now()})
	for _, hook := range v.hooks {
		hook(value)
	}
	return true, nil
}

// unreadable refuses a content that could not be read at all; the same trouble again is
// no news.
func (v *Volume[T]) unreadable(err error) error {
	if text := err.Error(); v.readErr != text {
		v.readErr = text
		return v.refuse(err)
	}
	return nil
}

func (v *Volume[T]) refuse(err error) error {
	refused := v.problems(err)
	v.state.Store(&state[T]{value: v.Value(), loaded: v.Loaded(), err: refused})
	return refused
}

// Interval is how often [Watch] looks when it is not told otherwise.
const Interval = time.Second

// Refresher is a [Volume] of any type.
type Refresher interface {
	Name() string
	Refresh() (changed bool, err error)
}

// Watch refreshes the volumes each interval (0: [Interval]) until ctx ends. Every value
// taken up or refused is logged and handed to onReload (may be nil), with a nil error for
// one taken up.
func Watch(ctx context.Context, interval time.Duration, log *slog.Logger,
	onReload func(volume string, err error), volumes ...Refresher,
) {
	if interval <= 0 {
		interval = Interval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, v := range volumes {
			changed, err := v.Refresh()
			if !changed && err == nil {
				continue
			}
			report(log, v.Name(), err)
			if onReload != nil {
				onReload(v.Name(), err)
			}
		}
	}
}

func report(log *slog.Logger, volume string, err error) {
	if err == nil {
		log.Info("mounted values taken up", "volume", volume)
		return
	}
	lines := []string{err.Error()}
	if problems, ok := errors.AsType[*Problems](err); ok {
		lines = problems.Lines()
	}
	log.Error("mounted values refused, the last good ones stay in use", "volume", volume, "problems", lines)
}

// Problems is everything wrong with one folder. Its text has a line per problem, each
// with the file's path and what is expected there, never the file's content.
type Problems struct {
	Dir string
	// Err is the parse function's error: a line per problem, each starting with the
	// file's name, or with a colon when it speaks of the folder.
	Err error
}

// Error implements error.
func (p *Problems) Error() string { return strings.Join(p.Lines(), "\n") }

// Lines is the text of Error line by line.
func (p *Problems) Lines() []string {
	lines := strings.Split(p.Err.Error(), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, ":") {
			line = "/" + line
		}
		lines[i] = p.Dir + line
	}
	return lines
}

// Unwrap gives the parse function's error.
func (p *Problems) Unwrap() error { return p.Err }
