package main

import (
	"errors"
	"os"
	"runtime/pprof"
)

// profiled writes a CPU profile from now until stop is called; an empty file name is no
// profile. It is a hidden flag and not a route: a route could be reached by others.
func profiled(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	out, err := os.Create(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return out.Close()
	}, nil
}
