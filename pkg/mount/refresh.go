package mount

import (
	"errors"
	"io/fs"
)

// Refresh looks at the folder and takes up what changed. It is true when there is a new
// value, and an error, a [*Problems], when a content is refused that was not refused by
// the call before. With Kubernetes' layout and no change it costs one readlink.
func (v *Volume[T]) Refresh() (changed bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unmoved() {
		return false, nil
	}
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
	case now.generation == "" && !v.settled(now):
		return false, nil
	}
	v.readErr, v.seen = "", now
	return v.judge(now.files)
}

// unmoved is true when the link still points where it did when all could be read.
func (v *Volume[T]) unmoved() bool {
	return v.readErr == "" && v.seen.generation != "" && generation(v.dir) == v.seen.generation
}

func (v *Volume[T]) settled(now snapshot) bool {
	v.sleep(settleTime)
	again, err := look(v.dir)
	return (err == nil || !again.present) && now.same(again)
}

func (v *Volume[T]) judge(files Files) (changed bool, err error) {
	value, err := v.parse(files)
	if err != nil {
		return false, v.refuse(err)
	}
	v.state.Store(&state[T]{value: value})
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
	v.state.Store(&state[T]{value: v.Value(), err: refused})
	return refused
}
