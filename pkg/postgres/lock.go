package postgres

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrLocked means that another living process has the folder open.
var ErrLocked = errors.New("in use by another process")

// Lock is an exclusive lock on a file. It ends with the process, however that ends.
type Lock struct{ file *os.File }

// TryLock takes the lock on path, making the file where needed, or fails with ErrLocked
// at once. The file stays when the lock ends: removing it would let two processes hold
// locks on two files of one name.
func TryLock(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(file); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{file}, nil
}

// flock retries calls that a signal interrupted; Go's own preemption signals do.
func flock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Release releases the lock.
func (l *Lock) Release() { _ = l.file.Close() }
