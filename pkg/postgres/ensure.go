package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"aiadmin/pkg/apt"
)

// Ensure finds the server as Find does. Where there is none, it installs Debian's package, as root
// or by a sudo that asks for no password, and announces that on progress. On other systems the
// error says in one line what to install.
func Ensure(ctx context.Context, progress io.Writer, major int) (Binaries, error) {
	found, err := Find(ctx, major)
	if !errors.Is(err, ErrNotFound) {
		return found, err
	}
	name := "postgresql"
	if major != 0 {
		name = fmt.Sprintf("postgresql-%d", major)
	}
	if err := apt.Install(ctx, progress, name); err != nil {
		return Binaries{}, explain(err, major)
	}
	if found, err = Find(ctx, major); err != nil {
		return Binaries{}, explain(err, major)
	}
	return found, nil
}

// explain tells the user how to install a server that was neither found nor installed.
func explain(err error, major int) error {
	what := fmt.Sprintf("PostgreSQL %d or newer", minMajor)
	if major != 0 {
		what = fmt.Sprintf("PostgreSQL %d (it made the existing data)", major)
	}
	how := "install it with its contrib modules, or put its bin folder in PATH"
	switch runtime.GOOS {
	case "linux":
		how += " (Debian, Ubuntu: sudo apt-get install postgresql)"
	case "darwin":
		how += " (Homebrew: brew install postgresql@17)"
	}
	return fmt.Errorf("%s is needed: %s: %w", what, how, err)
}
