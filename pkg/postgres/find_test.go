package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aiadmin/pkg/postgres"
)

// fake installs programs that only know their version.
func fake(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, says := range programs {
		script := fmt.Sprintf("#!/bin/sh\necho '%s'\n", says)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindPrefersPath(t *testing.T) {
	for name, test := range map[string]struct {
		programs map[string]string
		found    bool
	}{
		"a server":        {map[string]string{"postgres": "postgres (PostgreSQL) 99.1", "initdb": ""}, true},
		"a beta":          {map[string]string{"postgres": "postgres (PostgreSQL) 99beta1", "initdb": ""}, true},
		"too old":         {map[string]string{"postgres": "postgres (PostgreSQL) 12.22", "initdb": ""}, false},
		"without initdb":  {map[string]string{"postgres": "postgres (PostgreSQL) 99.1"}, false},
		"another program": {map[string]string{"postgres": "postal grease 99.1", "initdb": ""}, false},
		"a client only":   {map[string]string{"psql": "psql (PostgreSQL) 99.1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fake(t, test.programs)
			t.Setenv("PATH", dir)
			found, err := postgres.Find(t.Context(), 0)
			if (found.Dir == dir) != test.found {
				t.Errorf("found %+v, %v", found, err)
			}
			if test.found && found.Major != 99 {
				t.Errorf("major %d, want 99", found.Major)
			}
		})
	}
}

func TestFindTakesTheVersionThatMadeTheData(t *testing.T) {
	t.Setenv("PATH", fake(t, map[string]string{"postgres": "postgres (PostgreSQL) 99.1", "initdb": ""}))
	if found, err := postgres.Find(t.Context(), 98); !errors.Is(err, postgres.ErrNotFound) {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestEnsureSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no apt-get either
	_, err := postgres.Ensure(t.Context(), io.Discard, 98)
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 98 (it made the existing data) is needed: install it") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that says what to install", err)
	}
}
