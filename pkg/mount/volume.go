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

// settleTime is how long a change in a plain folder must be stable to count: an editor that writes
// in place leaves an empty or partial file for a moment.
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

// state is what readers see. It is replaced as one pointer, so that value and health always belong
// together.
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

// Err returns why the folder's present content is refused; nil when Value comes from it.
func (v *Volume[T]) Err() error { return v.state.Load().err }

// Unreadable returns why the folder, or a file in it, could not be read the last time; nil if
// everything could be read, valid or not. It does no I/O.
func (v *Volume[T]) Unreadable() error {
	if err := v.Err(); errors.Is(err, errGone) || errors.Is(err, errUnreadable) {
		return err
	}
	return nil
}

// OnChange registers f to be called with every value that Refresh accepts from now on.
func (v *Volume[T]) OnChange(f func(T)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hooks = append(v.hooks, f)
}

// Format implements [fmt.Formatter]: the folder alone, as the value may hold secrets.
func (v *Volume[T]) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "mount.Volume(%s)", v.dir) }

func (v *Volume[T]) problems(err error) error { return &Problems{Dir: v.dir, Err: err} }

// Refresh reads the folder and accepts what changed. It reports whether there is a new value. The
// error, a [*Problems], tells of refused content that the call before did not refuse yet. All files
// are read each time: they are few and small, and neither their times nor the link reveal every
// edit.
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

// settled reports whether a second reading agrees with the first. A new generation needs no second
// reading: Kubernetes completes it before it moves the link.
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

// unreadable refuses content that could not be read at all. The same failure is reported once.
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

// AnyVolume is a [Volume] of any type.
type AnyVolume interface {
	Name() string
	Loaded() time.Time
	Err() error
	Refresh() (changed bool, err error)
}

// Watch refreshes the volumes each interval until ctx ends. Every reload is logged and passed to onReload, with a nil
// error if the value was accepted.
func Watch(ctx context.Context, interval time.Duration, log *slog.Logger,
	onReload func(volume string, err error), volumes ...AnyVolume,
) {
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
			onReload(v.Name(), err)
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
