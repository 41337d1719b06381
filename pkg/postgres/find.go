package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// minMajor is the oldest supported PostgreSQL: since 13 the owner of a database may create the
// extensions pg_trgm and btree_gin in it without being superuser.
const minMajor = 13

// Binaries is an installation of the server: the folder that holds initdb and postgres.
type Binaries struct {
	Dir   string
	Major int
}

// ErrNotFound means that no installation of the wanted version is on this machine.
var ErrNotFound = errors.New("PostgreSQL is not installed")

// path is the full name of one of the installation's programs.
func (b Binaries) path(program string) string { return filepath.Join(b.Dir, program) }

// Find looks for a server in PATH, then where Debian, Homebrew and Postgres.app install theirs,
// newest first. A major of 0 accepts any version from minMajor on. Only the major version that
// created a data folder can read it, so for existing data the caller names it.
func Find(ctx context.Context, major int) (Binaries, error) {
	for _, dir := range candidates() {
		found, err := inspect(ctx, dir)
		if err != nil || found.Major < minMajor || (major != 0 && found.Major != major) {
			continue
		}
		return found, nil
	}
	return Binaries{}, ErrNotFound
}

// installed lists the folders in which distributions install a server that is not in PATH. Homebrew's
// versioned kegs are not linked, so they are looked for in opt.
var installed = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin", "/opt/homebrew/opt/postgresql/bin",
	"/usr/local/opt/postgresql@*/bin", "/usr/local/opt/postgresql/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
}

// candidates lists the folders that may hold a server, best first.
func candidates() []string {
	var dirs []string
	if program, err := exec.LookPath("postgres"); err == nil {
		// Resolved, because initdb looks for postgres and share/ beside its real self.
		if real, err := filepath.EvalSymlinks(program); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range installed {
		matches, _ := filepath.Glob(pattern)
		slices.SortStableFunc(matches, func(a, b string) int { return cmp.Compare(pathVersion(b), pathVersion(a)) })
		dirs = append(dirs, matches...)
	}
	return dirs
}

var digits = regexp.MustCompile(`[0-9]+`)

// pathVersion is the last number in a path such as /usr/lib/postgresql/15/bin, so that
// version 10 comes after 9. A path without one ("latest") counts as the newest.
func pathVersion(path string) int {
	found := digits.FindAllString(path, -1)
	if len(found) == 0 {
		return 1 << 30
	}
	n, _ := strconv.Atoi(found[len(found)-1])
	return n
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ([0-9]+)`)

// inspect asks the server in dir for its version, and checks that initdb is beside it: a
// client-only installation has neither.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	b := Binaries{Dir: dir}
	if info, err := os.Stat(b.path("initdb")); err != nil || info.IsDir() {
		return b, ErrNotFound
	}
	out, err := exec.CommandContext(ctx, b.path("postgres"), "--version").Output()
	if err != nil {
		return b, fmt.Errorf("%s: %w", b.path("postgres"), err)
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return b, fmt.Errorf("%s: not a PostgreSQL server", b.path("postgres"))
	}
	b.Major, err = strconv.Atoi(string(match[1]))
	return b, err
}
